"""Django REST framework: streams behind its authentication, permissions and throttles.

    class Answer(AcquireAPIView):
        async def produce(self, request): ...

    urlpatterns = [
        path("answer/", Answer.as_view()),
        path("streams/", include(stream_urls())),
    ]

With async views of adrf: `class Answer(AcquireAPIMixin, adrf.views.APIView)`. Where the addresses
are those of `resumable_streams.urls`, set OWNER to `authenticated_owner` of this module.

Views of REST framework are exempt from Django's CSRF middleware. These check for forged requests by
themselves, as all views of streams do: see `http.csrf`.
"""

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import (
    AuthenticationFailed,
    NotAcceptable,
    NotAuthenticated,
    PermissionDenied,
    UnsupportedMediaType,
)
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from ..compat import plain_request
from ..conf import DEFAULT_ALIAS
from ..http.csrf import forgery_of
from ..http.dispatch import non_atomic
from ..owners import carries_token, has_set_user, user_or_session
from ..types import Owner
from ..views import (
    AcquireMixin,
    cancel_response,
    delete_response,
    list_response,
    resume_response,
    status_response,
)

__all__ = [
    "AcquireAPIMixin",
    "AcquireAPIView",
    "CancelAPIView",
    "ListAPIView",
    "ResumeAPIView",
    "StatusAPIView",
    "StreamAPIMixin",
    "StreamNegotiation",
    "authenticated_owner",
    "stream_urls",
]


async def authenticated_owner(request: Any, *, acquire: bool = False) -> tuple[Owner, ...]:
    """Return the owners of a request, having asked DEFAULT_AUTHENTICATION_CLASSES for its user.

    For `OWNER`, so that plain views know who sends a token of REST framework. A request without
    `Authorization` whom they do not know is what it is to the default OWNER: a user of the session,
    or a visitor.
    """
    is_known = plain_request(request) is not request or has_set_user(request)
    if not is_known and not await sync_to_async(_authenticate)(request) and carries_token(request):
        return ()
    return await user_or_session(request, acquire=acquire)


authenticated_owner.authenticates = True  # type: ignore[attr-defined]


def _authenticate(request: Any) -> bool:
    """Have the request bear the user whom REST framework finds; return whether it finds one."""
    before = {name: value for name, value in vars(request).items() if name == "user"}
    try:
        user = Asking(request, authenticators=[one() for one in _authentication_classes()]).user
    except (AuthenticationFailed, NotAuthenticated):
        user = None
    except PermissionDenied as error:  # a session without the CSRF token
        raise DjangoPermissionDenied(str(error.detail)) from error
    if getattr(user, "is_authenticated", False):
        return True
    vars(request).pop("user", None)  # REST framework has set its own nobody
    vars(request).update(before)
    return False


class Asking(Request):
    """A request that is made to ask authenticators. Its form is Django's: no parser is needed."""

    @property
    def POST(self) -> Any:  # type: ignore[override]
        return self._request.POST


def _authentication_classes() -> list[type[BaseAuthentication]]:
    """Return the classes as they are set now: those of `APIView` date from its import."""
    return cast(list[type[BaseAuthentication]], api_settings.DEFAULT_AUTHENTICATION_CLASSES)


class StreamNegotiation(DefaultContentNegotiation):
    """A content negotiation that streams pass, whatever type of media their client accepts.

    REST framework would answer `Accept: text/event-stream`, which EventSource sends, with 406. Here
    the renderer of JSON is chosen in that case. Only errors are rendered by it: a stream is sent as
    its format says.
    """

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            json = (one for one in renderers if one.media_type == "application/json")
            renderer = next(json, renderers[0])
            return renderer, renderer.media_type


if TYPE_CHECKING:
    AnyAPIView = APIView
else:
    AnyAPIView = object  # the view of adrf is another one


class StreamAPIMixin(AnyAPIView):
    """The base of every view of streams in REST framework; `using` is the alias."""

    using: str = DEFAULT_ALIAS
    content_negotiation_class = StreamNegotiation

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        return non_atomic(super().as_view(**initkwargs))

    def perform_authentication(self, request: Any) -> None:
        """Find the user; refuse a request that may be forged."""
        super().perform_authentication(request)
        if reason := forgery_of(request):
            raise PermissionDenied(f"CSRF Failed: {reason}")


class AcquireAPIMixin(StreamAPIMixin, AcquireMixin):
    """The start of a stream on POST, for a view of REST framework, or an async one of adrf.

    What to override is what `AcquireView` has. `produce` gets the request of REST framework; its
    `data` has been parsed by then.
    """

    http_method_names = ["post", "options"]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "async_dispatch") and cls.post is AcquireAPIMixin.post:
            cls.post = AcquireAPIMixin._apost  # type: ignore[assignment]

    def post(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _parse(request)
        return async_to_sync(self.acquire)(request)

    async def _apost(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        await sync_to_async(_parse)(request)
        return await self.acquire(request)


def _parse(request: Any) -> None:
    """Parse what the client sent: its faults are answered before anything is produced."""
    with suppress(UnsupportedMediaType):  # it may not be needed
        request.data  # noqa: B018


class AcquireAPIView(AcquireAPIMixin, APIView):
    """A view of REST framework that starts a stream on POST. Subclass it and write `produce`."""


class ResumeAPIView(StreamAPIMixin, APIView):
    """A view that resumes a stream (GET), shows its headers (HEAD), or deletes it (DELETE)."""

    def get(self, request: Any, stream_id: str) -> HttpResponseBase:
        return async_to_sync(resume_response)(request, stream_id, using=self.using)

    def delete(self, request: Any, stream_id: str) -> HttpResponseBase:
        return async_to_sync(delete_response)(request, stream_id, using=self.using)


class ListAPIView(StreamAPIMixin, APIView):
    """A view of the streams of who asks, in pages as JSON."""

    def get(self, request: Any) -> HttpResponseBase:
        return async_to_sync(list_response)(request, using=self.using)


class StatusAPIView(StreamAPIMixin, APIView):
    """A view of the state of a stream as JSON."""

    def get(self, request: Any, stream_id: str) -> HttpResponseBase:
        return async_to_sync(status_response)(request, stream_id, using=self.using)


class CancelAPIView(StreamAPIMixin, APIView):
    """A view that cancels a stream on POST: 202, however often; an ended one stays as it ended."""

    def post(self, request: Any, stream_id: str) -> HttpResponseBase:
        return async_to_sync(cancel_response)(request, stream_id, using=self.using)


def stream_urls(using: str = DEFAULT_ALIAS, **initkwargs: Any) -> tuple[list[URLPattern], str]:
    """Return the addresses of the streams of an alias, as `include()` takes them.

    As those of `resumable_streams.urls`, but for clients of REST framework. `initkwargs` are
    attributes of the views: `permission_classes`, `throttle_classes`.
    """
    initkwargs["using"] = using
    patterns = [
        path("", ListAPIView.as_view(**initkwargs), name="list"),
        path("<str:stream_id>/", ResumeAPIView.as_view(**initkwargs), name="stream"),
        path("<str:stream_id>/status/", StatusAPIView.as_view(**initkwargs), name="status"),
        path("<str:stream_id>/cancel/", CancelAPIView.as_view(**initkwargs), name="cancel"),
    ]
    return patterns, "resumable_streams"


if find_spec("drf_spectacular") is not None:  # its extensions are found once they are imported
    from . import spectacular  # noqa: F401
