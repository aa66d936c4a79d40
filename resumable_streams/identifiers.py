"""Identifiers: the names of streams, tenants and owners, and their digests. Pure.

No identifier may contain a brace, a space or a glob character, so that a pattern made from one
matches nothing else.
"""

import hashlib
import json
import re

from django.utils.crypto import salted_hmac

from .exceptions import InvalidOwner, InvalidSlot, InvalidStreamId, InvalidTenant
from .types import PUBLIC, Holding, Owner, Slot, StreamInfo, StreamKey

__all__ = [
    "DEFAULT_TENANT",
    "decode_owner",
    "encode_owner",
    "holding_of",
    "idempotent_stream_id",
    "owner_digest",
    "slot_digest",
    "slot_of",
    "validate_owner",
    "validate_slot",
    "validate_stream_id",
    "validate_tenant",
]

DEFAULT_TENANT = "default"
MAX_OWNER_BYTES = 1_024
MAX_SLOT_BYTES = 256

_STREAM_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")


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


def validate_slot(name: object) -> str:
    """Return the name of a slot, or raise InvalidSlot; any text will do, keys have its digest."""
    if not isinstance(name, str) or not name:
        raise InvalidSlot
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidSlot from None
    if size > MAX_SLOT_BYTES:
        raise InvalidSlot
    return name


def slot_digest(name: str) -> str:
    """Return what stands for the name of a slot in a key: 128 bits."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


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


def holding_of(info: StreamInfo) -> Holding:
    """Return what the process is to hold that produces a stream."""
    return Holding(key=info.key, epoch=info.epoch, owner_digest=owner_digest(info.owner))


def idempotent_stream_id(
    key: str, *, owner: Owner, tenant: str | None, using: str, scope: str
) -> str:
    """Return the stream id that a key of a client stands for; InvalidStreamId for a bad key.

    Keyed with SECRET_KEY, so that it can't be guessed from what a client may know.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
        raise InvalidStreamId
    who = ["public"] if owner is PUBLIC else ["owner", owner]
    parts = json.dumps([using, tenant, who, scope, key])
    digest = salted_hmac("resumable_streams.idempotency", parts, algorithm="sha256")
    return f"i-{digest.hexdigest()}"


def slot_of(key: StreamKey, owner: Owner, name: str) -> Slot:
    """Return the slot of an owner that has this name, where `key` lives."""
    return Slot(
        tenant=key.tenant,
        generation=key.generation,
        owner_digest=owner_digest(owner),
        name=name,
    )
