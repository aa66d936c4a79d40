"""The processes of one prefix, as Redis remembers them: all of it in one hash slot."""

from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from ...types import Fate, Holding, StreamKey
from ..processes import Beat, Census, Processes, Taken
from .keys import KeySpace, decode_holdings, encode_holding

__all__ = ["KEEP_MS", "RedisProcesses"]

KEEP_MS = 7 * 86_400_000
"""How long what processes share is kept after the last of them was there."""

BATCH = 500
"""How many holders a script counts for, so that it never takes long."""

MAX_NEWS = 1_000
"""How many hints a heartbeat takes; of more it only learns that there were many."""


class RunScript(Protocol):
    """The way to run a script: its name, its keys and its arguments."""

    def __call__(
        self, name: str, keys: list[str], /, *arguments: str | bytes | int
    ) -> Awaitable[Any]: ...


class RedisProcesses(Processes):
    """Leases of processes, and what each of them holds. Every verb is one script."""

    def __init__(self, keys: KeySpace, run: RunScript):
        self._keys = keys
        self._run = run

    def _shared(self, *names: str) -> list[str]:
        return [self._keys.shared(name) for name in names]

    async def beat(self, process: str, *, lease: float, position: str) -> Beat:
        names = "processes", "waiting", "dying", "judged", "news"
        keys = self._shared(*names, f"held:{process}", f"telling:{process}")
        answer = await self._run("beat", keys, process, _ms(lease), position, KEEP_MS, MAX_NEWS)
        if answer[0] == b"judged":
            return Beat(is_judged=True)
        _, known, living, passed, news, gap, last = answer
        return Beat(
            is_new=not known,
            living={
                name.decode(): int(left) / 1000
                for name, left in zip(living[::2], living[1::2], strict=True)
            },
            passed=[holder.decode() for holder in passed],
            news=[hint for text in news if (hint := self._hint(text)) is not None],
            is_gap=bool(gap),
            position=last.decode(),
        )

    def _hint(self, text: bytes) -> str | StreamKey | None:
        return self._keys.parse_hint(text.decode(errors="replace"))

    async def leave(self, process: str) -> None:
        keys = self._shared("processes", f"held:{process}", f"telling:{process}")
        await self._run("leave", keys, process)

    async def hold(self, process: str, holding: Holding) -> bool:
        keys = self._shared("processes", f"held:{process}")
        return bool(await self._run("hold", keys, process, encode_holding(holding), KEEP_MS))

    async def park(self, holder: str, holding: Holding, *, seconds: float) -> None:
        keys = self._shared("waiting", f"held:{holder}")
        await self._run("park", keys, holder, encode_holding(holding), _ms(seconds), KEEP_MS)

    async def drop(self, holder: str, holding: Holding) -> None:
        keys = self._shared("waiting", f"held:{holder}")
        await self._run("drop", keys, holder, encode_holding(holding))

    async def take(self, holder: str, *, by: str, lease: float) -> Taken | None:
        names = "processes", "waiting", "dying", f"held:{holder}", f"telling:{holder}"
        answer = await self._run("take", self._shared(*names), holder, _ms(lease), KEEP_MS)
        return answer and Taken(held=decode_holdings(answer[0]), telling=decode_holdings(answer[1]))

    async def move(self, holding: Holding, *, holder: str, by: str) -> bool:
        keys = self._shared("processes", f"held:{holder}", f"telling:{holder}", f"telling:{by}")
        return bool(await self._run("move", keys, by, encode_holding(holding), KEEP_MS, holder))

    async def adopt(self, holding: Holding, *, by: str) -> bool:
        keys = self._shared("processes", f"telling:{by}")
        return bool(await self._run("adopt", keys, by, encode_holding(holding), KEEP_MS))

    async def told(self, holding: Holding, *, by: str) -> None:
        await self._run("told", self._shared(f"telling:{by}"), encode_holding(holding))

    async def bury(self, holder: str) -> None:
        keys = self._shared("dying", "judged", f"held:{holder}", f"telling:{holder}")
        await self._run("bury", keys, holder, KEEP_MS)

    async def fates(self, holders: Sequence[str]) -> list[Fate]:
        if not holders:
            return []
        answer = await self._run("fates", self._shared("processes", "waiting", "dying"), *holders)
        return [Fate(fate.decode()) for fate in answer]

    async def census(self, *, by_tenant: bool = False) -> Census:
        names = self._shared("processes", "dying", "waiting")
        living, dying, waiting = await self._run("census", names)
        return Census(
            living=len(living),
            dying=dying,
            held=await self._count(living, by_tenant),
            waiting=await self._count(waiting, by_tenant),
        )

    async def _count(self, holders: Sequence[bytes], by_tenant: bool) -> dict[str, int]:
        """Count what these hold, a bounded number of them at a time."""
        found: Counter[str] = Counter()
        for start in range(0, len(holders), BATCH):
            batch = holders[start : start + BATCH]
            keys = self._shared(*(f"held:{holder.decode()}" for holder in batch))
            answer = await self._run("count", keys, "1" if by_tenant else "")
            for tenant, number in zip(answer[::2], answer[1::2], strict=True):
                found[tenant.decode()] += number
        return dict(found)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
