"""The contract of a wire format: `Format`, and the `Encoder` of one body. Pure."""

from collections.abc import Hashable, Mapping, MutableMapping
from enum import StrEnum
from typing import Any, ClassVar

from ..types import StreamInfo
from .items import ItemEncoder

__all__ = ["Encoder", "Encodings", "Format", "Missing"]

Encodings = MutableMapping[Hashable, Any]
"""The bytes that the newest bytes of one log became, for the bodies that come to them next."""


class Missing(StrEnum):
    """The answers to a request for a stream that is missing to the caller."""

    NOT_FOUND = "not_found"  # 404
    NO_CONTENT = "no_content"  # 204: what EventSource and the AI SDK's reconnect understand
    FINISH = "finish"  # 200 and one `finish` part: makes assistant-ui forget the id


class Format:
    """One wire format; an instance holds no state of any stream.

    A subclass sets the attributes, and returns from `encoder` what holds the state of one body,
    and from `item_encoder` what holds that of one source.
    """

    name: ClassVar[str]
    content_type: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}
    missing: ClassVar[Missing] = Missing.NOT_FOUND
    is_log: ClassVar[bool] = False
    """The body is the log, byte for byte: byte ranges and a Content-Length make sense."""
    is_framed: ClassVar[bool] = False
    """The body is whole frames: it starts between two of them, and nowhere else."""
    has_lines: ClassVar[bool] = False
    """The log is lines, each of which is an item."""
    can_reset: ClassVar[bool] = False
    """A body can begin by telling the client to forget what it has."""

    def get_content_type(self, info: StreamInfo) -> str:
        return self.content_type

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        """Start the log of a stream, or go on with it."""
        return ItemEncoder()

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> "Encoder":
        """Start a body at the byte `offset`; `reset`: not where the client asked to go on."""
        raise NotImplementedError


class Encoder:
    """The way from the log, from one offset on, to one body; methods return bytes for the client.

    None instead of bytes means that the format cannot say so: cut the connection.
    """

    def opening(self) -> bytes:
        """Return what goes before the first byte."""
        return b""

    def encode(self, data: bytes) -> bytes:
        """Return what the next bytes of the log become; b"" while they complete nothing."""
        return data

    def encode_shared(self, data: bytes, encodings: Encodings) -> bytes:
        """Return the same as `encode`; other bodies of the stream that get to these bytes share it.

        For an encoder that can say by what its bytes differ from those of other bodies.
        """
        return self.encode(data)

    def keep_alive(self) -> bytes:
        """Return what may be sent in silence, where the body stands now."""
        return b""

    def end(self, info: StreamInfo) -> bytes:
        """Return the end of a stream that is done or cancelled."""
        return b""

    def failure(self, info: StreamInfo, code: str, detail: str) -> bytes | None:
        """Return the end of a stream that failed; `detail` is empty unless DEBUG."""
        return None

    def interruption(self) -> bytes | None:
        """Return the end of a body whose stream goes on elsewhere: the client has to come back."""
        return None

    def unseen_interruption(self) -> bytes | None:
        """Return the same for a client that would take a connection that is cut for an end."""
        return self.interruption()
