"""Visitors who ask, stay, leave, come back, cancel and delete; every byte they get is compared."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from ..acceptance.deploy_site import line
from ..acceptance.returning import ME, Answer, Asker

__all__ = ["Visits"]

LATE_SECONDS = 5.0  # how long a byte may have been stored when a busy machine shows it
PAUSE_SECONDS = 0.5  # between two lines of an answer, on the average
FATES = {"stays": 40, "comes back": 35, "leaves for good": 10, "cancels": 10, "deletes": 5}


@dataclass
class Visits:
    """Keep `count` streams going at `addresses`, until told to end."""

    client: httpx.AsyncClient
    addresses: Sequence[str]
    count: int
    longest: int  # lines of an answer
    ttl: float  # seconds after its last byte for which a stream is kept
    patience: float  # seconds beyond the length of an answer after which a reader counts as hung
    marks: Counter[str]  # of the troubles so far
    ends: Counter[str] = field(default_factory=Counter)
    fates: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unexplained: Counter[str] = field(default_factory=Counter)
    silences: int = 0  # how often a server that was there said nothing for too long
    bytes_read: int = 0
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self) -> None:
        """Start nothing new; `run` returns when what runs has ended."""
        self._ending.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                group.create_task(self._visit_again_and_again(number))

    async def _visit_again_and_again(self, number: int) -> None:
        await asyncio.sleep(random.uniform(0, 5))
        while not self._ending.is_set():
            await self.visit(number)
            number += 1

    async def visit(self, start: int) -> None:
        """Ask once, and live to the end of it."""
        before = Counter(self.marks)
        lines, pause = random.randint(5, self.longest), random.uniform(0.2, 2) * PAUSE_SECONDS
        fate = random.choices(list(FATES), list(FATES.values()))[0]
        self.fates[fate] += 1
        answer = Answer()
        path = f"/produce?count={lines}&every={pause}"
        asker = Asker(self.client, self.addresses, start)
        try:
            async with asyncio.timeout(lines * pause + self.patience):
                await self._live(fate, asker, path, answer, lines * pause)
        except TimeoutError:
            end = "hung"
        else:
            end = (answer.error or answer.status) if answer.ended else "left"
        self.ends[end] += 1
        # An odd number of marks: one has begun and is not over.
        met = {kind for kind, marks in self.marks.items() if marks > before[kind] or marks % 2}
        is_late = answer.silence > self.ttl - LATE_SECONDS
        if not (is_late or self._is_explained(end, fate, met)):
            self.unexplained[f"{end} of one who {fate}"] += 1
        self.silences += sum("ReadTimeout" in one for one in answer.tries)
        self._compare(answer, lines)

    def _is_explained(self, end: str, fate: str, met: set[str]) -> bool:
        match end:
            case "missing":
                return fate == "deletes" or "rotation" in met
            case "producer_lost":
                return "server killed" in met
            case "cancelled":
                return fate == "cancels"
            case "left":
                return fate == "leaves for good"
            case _:
                return end == "done"

    async def _live(
        self, fate: str, asker: Asker, path: str, answer: Answer, seconds: float
    ) -> None:
        asking = asyncio.create_task(asker.ask(path, answer))
        try:
            if fate != "stays":
                await asyncio.wait([asking], timeout=random.uniform(0, seconds))
            if fate in ("cancels", "deletes"):
                await self._act(fate, answer)
            if fate in ("comes back", "leaves for good"):
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            if fate == "comes back":
                await asyncio.sleep(random.uniform(0, 2))
                await asker.ask(path, answer)
            elif fate != "leaves for good":
                await asking
        finally:
            asking.cancel()

    async def _act(self, fate: str, answer: Answer) -> None:
        """Cancel or delete at any of the servers, which may be away just now."""
        url = f"{random.choice(self.addresses)}/streams/{answer.stream_id}/"
        method, url = ("POST", f"{url}cancel/") if fate == "cancels" else ("DELETE", url)
        with contextlib.suppress(httpx.TransportError):
            await self.client.request(method, url, headers=ME)

    def _compare(self, answer: Answer, lines: int) -> None:
        whole = b"".join(map(line, range(lines)))
        is_whole = len(answer.received) == len(whole) or answer.status != "done"
        if not (whole.startswith(answer.received) and is_whole):
            self.wrong.append(answer.stream_id)
        self.bytes_read += len(answer.received)
