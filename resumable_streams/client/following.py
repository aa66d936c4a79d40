"""The reading of one stream to its end, over as many bodies as that takes. Pure.

A body ends for many reasons, and only its last frame says that the stream did, too. Without one the
server is asked (HEAD): a body that breaks may belong to a stream that failed, and one that ends
well may have been cut by a proxy where that cannot be seen (HTTP/1.0). The stream is over once it
has ended and every byte of it was received.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from .asking import EPOCH_HEADER, ID_HEADER, PASSING, ask, fields, refusal, send
from .backoff import Attempts, Backoff, describe
from .decoding import BodyDecoder, BodyKind, Decoders, kind_of
from .errors import (
    BeyondTheEnd,
    BrokenOff,
    ClientError,
    GaveUp,
    NotAStream,
    NotFound,
    RemoteFailure,
    Replaced,
)
from .frames import WireEnd
from .steps import Ask, Conversation, Give, Read, Reply, Wait, shown

__all__ = ["Following", "StreamPlace"]

OFFSET_HEADER = "X-Resumable-Stream-Offset"
SIZE_HEADER = "X-Resumable-Stream-Size"
STATUS_HEADER = "X-Resumable-Stream-Status"
STREAMING = "streaming"
SHORTEST_EVENT = len(b"data")
UNASKABLE = (405, 501)
"""Answers of views of a site's own, which know no HEAD."""


@dataclass(slots=True, kw_only=True)
class StreamPlace:
    """A place in one incarnation of a stream: all that a reader has to remember.

    `offset` is the byte of the log after the last item handed on. `status` is empty until the
    stream has ended and everything was handed on.
    """

    url: httpx.URL
    stream_id: str = ""
    epoch: str = ""
    offset: int = 0
    kind: BodyKind | None = None
    status: str = ""
    failure: RemoteFailure | None = None
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    @property
    def position(self) -> str:
        return f"{self.epoch}-{self.offset}" if self.epoch else ""

    def enter(self, reply: Reply) -> None:
        """Take note of the stream that an answer is of; raise if it is another one, or none."""
        stream_id, epoch = reply.headers.get(ID_HEADER), reply.headers.get(EPOCH_HEADER, "")
        if stream_id is None:
            raise _no_stream(reply)
        if self.epoch and epoch != self.epoch:
            raise Replaced(shown(reply.url), epoch=epoch)
        self.stream_id, self.epoch, self.headers = stream_id, epoch, reply.headers

    def at(self, path: str = "", **query: int) -> httpx.URL:
        """Return an address of the stream, of this incarnation if it is known."""
        base = self.url.path if self.url.path.endswith("/") or not path else f"{self.url.path}/"
        url = self.url.copy_with(path=f"{base}{path}")
        wanted: dict[str, Any] = {"epoch": self.epoch} if self.epoch else {}
        return url.copy_merge_params({**wanted, **query}) if wanted or query else url


def _no_stream(reply: Reply) -> NotAStream | NotFound:
    message = reply.headers.get("x-vercel-ai-ui-message-stream")
    if reply.status == 204 or message:  # how formats say that nothing is there
        return NotFound(shown(reply.url), reply.status)
    kind = reply.headers.get("Content-Type", "a body without a type")
    return NotAStream(shown(reply.url), f"{reply.status} and {kind}")


class Following:
    """One iteration of a stream, from its place on. `is_open`: a body waits to be read there."""

    def __init__(
        self,
        place: StreamPlace,
        decoders: Decoders,
        backoff: Backoff,
        *,
        is_open: bool = False,
    ) -> None:
        self._place = place
        self._decoders = decoders
        self._attempts = Attempts(backoff)
        self._is_open = is_open
        self._decoder: BodyDecoder[Any] | None = None
        self._was_final = False

    def steps(self) -> Conversation[None]:
        """Hand on every item up to the end; raise RemoteFailure if that is an error."""
        while not self._place.status:
            if self._is_open or (yield from self._open()):
                yield from self._read_body()
        if self._place.failure is not None:
            raise self._place.failure

    # --- opening a body

    def _open(self) -> Conversation[bool]:
        """Ask for the next body; return False if there is none, as everything was received."""
        reply = yield from self._ask()
        self._place.enter(reply)
        if reply.status == 204:
            yield from self._conclude(WireEnd(status="done"))
            return False
        self._place.kind = kind_of(reply.headers)
        start = reply.headers.get(OFFSET_HEADER, str(self._offset))
        if start != str(self._offset):
            found = f"a body from byte {start}, where byte {self._offset} was asked for"
            raise NotAStream(shown(reply.url), found)
        return True

    def _ask(self) -> Conversation[Reply]:
        while True:
            try:
                return (yield from ask(self._request(), self._attempts))
            except BeyondTheEnd as error:
                if self._decoder is None:
                    raise
                # A store that went back in time gets the missing bytes from the producer again.
                yield Wait(self._fail(error))

    def _fail(self, error: BeyondTheEnd) -> float:
        try:
            return self._attempts.fail(str(error))
        except GaveUp:
            raise error from None

    def _request(self) -> Ask:
        place, offset = self._place, self._offset
        if not offset:
            return Ask(method="GET", url=place.at(), opens=True)
        if place.kind is BodyKind.OPAQUE:
            raise BrokenOff(shown(place.url))
        if place.kind is BodyKind.LOG:
            return Ask(method="GET", url=place.at(offset=offset), opens=True)
        headers = {"Last-Event-ID": f"{place.epoch}-{offset}"}
        return Ask(method="GET", url=place.at(), headers=headers, opens=True)

    @property
    def _offset(self) -> int:
        return self._place.offset if self._decoder is None else self._decoder.offset

    # --- reading it

    def _read_body(self) -> Conversation[None]:
        decoder = self._begin()
        before = decoder.progress
        error = yield from self._receive(decoder)
        self._is_open = False
        if decoder.retry is not None:
            self._attempts.pause = decoder.retry / 1_000
        if decoder.is_over:
            yield from self._conclude(decoder.conclusion or (yield from self._ask_conclusion()))
            return
        has_moved = decoder.progress > before
        # Bodies of a log have no keep-alives: one that was silent may have been well.
        is_quiet = isinstance(error, httpx.ReadTimeout) and self._place.kind is BodyKind.LOG
        if has_moved or is_quiet:
            self._attempts.start_again()
        yield from self._settle(error, has_moved=has_moved)

    def _begin(self) -> BodyDecoder[Any]:
        if self._decoder is None:
            self._decoder = self._decoders.make(self._place.kind, self._place.offset)
        self._decoder.begin()
        return self._decoder

    def _receive(self, decoder: BodyDecoder[Any]) -> Conversation[httpx.TransportError | None]:
        """Hand on what comes, to the end of the body; return the error that it broke with."""
        while not decoder.is_over:
            try:
                data: bytes | None = yield Read()
            except httpx.TransportError as error:
                return error
            if data is None:
                return None
            yield from self._give(decoder.push(data))
        return None

    def _give(self, items: Iterator[tuple[Any, int]]) -> Conversation[None]:
        for item, after in items:
            self._place.offset = after  # first: a caller who leaves the loop has had the item
            yield Give(item)

    # --- the end of a body, and of the stream

    def _settle(self, error: httpx.TransportError | None, *, has_moved: bool) -> Conversation[None]:
        """Find out whether the stream is over, after a body that does not say so; else wait."""
        status, size = yield from self._look()
        is_final = status not in ("", STREAMING)
        if not status and error is None:  # nobody can be asked: the body is taken at its word
            yield from self._conclude(WireEnd(status="done"))
        elif is_final and self._has_all(size, error, has_moved=has_moved):
            yield from self._conclude(WireEnd(status=status))
        else:
            self._was_final = is_final
            reason = "the body ended before the stream" if error is None else describe(error)
            seconds = self._attempts.fail(reason)
            yield Wait(0 if is_final and has_moved else seconds)

    def _has_all(self, size: int, error: httpx.TransportError | None, *, has_moved: bool) -> bool:
        """Return whether every byte of an ended stream was received."""
        if self._place.kind is BodyKind.OPAQUE:
            return error is None
        missing = size - self._offset
        if self._place.kind is BodyKind.LOG or missing <= 0:
            return missing <= 0
        # Blank lines at the end of a log are no frame, so no id comes after them.
        is_empty = self._was_final and error is None and not has_moved
        return is_empty and missing < SHORTEST_EVENT

    def _look(self) -> Conversation[tuple[str, int]]:
        """Return status and size of the stream; "streaming" while nobody answers.

        The status is "" where the view is a site's own and does not tell.
        """
        try:
            reply = yield from send(Ask(method="HEAD", url=self._place.at()))
        except httpx.TransportError:
            return STREAMING, 0
        if reply.status in PASSING:
            return STREAMING, 0
        if reply.status in UNASKABLE:
            return "", 0
        if not reply.is_success:
            raise refusal(reply)
        self._place.enter(reply)
        size = reply.headers.get(SIZE_HEADER, "0")
        return reply.headers.get(STATUS_HEADER, ""), int(size) if size.isdigit() else 0

    def _ask_conclusion(self) -> Conversation[WireEnd]:
        """Return how the stream ended, after a last frame that says only that it did."""
        status, _ = yield from self._look()
        while status == STREAMING:
            yield Wait(self._attempts.fail("nobody says how the stream has ended"))
            status, _ = yield from self._look()
        return WireEnd(status=status or "done")

    def _conclude(self, end: WireEnd) -> Conversation[None]:
        """Take note of the end of the stream, after all of it was handed on."""
        if end.status == "done" and self._decoder is not None:
            yield from self._give(self._decoder.finish())
        if end.status == "error":
            code = end.code or (yield from self._code())
            self._place.failure = RemoteFailure(code, end.detail)
        self._place.status = end.status

    def _code(self) -> Conversation[str]:
        """Return the code of a failure, which not every format tells."""
        request = Ask(method="GET", url=self._place.at("status/"))
        try:
            reply = yield from ask(request, self._attempts)
        except ClientError:  # at an address of a site's own
            return "unknown"
        return str(fields(reply).get("error") or "unknown")
