"""Refusals: why a request was not granted, for receivers. Clients only see the answer."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..exceptions import InvalidStreamId, InvalidTenant, StreamDoesNotExist, StreamError
from ..permissions import outcome_of
from ..signals import stream_refused
from ..types import RefusalReason
from .response import word_of

__all__ = ["reason_of", "tell_refused"]


async def tell_refused(
    request: HttpRequest,
    error: StreamError,
    response: HttpResponseBase,
    *,
    operation: str,
    alias: str,
    stream_id: str | None,
) -> None:
    """Tell receivers that `error` was answered with `response`."""
    if stream_refused.receivers:
        await stream_refused.notify(
            type(error),
            hook_errors="log",  # it is refused already
            alias=alias,
            stream_id=stream_id,
            operation=operation,
            reason=reason_of(error, request),
            status=response.status_code,
            error=error,
            request=request,
        )


def reason_of(error: StreamError, request: HttpRequest) -> RefusalReason:
    """Return why a request is refused, from the error and from the check that came before it."""
    match error:
        case InvalidStreamId():
            return RefusalReason.INVALID_STREAM_ID
        case InvalidTenant():
            return RefusalReason.INVALID_TENANT
        case StreamDoesNotExist():
            outcome = outcome_of(request) or "missing"
            return RefusalReason.ENDED if outcome == "match" else RefusalReason(outcome)
        case _:
            return RefusalReason(word_of(error))
