"""Acts on a store that many tests begin or end with, upon one stream: KEY."""

from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

from ..identifiers import owner_digest, slot_of
from ..stores.base import MAX_APPEND_BYTES, BaseStore
from ..types import Claim, Holding, Owner, Role, StreamInfo, StreamKey, Terms

__all__ = [
    "KEY",
    "SLOT",
    "TERMS",
    "body",
    "holding",
    "is_gone",
    "look",
    "refusal",
    "scanned",
    "start",
    "successor",
]

E = TypeVar("E", bound=Exception)

KEY = StreamKey(tenant="acme", generation=1, stream_id="chat")
TERMS = Terms(owner="ada", ttl=60, finished_ttl=60, pending=30)
SLOT = slot_of(KEY, "ada", "chat:42")


async def refusal(expected: type[E], verb: Awaitable[object]) -> E:
    """Return the error that `verb` raised, which has to be exactly that one."""
    try:
        answer = await verb
    except Exception as error:
        assert type(error) is expected, f"raised {error!r}, not {expected.__name__}"
        return error
    raise AssertionError(f"answered {answer!r}, did not raise {expected.__name__}")


async def start(
    store: BaseStore, key: StreamKey = KEY, *, holder: str = "ours", **changes: Any
) -> Claim:
    """Win an election, on TERMS but for the changes, and confirm it."""
    claim = Claim(holder=holder)
    acquired = await store.acquire(key, claim, replace(TERMS, **changes))
    assert acquired.role is Role.PRODUCER
    assert await store.confirm(key, claim)
    return claim


def successor(claim: Claim, *, holder: str = "theirs") -> Claim:
    """Make the claim of a new producer of the same incarnation."""
    return Claim(epoch=claim.epoch, holder=holder)


def holding(key: StreamKey = KEY, *, owner: Owner = "ada", epoch: str = "0123abcd") -> Holding:
    """Return what a process is to hold."""
    return Holding(key=key, epoch=epoch, owner_digest=owner_digest(owner))


async def look(store: BaseStore, key: StreamKey = KEY) -> StreamInfo:
    """Return the state of a stream that is there."""
    info = await store.look(key)
    assert info is not None
    return info


async def is_gone(store: BaseStore, key: StreamKey = KEY) -> bool:
    return await store.look(key) is None


async def body(store: BaseStore, key: StreamKey = KEY, *, page: int = MAX_APPEND_BYTES) -> bytes:
    """Return the whole log, page by page."""
    data = b""
    while True:
        answer = await store.read(key, len(data), page)
        assert answer is not None
        assert len(answer.data) <= page
        if not answer.data:
            assert len(data) == answer.info.size
            return data
        data += answer.data


async def scanned(store: BaseStore, *where: Any) -> set[str]:
    """Return what a scan meets, as `tenant/generation/id`."""
    return {f"{k.tenant}/{k.generation}/{k.stream_id}" async for k in store.scan(*where)}
