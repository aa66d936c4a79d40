"""Processes that die: what they leave, and those who find it."""

from resumable_streams import StreamManager
from resumable_streams.engine import Engine, get_engine
from resumable_streams.identifiers import holding_of
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import Claim, Role, StreamInfo, StreamKey, Terms

__all__ = ["die_producing", "forget", "judge", "kill", "successor_of"]


async def die_producing(
    manager: StreamManager,
    key: StreamKey,
    data: bytes = b"",
    *,
    lease: float,
    process: str = "dead",
    owner: str = "a",
) -> StreamInfo:
    """Leave what a process leaves that was elected, wrote, and was killed at this moment."""
    store = get_engine(manager.alias).store
    claim = Claim(holder=process)
    terms = Terms(owner=owner, ttl=60, finished_ttl=60, pending=30)
    await store.processes.beat(process, lease=lease, position="")
    elected = await store.acquire(key, claim, terms)
    assert elected.role is Role.PRODUCER
    assert await store.processes.hold(process, holding_of(elected.info))
    assert await store.confirm(key, claim)
    if data:
        await store.append(key, claim, 0, data)
    return elected.info


async def forget(store: BaseStore, process: str) -> None:
    """Have the store lose what it knew of a process, and of what that held."""
    if isinstance(store, MemoryStore):
        table = store._space.table
        for one in (table.processes, table.waiting, table.dying):
            one.pop(process, None)
        table.held.pop(process, None)
        return
    assert isinstance(store, RedisStore)
    await store._nodes.execute("", "DEL", store.keys.shared(f"held:{process}"))
    for name in ("processes", "waiting", "dying"):
        await store._nodes.execute("", "ZREM", store.keys.shared(name), process)


async def kill(engine: Engine) -> str:
    """Have an engine beat no more, as a process that is stopped; return its name."""
    await engine.leases.ready()
    beating = engine.leases._beating
    assert beating is not None
    beating.cancel()
    return engine.leases.process


def judge(engine: Engine) -> None:
    """Have an engine judge others from now on: its own heartbeats are known to arrive."""
    leases = engine.leases
    now = engine.loop.time()
    leases._in_time_since, leases._last = now - 2 * leases._lease, now


def successor_of(claim: Claim, process: str) -> Claim:
    """Return the claim of another process that goes on with a stream."""
    return Claim(epoch=claim.epoch, holder=process)
