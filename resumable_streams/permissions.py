"""Permissions: the stream that somebody asks for, and whether it is theirs.

Every refusal is the same as for a stream that does not exist. The outcome tells receivers why,
nobody else.
"""

from collections.abc import Sequence
from contextlib import suppress
from secrets import compare_digest
from typing import Any, NamedTuple

from .control import FIRST_GENERATION, read_control
from .engine import Engine
from .exceptions import InvalidOwner, StreamReplaced
from .identifiers import (
    DEFAULT_TENANT,
    encode_owner,
    validate_owner,
    validate_stream_id,
    validate_tenant,
)
from .links import SignedLink
from .owners import Identity
from .signals import owner_checked
from .types import PUBLIC, Control, Owner, StreamInfo, StreamKey

__all__ = [
    "Asker",
    "Checked",
    "Granted",
    "Owners",
    "StreamAddress",
    "checked_of",
    "find",
    "judge",
    "judge_link",
    "name_of",
    "outcome_of",
    "read_address",
    "read_owners",
    "tell_checked",
    "tenant_of",
]

ENDING_VERBS = ("cancel", "delete")

_CHECKED = "_resumable_streams_checked"

Owners = Owner | Sequence[Owner] | Identity
"""Whoever asks, under one name or several: a user, and the visitor from before the login."""

Asker = Owners | SignedLink
"""In whose name a stream is read: its owner's, or that of whoever was given a signed link to it."""


class StreamAddress:
    """A validated tenant and stream id: a key, once the generation in force is known."""

    __slots__ = ("stream_id", "tenant")

    def __init__(self, stream_id: str, tenant: str | None):
        self.stream_id = validate_stream_id(stream_id)
        self.tenant = validate_tenant(DEFAULT_TENANT if tenant is None else tenant)

    def key(self, control: Control) -> StreamKey:
        return StreamKey(
            tenant=self.tenant,
            generation=control.generation or FIRST_GENERATION,
            stream_id=self.stream_id,
        )


def read_address(
    stream_id: str, tenant: str | None, asker: Asker
) -> tuple[StreamAddress, tuple[Owner, ...] | SignedLink]:
    """Validate where a stream is and who asks for it; the tenant of a link is the link's."""
    if isinstance(asker, SignedLink):
        return StreamAddress(stream_id, asker.tenant), asker
    return StreamAddress(stream_id, tenant_of(asker, tenant)), read_owners(asker)


def tenant_of(owners: Owners, tenant: str | None) -> str | None:
    """Return the tenant that is given, or else that of the identity that asks."""
    return owners.tenant if tenant is None and isinstance(owners, Identity) else tenant


def read_owners(owners: Owners) -> tuple[Owner, ...]:
    """Validate the owners, of whom there is at least one."""
    if isinstance(owners, Identity):
        owners = owners.owners
    if not isinstance(owners, list | tuple):
        return (validate_owner(owners),)
    if not owners:
        raise InvalidOwner
    return tuple(map(validate_owner, owners))


class Granted(NamedTuple):
    """A stream that the asker may reach, and the owner in whose name."""

    key: StreamKey
    info: StreamInfo
    asking: Owner


def name_of(info: StreamInfo | None, owners: Sequence[Owner]) -> Owner:
    """Return the owner whose stream this is; the first one where it is nobody's of them."""
    return next((one for one in owners if info is not None and _owns(info, one)), owners[0])


async def find(
    engine: Engine,
    address: StreamAddress,
    asker: tuple[Owner, ...] | SignedLink,
    operation: str,
    request: Any,
    *,
    epoch: str | None = None,
) -> Granted | None:
    """Return the stream if `asker` may do `operation`; a foreign stream is a missing one.

    A missing and a foreign one take the same round trips, and so does one with a wrong link. Raises
    StreamReplaced if `epoch` is given and names another incarnation.
    """
    by_link = isinstance(asker, SignedLink)
    asking = PUBLIC if isinstance(asker, SignedLink) else asker[0]
    control = await read_control(engine, address.tenant, asking)
    key = address.key(control)
    info = await engine.store.look(key)
    if isinstance(asker, SignedLink):
        asking, outcome = await judge_link(engine, key, info, asker, operation)
    else:
        if (name := name_of(info, asker)) != asking:
            asking = name
            control = await read_control(engine, address.tenant, asking)
        outcome = await judge(engine, key, info, asking, operation, control)
    await tell_checked(engine, key, asking, operation, outcome, request, by_link=by_link)
    if info is None or outcome != "match":
        return None
    if control.generation is None:  # lost, or expired under a stream that lives on
        await engine.store.set_control(key.tenant, longest_ttl=info.ttl)
    if epoch not in (None, info.epoch):
        raise StreamReplaced(info.epoch)
    return Granted(key, info, asking)


async def tell_checked(
    engine: Engine,
    key: StreamKey,
    owner: Owner,
    operation: str,
    outcome: str,
    request: Any,
    *,
    by_link: bool = False,
) -> None:
    """Tell receivers what a check came to."""
    with suppress(AttributeError):  # a Channels scope, or None
        setattr(request, _CHECKED, Checked(outcome, key, by_link))
    await engine.notify(
        owner_checked,
        key,
        owner,
        operation=operation,
        outcome=outcome,
        by_link=by_link,
        request=request,
    )


class Checked(NamedTuple):
    """The last check for a request: its outcome, and the stream it was about."""

    outcome: str
    key: StreamKey
    by_link: bool


def checked_of(request: Any) -> Checked | None:
    """Return the last check for a request; None if there was none."""
    return getattr(request, _CHECKED, None)


def outcome_of(request: Any) -> str:
    """Return the outcome of the last check for a request; "" if there was none."""
    checked = checked_of(request)
    return "" if checked is None else checked.outcome


async def judge(
    engine: Engine,
    key: StreamKey,
    info: StreamInfo | None,
    owner: Owner,
    operation: str,
    control: Control,
) -> str:
    """Return "match", or why a stream counts as missing: "missing", "foreign" or "revoked"."""
    if info is None:
        return "missing"
    if not _owns(info, owner):
        if info.owner is not PUBLIC or operation in ENDING_VERBS:
            return "foreign"
        # A public stream is read by others, but revoked with its owner.
        control = await engine.store.get_control(key.tenant, PUBLIC)
    return "match" if control.admits(info) else "revoked"


async def judge_link(
    engine: Engine, key: StreamKey, info: StreamInfo | None, link: SignedLink, operation: str
) -> tuple[Owner, str]:
    """Return in whose name a link reads (PUBLIC: nobody's), and what `judge` says of that."""
    if info is None:
        return PUBLIC, "missing"
    if not link.opens(info, alias=engine.settings.alias):
        return PUBLIC, "foreign"
    control = await engine.store.get_control(key.tenant, info.owner)
    return info.owner, await judge(engine, key, info, info.owner, operation, control)


def _owns(info: StreamInfo, owner: Owner) -> bool:
    return compare_digest(encode_owner(info.owner), encode_owner(owner))
