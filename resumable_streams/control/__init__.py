"""The control of a tenant: its generation, its TTL, and the owners that are revoked.

    control   the control key in the store: read at every acquire and resume; rotate, revoke, retire
    saved     the database's copy of it

Everything here runs on the home loop: `runtime.call`, or `runtime.call_sync` from sync code.
"""

from .control import (
    FIRST_GENERATION,
    Unconfirmed,
    Unsaved,
    read_control,
    retire,
    revoke,
    rotate,
    validate_ttl,
)

__all__ = [
    "FIRST_GENERATION",
    "Unconfirmed",
    "Unsaved",
    "read_control",
    "retire",
    "revoke",
    "rotate",
    "validate_ttl",
]
