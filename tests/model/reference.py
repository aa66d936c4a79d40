"""What a stream is, without time, connections or processes."""

from dataclasses import dataclass, field

from resumable_streams import PUBLIC
from resumable_streams.types import Owner

__all__ = ["Reference", "Stream"]


@dataclass(eq=False)
class Stream:
    """One incarnation: its bytes, and how it ended (`None` while it streams)."""

    stream_id: str
    owner: Owner
    body: bytes = b""
    end: str | None = None
    is_gone: bool = False
    slot: str = ""
    is_barred: bool = False  # revoked: there, and out of everybody's reach
    held_back: bytes = b""  # what a stopped producer was given meanwhile
    own: int = 0  # how many of the last bytes its present producer wrote

    def append(self, data: bytes) -> None:
        if self.end is None:
            self.body += data
            self.own += len(data)

    def finish(self, end: str) -> None:
        if self.end is None:
            self.end = end

    def vanish(self) -> None:
        self.is_gone = True
        self.finish("expired")

    @property
    def is_streaming(self) -> bool:
        return self.end is None and not self.is_barred


@dataclass
class Reference:
    """All streams that an id leads to now."""

    streams: dict[str, Stream] = field(default_factory=dict)

    def readable(self, stream_id: str, owner: Owner) -> Stream | None:
        stream = self.streams.get(stream_id)
        if stream is None or stream.is_barred or stream.owner not in (owner, PUBLIC):
            return None
        return stream

    def owned(self, stream_id: str, owner: Owner) -> Stream | None:
        stream = self.readable(stream_id, owner)
        return stream if stream is not None and stream.owner == owner else None

    def run(self, stream_id: str, owner: Owner) -> tuple[Stream | None, bool]:
        """Return the stream that the caller gets, and whether it is elected."""
        known = self.streams.get(stream_id)
        if known is None or (known.is_barred and known.owner == owner):
            self.streams[stream_id] = Stream(stream_id, owner)
            return self.streams[stream_id], True
        return self.readable(stream_id, owner), False

    def run_in_slot(
        self, stream_id: str, owner: Owner, slot: str, policy: str
    ) -> tuple[Stream | None, bool] | None:
        """Return the same for a run in a slot; None if the slot is busy."""
        known = self.streams.get(stream_id)
        is_new = known is None or (known.is_barred and known.owner == owner)
        occupant = self.occupant(owner, slot)
        if is_new and occupant is not None:
            if policy == "join":
                return occupant, False
            if policy == "refuse":
                return None
            occupant.finish("replaced")
        stream, is_elected = self.run(stream_id, owner)
        if stream is not None and is_elected:
            stream.slot = slot
        return stream, is_elected

    def occupant(self, owner: Owner, slot: str) -> Stream | None:
        """Return the live stream in a slot."""
        for stream in self.streams.values():
            if (stream.owner, stream.slot) == (owner, slot) and stream.is_streaming:
                return stream
        return None

    def running(self, owner: Owner) -> set[str]:
        """Return the ids of the live streams of an owner."""
        return {
            one.stream_id
            for one in self.streams.values()
            if one.owner == owner and one.is_streaming
        }

    def delete(self, stream_id: str) -> None:
        self.streams.pop(stream_id).vanish()

    def delete_all(self) -> None:
        for stream_id in list(self.streams):
            self.delete(stream_id)

    def revoke(self, owner: Owner) -> None:
        for stream in self.streams.values():
            if stream.owner == owner:
                stream.vanish()
                stream.is_barred = True

    def lose_producers(self) -> None:
        for stream in self.streams.values():
            stream.finish("producer_lost")
