"""Refusals: why a request was not granted, for receivers. Clients only see the answer."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..exceptions import InvalidStreamId, InvalidTenant, StreamDoesNotExist, StreamError
from ..permissions import outcome_of
from ..signals import stream_refused
from ..types import RefusalReason
from .explanations import explain_refusal
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
    """Tell receivers, and the log, that `error` was answered with `response`."""
    reason = reason_of(error, request)
    await explain_refusal(
        request, error, reason, status=response.status_code, alias=alias, stream_id=stream_id
    )
    if stream_refused.receivers:
        await stream_refused.notify(
            type(error),
            hook_errors="log",  # it is refused already
            alias=alias,
            stream_id=stream_id,
            operation=operation,
            reason=reason,
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
