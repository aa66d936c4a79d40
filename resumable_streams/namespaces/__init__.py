"""The operator's half: what is in force in a tenant, and what is done to many streams at once.

    control      the generation, the TTL and the revocations in force; rotate, revoke, retire
    saved        the database's copy of that
    rows         the same from the row of a tenant, in sync code
    selection    which streams are meant
    sweep        go over them at a bounded pace: purge, cancel, shorten, reap
    inventory    count them
    incarnation  one stream, meant as it was, whatever happened since

Everything here runs on the home loop: `runtime.call`, or `runtime.call_sync` from sync code.
"""

from .control import (
    FIRST_GENERATION,
    Unconfirmed,
    Unsaved,
    retire,
    revoke,
    rotate,
    standing,
)
from .incarnation import cancel_incarnation, delete_incarnation
from .inventory import AGES, Inventory, take_inventory
from .saved import saved_generations
from .selection import Selection
from .sweep import Found, Interrupted, Sweep, Tally, cancel, purge, reap, shorten

__all__ = [
    "AGES",
    "FIRST_GENERATION",
    "Found",
    "Interrupted",
    "Inventory",
    "Selection",
    "Sweep",
    "Tally",
    "Unconfirmed",
    "Unsaved",
    "cancel",
    "cancel_incarnation",
    "delete_incarnation",
    "purge",
    "reap",
    "retire",
    "revoke",
    "rotate",
    "saved_generations",
    "shorten",
    "standing",
    "take_inventory",
]
