"""What a client sends, whoever has read it before the source does: CSRF protection, a hook, …"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import httpx
import pytest
from django.http import HttpRequest
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from resumable_streams.signals import stream_acquired
from resumable_streams.views import AcquireView

from .conftest import Open
from .site import page
from .sites import OURS, around

Read = Callable[[HttpRequest], Any]
FORM: dict[str, Any] = {
    "data": {"question": "why?"},
    "files": {"file": ("note.txt", b"a few bytes", "text/plain")},
}


def looks(request: HttpRequest) -> None:
    assert set(request.POST) <= {"question"}


def takes_files(request: HttpRequest) -> None:
    assert set(request.FILES) <= {"file"}


def takes_body(request: HttpRequest) -> None:
    assert request.body is not None


def takes_some(request: HttpRequest) -> None:
    assert request.read(4) == b'{"a"'


class Told(AcquireView):
    """Tell what there is of the request when its response is over."""

    async def produce(self, request: Any) -> AsyncIterator[str]:
        yield "-"
        files = {name: file.read().decode() for name, file in request.FILES.items()}
        yield json.dumps({"form": request.POST.dict(), "files": files})


class InCheck(Told):
    read: Read = staticmethod(looks)

    def refuse(self, request: HttpRequest) -> None:
        self.read(request)


class InId(Told):
    read: Read = staticmethod(looks)

    async def get_stream_id(self, request: HttpRequest) -> None:
        self.read(request)


class InAttrs(Told):
    read: Read = staticmethod(looks)

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        self.read(request)
        return {}


class Parsed(AcquireView):
    """Read JSON from the stream of the request, as Django's documentation shows it."""

    def refuse(self, request: HttpRequest) -> None:
        self.sent = json.load(request)

    async def produce(self, request: HttpRequest) -> AsyncIterator[str]:
        yield json.dumps(self.sent)


class Begun(AcquireView):
    """Read the start of the stream of the request, and the rest when the response is over."""

    def refuse(self, request: HttpRequest) -> None:
        takes_some(request)

    async def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        yield b"-"
        yield request.read()


class Refused(Told):
    """Be asked for an id that cannot be, when the files are read."""

    files: ClassVar[list[Any]] = []

    def get_stream_id(self, request: HttpRequest) -> str:
        self.files.append(request.FILES["file"])
        return "no id"


HOOKS = {"check": InCheck, "id": InId, "attrs": InAttrs}
READS = {"form": looks, "files": takes_files, "body": takes_body}

urlpatterns = [
    path("page/", page),
    path("told/", Told.as_view()),
    path("parsed/", Parsed.as_view()),
    path("begun/", Begun.as_view()),
    path("refused/", Refused.as_view()),
    path("exempt/", csrf_exempt(Told.as_view())),
    *(
        path(f"{hook}/{what}/", view.as_view(read=staticmethod(read)))
        for hook, view in HOOKS.items()
        for what, read in READS.items()
    ),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture
async def client(site: Open) -> AsyncIterator[httpx.AsyncClient]:
    """Return a browser that has a CSRF token."""
    async with site(has_users=False).visitor("ada") as client:
        yield client


async def sent_and_left(client: httpx.AsyncClient, at: str, **sent: Any) -> bytes:
    """Send, leave at the first byte, and return what the source has found."""
    async with client.stream("POST", at, **sent) as response:
        assert response.status_code == 200, await response.aread()
        address = f"streams/{response.headers['X-Resumable-Stream-Id']}/"
    return (await client.get(address)).content


WHOLE = b'-{"form": {"question": "why?"}, "files": {"file": "a few bytes"}}'
NOTHING = b'-{"form": {}, "files": {}}'


async def test_a_form_and_its_files_are_whole_behind_csrf_protection(client: httpx.AsyncClient):
    assert await sent_and_left(client, "told/", **FORM) == WHOLE


async def test_a_token_in_the_form_is_as_good_as_one_in_a_header(client: httpx.AsyncClient):
    token = client.headers.pop("X-CSRFToken")
    form = {**FORM, "data": {"csrfmiddlewaretoken": token, "question": "why?"}}
    assert b"a few bytes" in await sent_and_left(client, "told/", **form)


async def test_a_form_without_files_is_whole(client: httpx.AsyncClient):
    whole = await sent_and_left(client, "told/", data={"question": "why?"})
    assert whole == b'-{"form": {"question": "why?"}, "files": {}}'


@pytest.mark.parametrize("what", READS)
@pytest.mark.parametrize("hook", HOOKS)
async def test_a_hook_may_read_first(client: httpx.AsyncClient, hook: str, what: str):
    if what != "body":  # which CSRF protection has left nothing of
        assert await sent_and_left(client, f"{hook}/{what}/", **FORM) == WHOLE
    sent = {"data": {"question": "why?"}}
    assert b"why?" in await sent_and_left(client, f"{hook}/{what}/", **sent)


@pytest.mark.parametrize("middleware", ["reads_form", "reads_body"])
async def test_a_middleware_may_read_first(site: Open, middleware: str):
    there = site(settings_=around(OURS + middleware), has_users=False)
    async with there.visitor("ada") as client:
        assert await sent_and_left(client, "told/", **FORM) == WHOLE


@pytest.mark.parametrize("boundary", ["--x--\r\n", ""])
async def test_a_form_with_nothing_in_it_is_one(client: httpx.AsyncClient, boundary: str):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    sent = {"content": boundary.encode(), "headers": headers}
    assert await sent_and_left(client, "told/", **sent) == NOTHING


async def test_a_hook_may_read_the_stream_of_the_request(client: httpx.AsyncClient):
    assert await sent_and_left(client, "parsed/", json={"a": 1}) == b'{"a": 1}'


async def test_what_a_hook_has_left_in_the_stream_is_read_when_the_response_is_over(
    client: httpx.AsyncClient,
):
    sent = {"content": b'{"a": 1}', "headers": {"Content-Type": "application/json"}}
    assert await sent_and_left(client, "begun/", **sent) == b"-: 1}"


async def test_the_files_of_a_stream_that_is_refused_are_closed(client: httpx.AsyncClient):
    assert (await client.post("refused/", **FORM)).status_code == 400
    assert Refused.files.pop().closed


MANY = {f"field-{number}": "" for number in range(1_001)}
REFUSED: dict[str, dict[str, Any]] = {
    "another encoding": {
        "content": b"question=why",
        "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=latin-1"},
    },
    "too many fields": {"data": MANY},
    "too many parameters": {"params": MANY},
    "no boundary": {"content": b"--x--", "headers": {"Content-Type": "multipart/form-data"}},
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
async def test_what_django_refuses_to_read_starts_no_stream(
    client: httpx.AsyncClient, hear: Callable[..., list[Any]], sent: dict[str, Any]
):
    """No protection against CSRF has read it before, as where a token says who asks."""
    started = hear(stream_acquired)
    client.headers.pop("X-CSRFToken")
    client.cookies.clear()
    assert (await client.post("exempt/", **sent)).status_code == 400
    assert not started
