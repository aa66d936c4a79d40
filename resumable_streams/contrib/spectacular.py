"""The views of `contrib.rest_framework` in the schema of drf-spectacular.

Imported by that module where drf-spectacular is installed. The body of a POST is described by the
`serializer_class` of a view, if it has one.
"""

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
    inline_serializer,
)
from rest_framework import serializers

from ..formats import get_format
from ..types import StreamStatus

__all__ = [
    "AcquireExtension",
    "CancelExtension",
    "ResumeExtension",
    "StatusExtension",
]

OURS = "resumable_streams.contrib.rest_framework."


def _state() -> serializers.Serializer[Any]:
    """Return the serializer of the state of a stream, as `views.StatusView` answers with it."""
    return inline_serializer(
        "StreamState",
        {
            "id": serializers.CharField(),
            "status": serializers.ChoiceField([status.value for status in StreamStatus]),
            "size": serializers.IntegerField(help_text="Bytes of the log."),
            "created": serializers.FloatField(help_text="Seconds since 1970."),
            "expires": serializers.FloatField(help_text="Seconds since 1970."),
            "error": serializers.CharField(allow_null=True),
            "detail": serializers.CharField(required=False),
        },
    )


def _error(description: str) -> OpenApiResponse:
    fields: dict[str, Any] = {"error": serializers.CharField()}
    return OpenApiResponse(inline_serializer("StreamError", fields), description=description)


def _stream(content_type: str) -> dict[Any, Any]:
    """Return the answer that is a stream, of this type of media."""
    stream = OpenApiResponse(OpenApiTypes.BINARY, description="The stream, as it is produced.")
    return {(200, content_type): stream}


MISSING = {404: _error("No stream that the client may reach.")}
OFFSET = OpenApiParameter("offset", int, description="The first byte of the log that is sent.")
EPOCH = OpenApiParameter("epoch", str, description="The incarnation that is meant.")
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID", str, OpenApiParameter.HEADER, description="The last event that was received."
)
KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A retry with the same key joins the stream of the first try.",
)


class _Extension(OpenApiViewExtension):
    match_subclasses = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        cls.target_class = OURS + cls.__name__.replace("Extension", cls.kind)
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]

    kind = "APIView"

    def view_replacement(self) -> Any:
        described = type(self.target.__name__, (self.target,), {"__doc__": self.target.__doc__})
        return extend_schema_view(**self.described())(described)

    def described(self) -> dict[str, Any]:
        """Return what is said of each method."""
        raise NotImplementedError


class AcquireExtension(_Extension):
    """The description of views that start a stream."""

    kind = "APIMixin"

    def described(self) -> dict[str, Any]:
        initial = getattr(self.target_callback, "initkwargs", {})
        name = initial.get("format", self.target.format)
        content_type = get_format(name).content_type if isinstance(name, str) else "*/*"
        post = extend_schema(
            request=getattr(self.target, "serializer_class", None),
            parameters=[KEY],
            responses={**_stream(content_type), 429: _error("A quota, or a throttle.")},
        )
        return {"post": post}


class ResumeExtension(_Extension):
    """The description of the address of a stream."""

    def described(self) -> dict[str, Any]:
        responses = {**_stream("*/*"), **MISSING}
        get = extend_schema(parameters=[OFFSET, EPOCH, LAST_EVENT_ID], responses=responses)
        delete = extend_schema(parameters=[EPOCH], responses={204: None, **MISSING})
        return {"get": get, "delete": delete}


class StatusExtension(_Extension):
    """The description of the state of a stream."""

    def described(self) -> dict[str, Any]:
        return {"get": extend_schema(parameters=[EPOCH], responses={200: _state(), **MISSING})}


class CancelExtension(_Extension):
    """The description of the end that a client asks for."""

    def described(self) -> dict[str, Any]:
        responses = {202: _state(), **MISSING}
        return {"post": extend_schema(request=None, parameters=[EPOCH], responses=responses)}
