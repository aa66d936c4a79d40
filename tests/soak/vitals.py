"""What a process holds, as the system and the store see it."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from redis import Redis

from ..acceptance.servers import Server

__all__ = ["Vitals", "growth", "look"]

MIB = 1_048_576


@dataclass(frozen=True)
class Vitals:
    """One look at a server process, and at the keys of its site."""

    tasks: int
    files: int
    connections: int  # to the store
    keys: int
    resident: float  # MiB
    objects: int = 0  # of Python, where they were counted

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks, {self.files} files, {self.connections} connections, "
            f"{self.keys} keys, {self.resident:.1f} MiB"
            + (f", {self.objects:,} objects" if self.objects else "")
        )


async def look(
    server: Server, client: httpx.AsyncClient, store: Redis, prefix: str, *, closely: bool = False
) -> Vitals:
    """Look at a server; what other processes are connected with the store does not count."""
    query = {"objects": ""} if closely else {}
    vitals = (await client.get(f"{server.url}/vitals", params=query)).json()
    proc = Path(f"/proc/{server.process.pid}")
    resident = int(proc.joinpath("status").read_text().partition("VmRSS:")[2].split()[0]) * 1_024
    ports = _ports(proc)
    clients = store.client_list()
    return Vitals(
        tasks=vitals["tasks"],
        files=len(os.listdir(proc / "fd")),
        connections=sum(int(one["addr"].rpartition(":")[2]) in ports for one in clients),
        keys=sum(1 for _ in store.scan_iter(f"{prefix}:*", count=1_000)),
        resident=resident / MIB,
        objects=vitals.get("objects", 0),
    )


def _ports(proc: Path) -> set[int]:
    """Return the local ports of the sockets of a process."""
    inodes = set()
    for link in proc.joinpath("fd").iterdir():
        try:
            inodes.add(os.readlink(link))
        except FileNotFoundError:  # closed meanwhile
            continue
    rows = [row.split() for row in proc.joinpath("net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in inodes}


def growth(resident: Sequence[float]) -> float:
    """Return by how many MiB the last third is above the second: the first one warms up."""
    third = max(1, len(resident) // 3)
    return statistics.median(resident[-third:]) - statistics.median(resident[third : 2 * third])
