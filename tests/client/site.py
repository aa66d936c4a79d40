"""A site for clients, in the process of the test: its streams say what the test has scripted."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.urls import include, path

from resumable_streams.types import Owner
from resumable_streams.views import AcquireView, resume_response

__all__ = ["bodies", "calls", "owner", "scripts", "urlpatterns"]

scripts: dict[str, Callable[[], Any]] = {}
"""The sources, by the name in the address."""

calls: Counter[str] = Counter()
"""How often each was started: that is paid for."""

bodies: list[bytes] = []
"""The bodies that views were sent."""


def owner(request: HttpRequest) -> Owner | None:
    """Return whom a bearer token names; without one, the visitor."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        return token or None
    if "visitor" not in request.session:
        if request.method == "GET":
            return None
        request.session["visitor"] = f"visitor:{len(calls)}:{calls.total()}"
    name: str = request.session["visitor"]
    return name


class Answer(AcquireView):
    """Start the source of that name, in the format of the query."""

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.format = request.GET.get("format", "raw")  # type: ignore[misc]
        self.name: str = kwargs["name"]

    on_busy = "refuse"

    def get_slot(self, request: HttpRequest) -> str | None:
        return request.GET.get("slot")

    def get_attrs(self, request: HttpRequest) -> dict[str, str]:
        return {"content_type": "text/plain; charset=utf-8"} if self.format == "raw" else {}

    def produce(self, request: HttpRequest) -> Any:
        calls[self.name] += 1
        bodies.append(request.body)
        return scripts[self.name]()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


def login(request: HttpRequest) -> HttpResponse:
    request.session["visitor"] = "ada"
    return HttpResponse(get_token(request))


def guarded(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/login/")


async def own(request: HttpRequest, name: str) -> HttpResponseBase:
    """Answer as a chat does: with the stream while it runs, and else with nothing."""
    return await resume_response(request, name, format="ui_message", active=True)


urlpatterns = [
    path("answer/<str:name>/", Answer.as_view()),
    path("page/", page),
    path("login/", login),
    path("guarded/", guarded),
    path("own/<str:name>/", own),
    path("streams/", include("resumable_streams.urls")),
]
