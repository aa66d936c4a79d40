"""Who may: the stream that somebody means, and whether it is theirs.

Whatever is wrong, the answer is the same as for a stream that does not exist. The outcome tells
receivers why, nobody else.
"""

from collections.abc import Sequence
from secrets import compare_digest
from typing import NamedTuple

from .control import FIRST_GENERATION
from .engine import Engine
from .exceptions import InvalidOwner
from .identifiers import (
    DEFAULT_TENANT,
    encode_owner,
    validate_owner,
    validate_stream_id,
    validate_tenant,
)
from .links import SignedLink
from .types import PUBLIC, Owner, Standing, StreamInfo, StreamKey

__all__ = [
    "Address",
    "Asker",
    "Found",
    "Owners",
    "judge",
    "judge_link",
    "name_of",
    "read_address",
    "read_owners",
]

CONTROL_VERBS = ("cancel", "delete")

Owners = Owner | Sequence[Owner]
"""Whoever asks, under one name or several: a user, and the visitor of before the login."""

Asker = Owners | SignedLink
"""In whose name a stream is read: its owner's, or that of whoever was given a signed link to it."""


class Address:
    """A validated tenant and id: a key, once the generation in force is known."""

    __slots__ = ("stream_id", "tenant")

    def __init__(self, stream_id: str, tenant: str | None):
        self.stream_id = validate_stream_id(stream_id)
        self.tenant = validate_tenant(DEFAULT_TENANT if tenant is None else tenant)

    def key(self, standing: Standing) -> StreamKey:
        return StreamKey(
            tenant=self.tenant,
            generation=standing.generation or FIRST_GENERATION,
            stream_id=self.stream_id,
        )


def read_address(
    stream_id: str, tenant: str | None, asker: Asker
) -> tuple[Address, tuple[Owner, ...] | SignedLink]:
    """Validate where a stream is and who asks for it; the tenant of a link is the link's."""
    if isinstance(asker, SignedLink):
        return Address(stream_id, asker.tenant), asker
    return Address(stream_id, tenant), read_owners(asker)


def read_owners(owners: Owners) -> tuple[Owner, ...]:
    """Validate the owners, of whom there is at least one."""
    if not isinstance(owners, list | tuple):
        return (validate_owner(owners),)
    if not owners:
        raise InvalidOwner
    return tuple(map(validate_owner, owners))


class Found(NamedTuple):
    """A stream that is there for whoever asks, and the owner in whose name that is."""

    key: StreamKey
    info: StreamInfo
    asking: Owner


def name_of(info: StreamInfo | None, owners: Sequence[Owner]) -> Owner:
    """Return the owner whose stream this is; the first one where it is nobody's of them."""
    return next((one for one in owners if info is not None and _owns(info, one)), owners[0])


async def judge(
    engine: Engine,
    key: StreamKey,
    info: StreamInfo | None,
    owner: Owner,
    operation: str,
    standing: Standing,
) -> str:
    """Return "match", or why a stream counts as missing: "missing", "foreign" or "revoked"."""
    if info is None:
        return "missing"
    if not _owns(info, owner):
        if info.owner is not PUBLIC or operation in CONTROL_VERBS:
            return "foreign"
        # A public stream is read by others, but revoked with its owner.
        standing = await engine.store.standing(key.tenant, PUBLIC)
    return "match" if standing.admits(info) else "revoked"


async def judge_link(
    engine: Engine, key: StreamKey, info: StreamInfo | None, link: SignedLink, operation: str
) -> tuple[Owner, str]:
    """Return in whose name a link reads (PUBLIC: nobody's), and what `judge` says of that."""
    if info is None:
        return PUBLIC, "missing"
    if not link.opens(info, alias=engine.settings.alias):
        return PUBLIC, "foreign"
    standing = await engine.store.standing(key.tenant, info.owner)
    return info.owner, await judge(engine, key, info, info.owner, operation, standing)


def _owns(info: StreamInfo, owner: Owner) -> bool:
    return compare_digest(encode_owner(info.owner), encode_owner(owner))
