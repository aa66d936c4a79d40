"""A selection of streams, as an operator makes it."""

from dataclasses import dataclass

from ..types import Owner, StreamInfo, StreamKey, StreamStatus

__all__ = ["Selection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The streams that match every criterion given; `tenant=None` is every tenant.

    `before_generation` selects the generations below it. `older_than` is seconds since the stream
    was acquired.
    """

    tenant: str | None = None
    generation: int | None = None
    before_generation: int | None = None
    stream_id: str | None = None
    owner: Owner | None = None
    statuses: frozenset[StreamStatus] = frozenset()
    older_than: float | None = None

    @property
    def needs_state(self) -> bool:
        """Whether the key of a stream alone cannot decide if it matches."""
        return self.owner is not None or bool(self.statuses) or self.older_than is not None

    def has_key(self, key: StreamKey) -> bool:
        return (
            self.tenant in (None, key.tenant)
            and self.generation in (None, key.generation)
            and self.stream_id in (None, key.stream_id)
            and (self.before_generation is None or key.generation < self.before_generation)
        )

    def has_state(self, info: StreamInfo) -> bool:
        age = info.expires - info.ttl - info.created  # by the clock of the store
        return (
            (self.owner is None or info.owner == self.owner)
            and (not self.statuses or info.status in self.statuses)
            and (self.older_than is None or age >= self.older_than)
        )
