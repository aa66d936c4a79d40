"""Forged requests: whoever came by a cookie proves that it is none, a client with a token need not.

The views are called through all of Django, whose middleware would have refused what has no proof.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from resumable_streams.views import AcquireView

TOKENS = {"Bearer ann-token": "ann"}


class Answer(AcquireView):
    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        yield b"x"


@method_decorator(csrf_exempt, name="dispatch")
class Open(Answer):
    pass


@csrf_exempt
async def outer(request: HttpRequest) -> Any:
    return await Answer.as_view()(request)


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


urlpatterns = [
    path("page/", page),
    path("answer/", Answer.as_view()),
    path("decorated/", never_cache(Answer.as_view())),
    path("exempt/", csrf_exempt(Answer.as_view())),
    path("deep/", never_cache(csrf_exempt(Answer.as_view()))),
    path("class/", Open.as_view()),
    path("outer/", outer),
    path("streams/", include("resumable_streams.urls")),
]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

OURS = "tests.django_edges.test_forged_requests."
USUAL = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


def by_token(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Set the user whom a bearer token names, or a cookie that holds such a token."""

    def middleware(request: Any) -> Any:
        shown = request.headers.get("Authorization") or request.COOKIES.get("jwt", "")
        if name := TOKENS.get(shown):
            request.user = User.objects.get(username=name)
        return get_response(request)

    return middleware


@pytest.fixture
def site(settings: Any, key_prefix: str, closes_runtime: None) -> None:
    settings.MIDDLEWARE = [*USUAL, f"{OURS}by_token"]
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}


@pytest.fixture
async def client(site: None) -> AsyncClient:
    await User.objects.acreate_user("ann", password="ann")
    return AsyncClient(enforce_csrf_checks=True)


BEARER = {"authorization": "Bearer ann-token"}


async def proof_for(client: AsyncClient) -> str:
    response: Any = await client.get("/page/")
    text: str = response.text
    return text


async def end(response: Any) -> str:
    """Read the answer to a start to its end; return the address of its stream."""
    assert response.status_code == 200
    assert b"".join([data async for data in response]) == b"x"
    return f"/streams/{response['X-Resumable-Stream-Id']}/"


@pytest.mark.parametrize("at", ["/answer/", "/decorated/"])
async def test_a_client_with_a_token_proves_nothing(client: AsyncClient, at: str):
    address = await end(await client.post(at, headers=BEARER))
    assert "sessionid" not in client.cookies
    assert (await client.get(address, headers=BEARER)).status_code == 200
    assert (await client.post(f"{address}cancel/", headers=BEARER)).status_code == 202
    assert (await client.delete(address, headers=BEARER)).status_code == 204


@pytest.mark.parametrize("at", ["/answer/", "/decorated/", "/streams/x/cancel/"])
@pytest.mark.parametrize(
    "scheme", ["", "Basic YTpi", "basic YTpi", "Negotiate x", "NTLM x", "Digest a=b", "  Basic x"]
)
async def test_whom_a_browser_vouches_for_by_itself_proves_it(
    client: AsyncClient, at: str, scheme: str
):
    headers = {"authorization": scheme} if scheme else {}
    assert (await client.post(at, headers=headers)).status_code == 403
    proof = await proof_for(client)
    answer = await client.post(at, headers={**headers, "x-csrftoken": proof})
    assert answer.status_code == (404 if "cancel" in at else 200)


async def test_a_token_in_a_cookie_needs_the_proof(client: AsyncClient):
    client.cookies["jwt"] = "Bearer ann-token"
    assert (await client.post("/answer/")).status_code == 403
    proof = {"x-csrftoken": await proof_for(client)}
    address = await end(await client.post("/answer/", headers=proof))
    assert (await client.post(f"{address}cancel/")).status_code == 403
    assert (await client.delete(address)).status_code == 403
    assert (await client.delete(address, headers=proof)).status_code == 204


async def test_a_session_needs_the_proof_though_a_proxy_adds_authorization(client: AsyncClient):
    await client.aforce_login(await User.objects.aget(username="ann"))
    added = {"authorization": "Bearer of-the-proxy"}
    assert (await client.post("/answer/", headers=added)).status_code == 403
    proof = await proof_for(client)
    await end(await client.post("/answer/", headers={**added, "x-csrftoken": proof}))


async def test_a_session_beside_a_token_does_not_matter(client: AsyncClient):
    await client.aforce_login(await User.objects.acreate_user("bob"))
    address = await end(await client.post("/answer/", headers=BEARER))
    assert (await client.get(address)).status_code == 404
    assert (await client.get(address, headers=BEARER)).status_code == 200


async def test_a_token_that_nobody_knows_is_nobody(client: AsyncClient):
    """Not a visitor, either: its session would be another one with each request."""
    answer = await client.post("/answer/", headers={"authorization": "Bearer unknown"})
    assert (answer.status_code, answer.json()) == (401, {"error": "no_owner"})
    assert not client.cookies


@pytest.mark.parametrize("at", ["/exempt/", "/deep/", "/class/", "/outer/"])
async def test_a_project_may_exempt_its_own_views(client: AsyncClient, at: str):
    await end(await client.post(at))


async def test_without_the_middleware_a_site_is_not_protected(client: AsyncClient, settings: Any):
    settings.MIDDLEWARE = [USUAL[0], USUAL[2]]
    await end(await client.post("/answer/"))


async def test_without_the_middleware_a_decorator_protects(client: AsyncClient, settings: Any):
    settings.MIDDLEWARE = [USUAL[0], USUAL[2]]
    urlpatterns.append(path("protected/", csrf_protect(Answer.as_view())))
    settings.ROOT_URLCONF = __name__
    try:
        assert (await client.post("/protected/")).status_code == 403
    finally:
        urlpatterns.pop()
