"""The names of the keys: their layout, the SCAN patterns, and the meaning of members. Pure.

    {prefix}:{tenant}:g{generation}:{<stream id>}:meta    HASH    the state of one stream
    {prefix}:{tenant}:g{generation}:{<stream id>}:data    STRING  its bytes; also its push channel
    {prefix}:{tenant}:control                             HASH    generation, ttl override
    {prefix}:{tenant}:revoked:{<owner digest>}            STRING  when the owner was revoked
    {prefix}:{tenant}:live                                ZSET    live streams by creation
    {prefix}:{tenant}:live:{<owner digest>}               ZSET    those of one owner
    {prefix}:{tenant}:g{generation}:index:{<owner digest>}               ZSET  ended ones, too
    {prefix}:{tenant}:g{generation}:slot:{<owner digest>}:<slot digest>  HASH  the stream in it
    {prefix}:orders                                       STREAM  orders for workers
    {prefix}:events                                       push channel of the whole prefix
    {prefix}:{{prefix}}:processes                         ZSET    processes by end of lease
    {prefix}:{{prefix}}:waiting                           ZSET    streams nobody produces yet, too
    {prefix}:{{prefix}}:dying                             ZSET    those whose streams are taken over
    {prefix}:{{prefix}}:judged                            ZSET    those whose streams were
    {prefix}:{{prefix}}:held:<process>                    SET     what a process produces
    {prefix}:{{prefix}}:telling:<process>                 SET     whose end it tells now
    {prefix}:{{prefix}}:news                              STREAM  the last hints

The braces around the stream id are the cluster hash tag: one stream is one hash slot, the lists and
slots of an owner are another, and the state of all processes is a third.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...identifiers import owner_digest, slot_digest
from ...types import Holding, Owner, Slot, StreamKey

__all__ = ["KeySpace", "decode_holdings", "encode_holding"]

_STREAM_KEY = re.compile(
    r"([A-Za-z0-9_-]{1,64}):g([0-9]{1,18}):\{([A-Za-z0-9_.:-]{1,256})\}:(?:meta|data)"
)
_HOLDING = re.compile(
    r"([A-Za-z0-9_-]{1,64}):g([0-9]{1,18}):([0-9a-f]{1,32}):([0-9a-f]{32}):([A-Za-z0-9_.:-]{1,256})"
)
_GLOB = re.compile(r"([*?\[\]\\^])")


def encode_holding(holding: Holding) -> str:
    """Return the stored form; the stream id comes last, as it may hold colons."""
    key = holding.key
    return f"{key.tenant}:g{key.generation}:{holding.epoch}:{holding.owner_digest}:{key.stream_id}"


def _decode_holding(stored: str) -> Holding | None:
    """Return what `encode_holding` wrote; None for anything else."""
    if (match := _HOLDING.fullmatch(stored)) is None:
        return None
    tenant, generation, epoch, digest, stream_id = match.groups()
    key = StreamKey(tenant=tenant, generation=int(generation), stream_id=stream_id)
    return Holding(key=key, epoch=epoch, owner_digest=digest)


def decode_holdings(stored: Iterable[bytes]) -> list[Holding]:
    """Return what is one of ours among the members of a set."""
    decoded = (_decode_holding(member.decode(errors="replace")) for member in stored)
    return [holding for holding in decoded if holding is not None]


def _escape(text: str) -> str:
    return _GLOB.sub(r"\\\1", text)


@dataclass(frozen=True, slots=True)
class KeySpace:
    """The keys below one prefix, built and parsed."""

    prefix: str

    def generation(self, tenant: str, generation: int) -> str:
        """Return what the keys of all streams of one generation of a tenant begin with."""
        return f"{self.prefix}:{tenant}:g{generation}:"

    def _stream(self, key: StreamKey) -> str:
        return f"{self.generation(key.tenant, key.generation)}{{{key.stream_id}}}"

    def meta(self, key: StreamKey) -> str:
        return f"{self._stream(key)}:meta"

    def log(self, key: StreamKey) -> str:
        return f"{self._stream(key)}:data"

    def control(self, tenant: str) -> str:
        return f"{self.prefix}:{tenant}:control"

    def revoked(self, tenant: str, owner: Owner) -> str:
        return f"{self.prefix}:{tenant}:revoked:{{{owner_digest(owner)}}}"

    def live(self, tenant: str, digest: str | None = None) -> str:
        suffix = "" if digest is None else f":{{{digest}}}"
        return f"{self.prefix}:{tenant}:live{suffix}"

    def index(self, tenant: str, generation: int, digest: str) -> str:
        return f"{self.generation(tenant, generation)}index:{{{digest}}}"

    def slot(self, slot: Slot) -> str:
        prefix = self.generation(slot.tenant, slot.generation)
        return f"{prefix}slot:{{{slot.owner_digest}}}:{slot_digest(slot.name)}"

    def shared(self, name: str) -> str:
        """Return the key of what all processes share; each of these lives in one hash slot."""
        return f"{self.prefix}:{{{self.prefix}}}:{name}"

    @property
    def orders(self) -> str:
        return f"{self.prefix}:orders"

    @property
    def events(self) -> str:
        return f"{self.prefix}:events"

    def meta_pattern(self, tenant: str | None = None, generation: int | None = None) -> str:
        """Return the SCAN pattern of the streams of a tenant (or all), a generation (or all)."""
        middle = "*" if tenant is None else _escape(tenant)
        epoch = "*" if generation is None else str(generation)
        return f"{_escape(self.prefix)}:{middle}:g{epoch}:{{*}}:meta"

    def hint(self, about: str | StreamKey) -> str:
        """Return what tells other processes to look at a tenant, or at one stream."""
        return f"@{about}" if isinstance(about, str) else self.log(about)

    def parse_hint(self, text: str) -> str | StreamKey | None:
        """Return what a hint is about; None for a text that is not one of ours."""
        return text[1:] if text.startswith("@") else self.parse(text)

    def parse(self, name: str) -> StreamKey | None:
        """Return the stream a key belongs to; None for a key that is not one of ours."""
        prefix, match = f"{self.prefix}:", None
        if name.startswith(prefix):
            match = _STREAM_KEY.fullmatch(name, len(prefix))
        if match is None:
            return None
        return StreamKey(tenant=match[1], generation=int(match[2]), stream_id=match[3])
