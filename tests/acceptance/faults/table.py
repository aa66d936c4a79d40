"""The table: each row is a fault that is really injected, and what may come of it.

A row that ends with `done` lets the fault pass and wants every byte; the others want every reader
told why, within the bound. A fault that hit nothing fails its test. All of it is under load, which
`test_faults` brings.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis import Redis
from redis.crc import key_slot

from example_project.private_redis import free_port

from ...nodes import CLUSTER_SLOTS, Node, move_slot
from ...proxy import Proxy
from ...tools.waiting import eventually, pass_time

__all__ = ["FAULTS", "Fault", "Place"]


@dataclass
class Place:
    """What a fault has in its hands; `seconds` is how long one of those lasts that pass."""

    nodes: list[Node]
    proxy: Proxy
    keys: list[tuple[str, str]]  # state and log of each stream
    seconds: float
    restart: Callable[[bool], None]

    @property
    def server(self) -> Redis:
        return self.nodes[0].client

    async def repeat(self, act: Callable[[], int], every: float = 0.1) -> None:
        """Do it again and again, for `seconds`; it says how often it hit, and must at all."""
        hits = 0
        for _ in range(max(1, round(self.seconds / every))):
            hits += await asyncio.to_thread(act)
            await asyncio.sleep(every)
        assert hits > 0, "the fault hit nothing"


Inject = Callable[[Place], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One row."""

    name: str
    inject: Inject
    ends: frozenset[str] = frozenset({"done"})
    shape: str = "single"  # or "sentinel", "cluster"
    bound: float = 10.0  # seconds, with the settings of the suite
    size: int = 0  # bytes that each chunk has more
    settings: dict[str, Any] = field(default_factory=dict)
    is_long: bool = False  # only in `make faults`


# Connections.


async def kill_clients(kind: str, place: Place) -> None:
    await place.repeat(lambda: int(place.server.execute_command("CLIENT", "KILL", "TYPE", kind)))


async def shrink_output_buffer(place: Place) -> None:
    """Have the server cut the push connection for what is waiting in it."""
    name, counter = "client-output-buffer-limit", "client_output_buffer_limit_disconnections"
    before = (await asyncio.to_thread(place.server.info, "stats"))[counter]

    def has_hit() -> bool:
        return bool(place.server.info("stats")[counter] > before)

    await asyncio.to_thread(place.server.config_set, name, "pubsub 4096 0 0")
    await pass_time(place.seconds)
    await eventually(lambda: asyncio.to_thread(has_hit))
    await asyncio.to_thread(place.server.config_set, name, "pubsub 33554432 8388608 60")


async def delay(place: Place) -> None:
    place.proxy.delay = 0.15
    await pass_time(place.seconds)
    place.proxy.delay = 0.0


async def cut(place: Place) -> None:
    hits = 0
    for _ in range(max(2, round(place.seconds / 0.2))):
        hits += place.proxy.cut()
        await asyncio.sleep(0.2)
    assert hits > 0


async def fall_silent(place: Place) -> None:
    place.proxy.open_hole()
    await pass_time(place.seconds)
    place.proxy.close_hole()


# The server.


async def flush_scripts(place: Place) -> None:
    await place.repeat(lambda: bool(place.server.script_flush()))


async def freeze(place: Place) -> None:
    process = place.nodes[0].process
    process.send_signal(19)
    await pass_time(place.seconds)
    process.send_signal(18)


async def restart(keeps_data: bool, place: Place) -> None:
    await asyncio.to_thread(place.restart, keeps_data)


async def fill_memory(is_over: bool, place: Place) -> None:
    await asyncio.to_thread(place.server.config_set, "maxmemory", 1)
    if is_over:
        await pass_time(place.seconds)
        await asyncio.to_thread(place.server.config_set, "maxmemory", 0)


async def become_replica(place: Place) -> None:
    """Refuse writes, as a primary does that has been told that it is none any more."""
    await asyncio.to_thread(place.server.replicaof, "127.0.0.1", str(free_port()))
    await pass_time(place.seconds)
    await asyncio.to_thread(place.server.replicaof, "NO", "ONE")


async def evict(which: int, place: Place) -> None:
    names = [pair[which] for pair in place.keys]
    assert await asyncio.to_thread(place.server.delete, *names) == len(names)


async def kill_for_good(place: Place) -> None:
    await asyncio.to_thread(place.nodes[0].kill)


# Failovers.


async def kill_primary(index: int, place: Place) -> None:
    await asyncio.to_thread(place.nodes[index].kill)


async def kill_primary_ahead_of_its_replica(place: Place) -> None:
    """Let the new primary lack what the old one had acknowledged."""

    def stop_replication() -> None:
        place.server.execute_command("ACL SETUSER default -psync -sync")
        place.server.execute_command("CLIENT KILL TYPE replica")

    def is_ahead() -> bool:
        primary, replica = (
            sum(node.client.strlen(log) for _, log in place.keys) for node in place.nodes
        )
        return primary > replica > 0

    await asyncio.to_thread(stop_replication)
    await eventually(lambda: asyncio.to_thread(is_ahead))
    await asyncio.to_thread(place.nodes[0].kill)


async def move_slots(place: Place) -> None:
    """Reshard: the slot of every stream goes to the next primary."""

    def move() -> None:
        primaries = place.nodes[:3]
        for meta, _ in place.keys:
            slot = key_slot(meta.encode())
            at = round(slot * 3 / CLUSTER_SLOTS - 0.5)
            here, there = primaries[at], primaries[(at + 1) % 3]
            move_slot(slot, here, there, [one for one in primaries if one not in (here, there)])
            assert there.client.exists(meta) == 1

    await asyncio.to_thread(move)


LOST = frozenset({"data_lost"})
GONE = frozenset({"expired"})
AWAY = frozenset({"StoreUnavailable", "store_unavailable", "producer_lost"})
PATIENT = {"STORE_TIMEOUT": 10, "LEASE": 15, "SWEEP": 1}
HASTY = {"STORE_TIMEOUT": 1, "LEASE": 2, "SWEEP": 0.2}

FAULTS = [
    Fault("CLIENT KILL of the command connections", partial(kill_clients, "normal")),
    Fault("CLIENT KILL of the push connections", partial(kill_clients, "pubsub")),
    Fault("the server cuts the push connections (output buffer)", shrink_output_buffer, size=6_000),
    Fault("network: 150 ms more each way", delay),
    Fault("network: cut, again and again", cut),
    Fault("network: half open (black hole)", fall_silent, bound=12),  # less than a lease
    Fault("SCRIPT FLUSH, again and again", flush_scripts),
    Fault("server frozen (SIGSTOP) and back", freeze),
    Fault("server killed for good", kill_for_good, AWAY, settings=HASTY, bound=15),
    Fault("server killed, back with its data (AOF)", partial(restart, True)),
    Fault("server killed, back without its data", partial(restart, False), GONE),
    Fault("out of memory (noeviction) for a while", partial(fill_memory, True)),
    Fault(
        "out of memory (noeviction) for good",
        partial(fill_memory, False),
        AWAY,
        settings=HASTY,
    ),
    Fault("READONLY: the primary becomes a replica, and back", become_replica),
    Fault("the logs are evicted, the states stay", partial(evict, 1), LOST),
    Fault("the states are evicted, the logs stay", partial(evict, 0), GONE),
    Fault("primary killed", partial(kill_primary, 0), shape="sentinel", bound=20, is_long=True),
    Fault(
        "primary killed, its replica lags",
        kill_primary_ahead_of_its_replica,
        shape="sentinel",
        bound=20,
        is_long=True,
    ),
    Fault("primary killed", partial(kill_primary, 1), shape="cluster", bound=20, is_long=True),
    Fault("resharding: the slots move", move_slots, shape="cluster", bound=20, is_long=True),
]
