"""Orders for workers: a stream with one consumer group, so each is handed out at least once.

An order leaves the stream when it is done. A worker that dies leaves its orders pending; they are
claimed by another one when nobody has kept them for a while. Waiting for the next order blocks a
connection of its own: one a worker process.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from ...exceptions import StoreUnavailable, StreamLimitExceeded
from ..base import Backlog, Queue
from .connection import Argument, CommandConnection
from .keys import KeySpace
from .nodes import Nodes

__all__ = ["RedisQueue"]

GROUP = "workers"
MAX_ORDERS = 100_000
KEEP_MS = 7 * 86_400_000  # an order outlives no stream that it could be for by much


class RedisQueue(Queue):
    """The orders of one prefix."""

    def __init__(
        self,
        nodes: Nodes,
        run: Callable[..., Awaitable[Any]],
        new_waiting_connection: Callable[[], Awaitable[CommandConnection]],
        keys: KeySpace,
        *,
        worker: str,
    ):
        self._nodes = nodes
        self._run = run  # a script, on keys
        self._new_waiting_connection = new_waiting_connection
        self._waiting: CommandConnection | None = None  # blocks for as long as no order comes
        self._key = keys.orders
        self._worker = worker
        self._has_group = False

    async def _ask(self, *arguments: Argument) -> Any:
        return await self._nodes.execute(self._key, *arguments)

    async def put(self, order: bytes) -> None:
        if not await self._run("put", [self._key], order, MAX_ORDERS, KEEP_MS):
            raise StreamLimitExceeded("MAX_ORDERS", MAX_ORDERS)

    async def take(self, *, wait: float, idle: float) -> tuple[str, bytes] | None:
        await self._ensure_group()
        try:
            return await self._take_abandoned(idle) or await self._take_next(wait)
        except StoreUnavailable as error:
            # The key expired, or the server lost it, or the primary of its slot is another one.
            self._has_group = False
            await self.aclose()
            if _is_missing_group(error):
                return None
            raise

    async def _ensure_group(self) -> None:
        if self._has_group:
            return
        try:
            await self._ask("XGROUP", "CREATE", self._key, GROUP, "0", "MKSTREAM")
        except StoreUnavailable as error:
            if "BUSYGROUP" not in str(error.__cause__):
                raise
        await self._ask("PEXPIRE", self._key, KEEP_MS)
        self._has_group = True

    async def _take_abandoned(self, idle: float) -> tuple[str, bytes] | None:
        answer = await self._ask(
            "XAUTOCLAIM", self._key, GROUP, self._worker, round(idle * 1000), "0", "COUNT", 1
        )
        return _first(answer[1])

    async def _take_next(self, wait: float) -> tuple[str, bytes] | None:
        if self._waiting is None:
            self._waiting = await self._new_waiting_connection()
        answer = await self._waiting.execute(
            "XREADGROUP", "GROUP", GROUP, self._worker, "COUNT", 1,
            "BLOCK", round(wait * 1000), "STREAMS", self._key, ">",
        )  # fmt: skip
        return None if not answer else _first(answer[0][1])

    async def keep(self, tickets: Sequence[str]) -> None:
        if tickets:
            await self._ask("XCLAIM", self._key, GROUP, self._worker, 0, *tickets, "JUSTID")

    async def done(self, ticket: str) -> None:
        await self._run("done", [self._key], GROUP, ticket)

    async def backlog(self, *, alive: float) -> Backlog:
        total, taken, age, workers = await self._run(
            "backlog", [self._key], GROUP, round(alive * 1000)
        )
        return Backlog(
            waiting=max(0, total - taken), taken=taken, oldest_age=age / 1000, workers=workers
        )

    async def aclose(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await waiting.aclose()


def _first(entries: Sequence[Any]) -> tuple[str, bytes] | None:
    for ticket, fields in entries:
        if fields:  # an entry that was deleted while pending has none
            return ticket.decode(), fields[1]
    return None


def _is_missing_group(error: StoreUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, ResponseError) and str(cause).startswith("NOGROUP")
