"""The names of everything we store: key layout, identifiers and SCAN patterns. Pure.

    {prefix}:{tenant}:g{generation}:{<stream id>}:meta    HASH    the state of one stream
    {prefix}:{tenant}:g{generation}:{<stream id>}:data    STRING  its bytes; also its push channel
    {prefix}:{tenant}:control                             HASH    generation, ttl override
    {prefix}:{tenant}:revoked:{<owner digest>}            STRING  when the owner was revoked
    {prefix}:{tenant}:live                                ZSET    live streams by end of lease
    {prefix}:{tenant}:live:{<owner digest>}               ZSET    those of one owner
    {prefix}:orders                                       STREAM  orders for workers
    {prefix}:events                                       push channel of the whole prefix

The braces around the stream id are the cluster hash tag: one stream is one slot. No identifier
may contain a brace, a space or a glob character, so a pattern matches what it names and nothing
else.
"""

import hashlib
import re
from dataclasses import dataclass

from .exceptions import InvalidOwner, InvalidStreamId, InvalidTenant
from .types import PUBLIC, Owner, StreamKey

__all__ = [
    "KeySpace",
    "decode_owner",
    "encode_owner",
    "owner_digest",
    "validate_owner",
    "validate_stream_id",
    "validate_tenant",
]

MAX_OWNER_BYTES = 1_024

_STREAM_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STREAM_KEY = re.compile(
    r"([A-Za-z0-9_-]{1,64}):g([0-9]{1,18}):\{([A-Za-z0-9_.:-]{1,256})\}:(?:meta|data)"
)
_GLOB = re.compile(r"([*?\[\]\\^])")


def validate_stream_id(stream_id: object) -> str:
    """Return `stream_id`, or raise InvalidStreamId (the rule is assistant-ui's)."""
    if not isinstance(stream_id, str) or not _STREAM_ID.fullmatch(stream_id):
        raise InvalidStreamId
    return stream_id


def validate_tenant(tenant: object) -> str:
    """Return `tenant`, or raise InvalidTenant before any key can be built from it."""
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise InvalidTenant
    return tenant


def validate_owner(owner: object) -> Owner:
    """Return `owner`, or raise InvalidOwner; any text will do, it never becomes part of a key."""
    if owner is PUBLIC:
        return PUBLIC
    if not isinstance(owner, str) or not owner:
        raise InvalidOwner
    try:
        size = len(owner.encode())
    except UnicodeEncodeError:
        raise InvalidOwner from None
    if size > MAX_OWNER_BYTES:
        raise InvalidOwner
    return owner


def encode_owner(owner: Owner) -> bytes:
    """Return the stored form, in which PUBLIC differs from an owner of that name."""
    return b"public" if owner is PUBLIC else b"=" + owner.encode()


def decode_owner(stored: bytes) -> Owner:
    return stored[1:].decode() if stored.startswith(b"=") else PUBLIC


def owner_digest(owner: Owner) -> str:
    """Return what stands for the owner in a key: 128 bits, so no owner text reaches a key."""
    return hashlib.sha256(encode_owner(owner)).hexdigest()[:32]


def _escape(text: str) -> str:
    return _GLOB.sub(r"\\\1", text)


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Build and parse every key below one prefix."""

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

    def live(self, tenant: str, owner: Owner | None = None) -> str:
        suffix = "" if owner is None else f":{{{owner_digest(owner)}}}"
        return f"{self.prefix}:{tenant}:live{suffix}"

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

    def parse(self, name: str) -> StreamKey | None:
        """Return the stream a key belongs to; None for a key that is not one of ours."""
        prefix, match = f"{self.prefix}:", None
        if name.startswith(prefix):
            match = _STREAM_KEY.fullmatch(name, len(prefix))
        if match is None:
            return None
        return StreamKey(tenant=match[1], generation=int(match[2]), stream_id=match[3])
