"""The site that strangers send requests to: every view of the package, and all that it reads."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.contrib.auth import alogin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.csrf import get_token
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from resumable_streams.cookies import get_stream_cookie, set_stream_cookie
from resumable_streams.sse import event
from resumable_streams.views import AcquireView, resume_response, stream_response

__all__ = ["START", "urlpatterns"]


async def tell(request: Any) -> AsyncIterator[bytes]:
    """Yield what the client sent, read in every way, as events: any format can carry them."""
    names = sorted([*request.POST, *request.FILES, *request.GET])
    yield event(repr(names))
    for upload in request.FILES.values():
        yield event(sha256(await sync_to_async(upload.read)()).hexdigest())
    yield event(str(len(request.headers)))


class Raw(AcquireView):
    format: ClassVar[str] = "raw"

    def produce(self, request: HttpRequest) -> AsyncIterator[bytes]:
        return tell(request)

    async def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = await super().post(request, *args, **kwargs)
        if reader := getattr(response, "reader", None):
            set_stream_cookie(response, reader)
        return response


class Events(Raw):
    format = "sse"


class Parts(Raw):
    format = "ui_message"


async def function(request: HttpRequest) -> HttpResponseBase:
    return await stream_response(request, [b"an answer"], format="raw")


async def chat(request: HttpRequest, stream_id: str) -> HttpResponseBase:
    return await resume_response(request, stream_id, format="ui_message", active=True)


async def mine(request: HttpRequest) -> HttpResponseBase:
    """Go on with the stream that the browser remembers."""
    return await resume_response(request, get_stream_cookie(request), missing="no_content")


async def page(request: HttpRequest) -> HttpResponse:
    """Give a visitor a session, and the token that its forms need."""
    await request.session.aset("seen", True)
    return HttpResponse(get_token(request))


async def log_in(request: HttpRequest, name: str) -> HttpResponse:
    user, _ = await User.objects.aget_or_create(username=name)
    await alogin(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(get_token(request))


# Django's own pages for errors look for a token in the form first: a form that cannot be read is a
# 500 then, at any address of any site.


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(status=400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(status=404)


handler400, handler404 = bad_request, not_found
START = ("start/raw/", "start/events/", "start/parts/", "start/exempt/", "function/")
urlpatterns = [
    path("start/raw/", Raw.as_view()),
    path("start/events/", Events.as_view()),
    path("start/parts/", Parts.as_view()),
    path("start/exempt/", csrf_exempt(Raw.as_view())),
    path("function/", function),
    path("chat/<str:stream_id>/stream/", chat),
    path("mine/", mine),
    path("page/", page),
    path("login/<str:name>/", csrf_exempt(log_in)),
    path("streams/", include("resumable_streams.urls")),
]
