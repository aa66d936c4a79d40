"""The verbs of streams, as conversations: acquire, look, cancel, delete. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import httpx

from .asking import EPOCH_HEADER, after_loss, after_refusal, ask, fields
from .backoff import Attempts, Backoff, describe
from .decoding import kind_of
from .errors import AnswerLost, NotFound
from .following import StreamPlace
from .steps import Ask, Conversation, Reply, Wait, shown

__all__ = ["RemoteState", "Starting", "cancel", "delete", "look"]

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
PERHAPS_STARTED = frozenset({408, 500, 502, 504})
"""Answers of which nobody knows whether a stream was started behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState:
    """A stream at one moment; times are seconds since 1970.

    `status` is "streaming", "done", "error" or "cancelled". `error` is the code of the failure, and
    `detail` its text, which a site shows with DEBUG only.
    """

    id: str
    status: str
    size: int
    created: float
    expires: float
    epoch: str
    error: str = ""
    detail: str = ""

    @property
    def is_streaming(self) -> bool:
        return self.status == "streaming"

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Return the state that an answer has as JSON."""
        said = fields(reply)
        return cls(
            id=str(said.get("id", "")),
            status=str(said.get("status", "")),
            size=int(str(said.get("size", 0))),
            created=float(str(said.get("created", 0))),
            expires=float(str(said.get("expires", 0))),
            epoch=reply.headers.get(EPOCH_HEADER, ""),
            error=str(said.get("error") or ""),
            detail=str(said.get("detail") or ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """A POST that starts a stream, or joins the one that an earlier try of it has started.

    `is_known` says whether the server knows the sender of a request again, from its headers;
    `is_sure` that it need not. `locate` returns the address of a stream that comes without one.
    """

    ask: Ask
    backoff: Backoff
    is_known: Callable[[httpx.Headers], bool]
    is_sure: bool
    locate: Callable[[str], httpx.URL]

    def steps(self) -> Conversation[StreamPlace]:
        """Return the place of the stream, whose body is open."""
        attempts = Attempts(self.backoff)
        while True:
            try:
                reply: Reply = yield self.ask
            except httpx.TransportError as error:
                if not isinstance(error, UNSENT):
                    self._refuse_repeat(error.request.headers, describe(error))
                yield Wait(after_loss(error, attempts))
                continue
            if reply.is_success:
                return self._enter(reply)
            if reply.status in PERHAPS_STARTED:
                self._refuse_repeat(reply.sent, f"it was a {reply.status}")
            yield Wait(after_refusal(reply, attempts))

    def _refuse_repeat(self, sent: httpx.Headers, reason: str) -> None:
        """Raise AnswerLost if another try may start another stream."""
        if not (self.is_sure or self.is_known(sent)):
            raise AnswerLost(shown(self.ask.url), reason)

    def _enter(self, reply: Reply) -> StreamPlace:
        place = StreamPlace(url=reply.url)
        place.enter(reply)
        place.kind = kind_of(reply.headers)
        location = reply.headers.get("Location")
        place.url = reply.url.join(location) if location else self.locate(place.stream_id)
        return place


def look(place: StreamPlace, backoff: Backoff) -> Conversation[RemoteState]:
    """Return the state of a stream."""
    request = Ask(method="GET", url=place.at("status/"))
    return RemoteState.of((yield from ask(request, Attempts(backoff))))


def cancel(place: StreamPlace, backoff: Backoff) -> Conversation[RemoteState]:
    """Cancel a stream, however often; return its state."""
    request = Ask(method="POST", url=place.at("cancel/"))
    return RemoteState.of((yield from ask(request, Attempts(backoff))))


def delete(place: StreamPlace, backoff: Backoff) -> Conversation[None]:
    """Delete a stream."""
    attempts = Attempts(backoff)
    try:
        yield from ask(Ask(method="DELETE", url=place.at()), attempts)
    except NotFound:
        if not attempts.has_lost:  # else an earlier try, whose answer was lost, has deleted it
            raise
