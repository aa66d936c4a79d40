"""What goes wrong in the life of a site, and what its operators do."""

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from redis import Redis

from ..acceptance.servers import ROOT, Server

__all__ = ["Troubles"]


@dataclass
class Troubles:
    """Make trouble every `every` seconds; `addresses` follows the servers."""

    mortal: Server
    start: Callable[[], Server]
    environment: Mapping[str, str]
    addresses: list[str]
    store: Redis
    every: float
    met: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)  # when one begins, and when it is over

    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Make no more; `run` returns when what it is at is over."""
        self._ending.set()

    async def run(self) -> None:
        kinds: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "server killed": (4, self._kill),
            "rotation": (2, self._rotate),
            "command connections cut": (2, self._cut("normal")),
            "push connections cut": (2, self._cut("pubsub")),
            "scripts flushed": (1, self._flush),
        }
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0.5, 1.5) * self.every):
                    await self._ending.wait()
                    return
            weights = [weight for weight, _ in kinds.values()]
            kind = random.choices(list(kinds), weights)[0]
            self.marks[kind] += 1
            await kinds[kind][1]()
            self.marks[kind] += 1
            self.met[kind] += 1

    async def _kill(self) -> None:
        """Kill one of the two servers; another one takes its place."""
        await asyncio.to_thread(self.mortal.kill)
        self.mortal = await asyncio.to_thread(self.start)
        self.addresses[1] = self.mortal.url

    async def _rotate(self) -> None:
        """Do what an operator does when ids have leaked."""
        rotating = await asyncio.create_subprocess_exec(
            sys.executable, "manage.py", "resumable_streams",
            "rotate", "--tenant", "default", "--yes",
            cwd=ROOT, env={**os.environ, **self.environment},
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await rotating.wait() == 0

    def _cut(self, kind: str) -> Callable[[], Awaitable[None]]:
        async def cut() -> None:
            await asyncio.to_thread(self.store.execute_command, "CLIENT", "KILL", "TYPE", kind)

        return cut

    async def _flush(self) -> None:
        await asyncio.to_thread(self.store.script_flush)
