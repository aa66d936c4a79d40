"""Signed links: the holder of one reads one stream, without being its owner. Pure.

A link contains its end and its tenant in clear, and nothing else. Alias, tenant, generation,
stream, incarnation and owner are signed but not sent: the signature is compared with the present
stream. The whole token is signed as well, so a forged tenant never reaches the store. So a link
does not reveal the owner, and works as long as the owner can reach the stream: a rotation, a
revocation, the end of the TTL and a deletion end it, and a stream that is begun again under the
same id has other links.

SECRET_KEY_FALLBACKS count, so that a change of SECRET_KEY need not break the links that are out.
"""

import json
import logging
import math
import re
from dataclasses import dataclass, field
from time import time as _now
from typing import Self

from django.core.signing import BadSignature, Signer

from .identifiers import encode_owner
from .types import StreamInfo

__all__ = ["TOKEN_PARAMETER", "RedactTokens", "SignedLink"]

TOKEN_PARAMETER = "token"  # noqa: S105  the name in the query, not a secret

SALT = "resumable_streams.links"
SEPARATOR = "."

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9]{0,12})\.([A-Za-z0-9_-]{1,128})")
_IN_QUERY = re.compile(rf"([?&]{TOKEN_PARAMETER}=)[^&#\s\"']*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLink:
    """Permission to read one stream. With `expires=None` it lasts as long as the stream."""

    tenant: str
    expires: int | None
    signature: str = field(repr=False)

    @classmethod
    def make(cls, info: StreamInfo, *, alias: str, max_age: float | None = None) -> Self:
        """Sign a link to the stream, for `max_age` seconds at most."""
        if max_age is not None and not 0 < max_age < math.inf:
            raise ValueError("max_age is a number of seconds, more than 0, or None.")
        expires = None if max_age is None else math.ceil(_now() + max_age)
        signature = _signer("stream").signature(_signed(info, alias, expires))
        return cls(tenant=info.tenant, expires=expires, signature=signature)

    @classmethod
    def of(cls, token: str, *, tenant: str) -> Self:
        """Return what a token says; of one not made here, a link in `tenant` that opens nothing."""
        try:
            match = _TOKEN.fullmatch(_signer("token").unsign(token))
        except BadSignature:
            match = None
        if match is None:
            return cls(tenant=tenant, expires=0, signature="")
        expires = int(match[2]) if match[2] else None
        return cls(tenant=match[1], expires=expires, signature=match[3])

    def __str__(self) -> str:
        expires = "" if self.expires is None else str(self.expires)
        return _signer("token").sign(SEPARATOR.join([self.tenant, expires, self.signature]))

    def opens(self, info: StreamInfo, *, alias: str) -> bool:
        """Return whether this is a link to the very stream, and still good."""
        value = _signed(info, alias, self.expires)
        try:
            _signer("stream").unsign(f"{value}{SEPARATOR}{self.signature}")
        except BadSignature:
            return False
        return self.expires is None or _now() < self.expires


def _signer(part: str) -> Signer:
    return Signer(sep=SEPARATOR, salt=f"{SALT}.{part}")


def _signed(info: StreamInfo, alias: str, expires: int | None) -> str:
    owner = encode_owner(info.owner).decode()
    place = [alias, info.tenant, info.generation, info.stream_id, info.epoch]
    return json.dumps([*place, owner, expires])


class RedactTokens(logging.Filter):
    """A logging filter that takes the tokens of signed links out of logged addresses.

    For handlers of access logs, as in `LOGGING["filters"]`. It changes the texts that a record was
    made of, not how many there are: formatters such as uvicorn's look at each.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _redact(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(map(_redact, record.args))
        elif record.args:
            record.args = {name: _redact(value) for name, value in record.args.items()}
        return True


def _redact(value: object) -> object:
    return _IN_QUERY.sub(r"\1[redacted]", value) if isinstance(value, str) else value
