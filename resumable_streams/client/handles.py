"""The side of a remote stream that needs no connection: its names, its place and its end."""

import httpx

from .backoff import Backoff
from .decoding import Decoders
from .following import Following, StreamPlace
from .steps import Conversation

__all__ = ["StreamHandle", "place_at"]


class StreamHandle:
    """One stream of a site. Iterating it starts after the last item that it has handed on."""

    def __init__(self, place: StreamPlace, backoff: Backoff, *, is_open: bool = False) -> None:
        self._place = place
        self._backoff = backoff
        self._is_open = is_open

    @property
    def id(self) -> str:
        """The id of the stream; empty until the server has named it."""
        return self._place.stream_id

    @property
    def epoch(self) -> str:
        """The incarnation of the id; empty until the server has named it."""
        return self._place.epoch

    @property
    def url(self) -> str:
        """The address of the stream, with the token of a signed link, if it has one."""
        return str(self._place.url)

    @property
    def position(self) -> str:
        """The place after the last item handed on, to be kept and passed as `after=`."""
        return self._place.position

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the last answer."""
        return self._place.headers

    @property
    def ended(self) -> str:
        """The end of the stream, "done", "cancelled" or "error"; empty until all was handed on."""
        return self._place.status

    def _steps(self, decoders: Decoders) -> Conversation[None]:
        is_open, self._is_open = self._is_open, False
        return Following(self._place, decoders, self._backoff, is_open=is_open).steps()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'not opened'} {self.ended or self.position}>"


def place_at(
    url: httpx.URL, *, link: str | None, after: str | None, epoch: str | None
) -> StreamPlace:
    """Return a place in a stream: its start, or the one after a position."""
    if link is not None:
        url = url.copy_merge_params({"token": link})
    if after is None:
        return StreamPlace(url=url, epoch=epoch or "")
    name, separator, offset = after.rpartition("-")
    if not (separator and name and offset.isascii() and offset.isdigit()):
        raise ValueError("`after` is the `position` of a stream, or the id of one of its events.")
    return StreamPlace(url=url, epoch=name, offset=int(offset))
