"""One connection, many commands in flight.

A `CommandConnection` sends the commands of one loop turn in one write and hands the answers out in
order: one task writes, one reads, a FIFO of futures joins them. Commands that may wait (appends)
gather for longer while the loop is busy (`tick`); any other takes them along at once. Those that
are deferred are made as the write leaves, and have no future: their recipient is called.

A caller that is cancelled leaves its future in the FIFO; the command is carried out and its answer
dropped. That is harmless because every verb of a store may be repeated.

When the connection breaks, or the oldest command got no answer within the time limit, everything
in flight fails with StoreUnavailable and the next command connects again. Nobody knows then whether
such a command was carried out; its caller asks again.

A NAT or a load balancer between us and the server forgets connections that rest, and tells nobody.
So one that rests is used now and then, and one that has rested has to answer soon: if it does not,
its commands are sent once more, on a new one.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ...exceptions import StoreUnavailable, fresh
from ..patience import backoff_seconds
from .connect import Connect, open_connection
from .diagnosis import ConnectionClosed, Unreadable, diagnosed, words_of
from .tick import Tick

__all__ = ["Argument", "Command", "CommandConnection", "Deferred", "Recipient", "Unreadable"]

WARM_SECONDS = 20.0  # between two signs of life; the shortest memory known to us is a minute's
RESTED_SECONDS = 2.0  # without an answer, after which a connection has to prove that it is one
RESTED_SHARE = 0.25  # of the time limit, for that proof
MIN_RESTED_TIMEOUT = 0.25

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 0.5  # all that waits for the store waits for it, so not long

MOST_GATHERED = 32  # commands: more in one write save little, and those in front have waited

Argument = str | bytes | int
Command = tuple[Argument, ...]


class Recipient(Protocol):
    """The one who gets an answer, or the error in its place: a future, or what looks like one."""

    def done(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class Deferred(Recipient, Protocol):
    """A command that is made as it leaves, unless there is none to send any more."""

    def command(self) -> Command | None: ...


def rested_timeout(timeout: float) -> float:
    """Return how long one that has rested may take to answer, where others may take `timeout`."""
    return min(timeout, max(timeout * RESTED_SHARE, MIN_RESTED_TIMEOUT))


def _observe(task: asyncio.Future[Any]) -> None:
    """Take note of how a task or a command ended, though all who waited for it may be gone."""
    if not task.cancelled():
        task.exception()


class _Forgotten(ConnectionError):
    """A connection that had rested and gave no answer any more."""


TOLD_TO_ALL = (AuthenticationError, ConnectionClosed, _Forgotten)
"""What ends a connection and says to every caller what has become of their command."""


class _Session:
    """One established connection with its two tasks."""

    def __init__(self, connection: AbstractConnection, timeout: float):
        self.connection = connection
        self._timeout = timeout
        self._rested_timeout = rested_timeout(timeout)
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # of timers, which would keep the request of a caller
        self._unsent: list[bytes] = []
        self._deferred: deque[Deferred] = deque()
        self._tick = Tick(self._loop.time)
        self._alarm: asyncio.TimerHandle | None = None  # of those that wait for the tick
        self._waiting: deque[tuple[Recipient, float]] = deque()
        self._wake = asyncio.Event()
        self._watchdog: asyncio.TimerHandle | None = None
        self._heard_at = self._loop.time()
        self._has_rested = False  # and has not answered since
        self._warmer = self._later(WARM_SECONDS, self._warm)
        self.broken: BaseException | None = None
        self._tasks = [
            self._loop.create_task(self._write(), name="resumable_streams.connection.write"),
            self._loop.create_task(self._read(), name="resumable_streams.connection.read"),
        ]

    def _later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, callback, context=self._context)

    def send(self, arguments: Command, *, may_wait: bool = False) -> asyncio.Future[Any]:
        if self.broken is not None:  # since it was made, or before the caller's turn came
            raise ConnectionError(f"the connection broke: {words_of(self.broken)}")
        future = self._loop.create_future()
        self._unsent.append(self._pack(arguments, future))
        if not may_wait or not self._waits_for_tick():
            self._wake.set()
        return future

    def defer(self, command: Deferred) -> None:
        """Make and send a command with the next write; tell it, too, if there is none any more."""
        self._deferred.append(command)
        if not self._waits_for_tick():
            self._wake.set()

    def _pack(self, arguments: Command, recipient: Recipient) -> bytes:
        """Return a command as it is sent, and expect its answer."""
        now = self._loop.time()
        if not self._waiting and now - self._heard_at >= RESTED_SECONDS:
            self._has_rested = True
            self._reset_watchdog()
        self._waiting.append((recipient, now))
        if self._watchdog is None:
            self._watchdog = self._later(self._patience, self._watch)
        # The connection's own packs in Python, which takes five times as long.
        packed: bytes = pack_command(arguments)  # type: ignore[arg-type] # of any length
        return packed

    def _waits_for_tick(self) -> bool:
        """Return whether what is unsent waits for more; set the alarm that ends the wait."""
        if len(self._unsent) + len(self._deferred) >= MOST_GATHERED:
            return False
        pause = self._tick.due_in(self._loop.time() - self._heard_at)
        if pause and self._alarm is None:
            self._alarm = self._later(pause, self._wake.set)
        return self._alarm is not None

    @property
    def _patience(self) -> float:
        return self._rested_timeout if self._has_rested else self._timeout

    def _warm(self) -> None:
        """Use a connection that rests, so that nobody on the way takes it for dead."""
        idle = self._loop.time() - self._heard_at
        if idle >= WARM_SECONDS and not self._waiting:
            self.send(("PING",)).add_done_callback(_observe)
            idle = 0.0
        self._warmer = self._later(max(WARM_SECONDS - idle, 0.01), self._warm)

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._cancel_alarm()
                unsent, self._unsent = self._unsent, []
                unsent += self._made()
                self._tick.wrote(len(unsent))
                if unsent:
                    await self.connection.send_packed_command(unsent, check_health=False)
        # redis-py meets a socket that vanished under it with an AttributeError. A cancellation is
        # ours (the session has failed already) or the end of the loop: nobody must wait any more.
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, RedisError | OSError | AttributeError):
                raise

    def _made(self) -> list[bytes]:
        """Return what was deferred, made now; what is left after a fault hears of the break."""
        made = []
        while self._deferred:
            one = self._deferred.popleft()
            if (command := one.command()) is not None:
                made.append(self._pack(command, one))
        return made

    async def _read(self) -> None:
        try:
            while True:
                answer = await self._answer()
                recipient, _ = self._waiting.popleft()
                self._heard_at = self._loop.time()
                self._has_rested = False
                if recipient.done():  # its caller was cancelled
                    continue
                if isinstance(answer, ResponseError):
                    recipient.set_exception(answer)
                else:
                    recipient.set_result(answer)
                if isinstance(answer, ReadOnlyError | BusyLoadingError):
                    raise answer  # not the primary (any more): connect anew
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, RedisError | OSError | AttributeError):
                raise

    async def _answer(self) -> Any:
        try:
            return await self.connection.read_response(disable_decoding=True, timeout=math.inf)
        except ResponseError as error:
            return error

    def _watch(self) -> None:
        """Fail the session if its oldest command is overdue; one timer, however many commands."""
        self._watchdog = None
        if self._waiting:
            due = self._waiting[0][1] + self._patience
            if due <= self._loop.time():
                late = _Forgotten if self._has_rested else TimeoutError
                self.fail(late(f"no answer in time ({self._patience:g} seconds)"))
            else:
                self._watchdog = self._later(due - self._loop.time(), self._watch)

    def fail(self, error: BaseException) -> None:
        if self.broken is not None:
            return
        self.broken = error
        self._reset_watchdog()
        self._cancel_alarm()
        self._warmer.cancel()
        told = error if isinstance(error, TOLD_TO_ALL) else None
        words = f"the connection broke: {words_of(error)}"
        for recipient, _ in self._waiting:
            if not recipient.done():
                broken = fresh(told) if told else ConnectionError(words)
                recipient.set_exception(broken)
                if isinstance(recipient, asyncio.Future):
                    recipient.exception()  # a caller that is gone must not make the loop complain
        self._waiting.clear()
        for deferred in self._deferred:
            deferred.set_exception(ConnectionError(words))
        self._deferred.clear()
        for task in self._tasks:
            task.cancel()

    def _reset_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def aclose(self) -> None:
        self.fail(ConnectionClosed("closed"))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.disconnect(nowait=True)


class CommandConnection:
    """One pipelined connection for commands; made, and made again, on demand."""

    def __init__(
        self,
        connect: Connect,
        *,
        alias: str,
        timeout: float,
        connect_timeout: float = 10,
        refuses_replica: bool = False,
    ):
        self._connect = connect
        self._refuses_replica = refuses_replica
        self._connect_timeout = connect_timeout
        self._alias = alias
        self._timeout = timeout
        self._session: _Session | None = None
        self._connecting: asyncio.Task[_Session] | None = None
        self._failures = 0  # to connect, since it last worked
        self._not_before = 0.0

    def execute(
        self, *arguments: Argument, then: Command | None = None, may_wait: bool = False
    ) -> Coroutine[Any, Any, Any]:
        """Carry out one command; raise StoreUnavailable, or what the caller can act on itself.

        That is NoScriptError for EVALSHA, Unreadable, and in a cluster its redirections. With
        `then`, a second one follows on the same connection, and the answer is a pair.

        Commands that are sent in one loop turn leave in one write and reach the server in order.
        One that `may_wait` leaves a few milliseconds later while the loop is busy, with others.
        """
        return self._carry_out(arguments, then=then, may_wait=may_wait)

    def defer(self, command: Deferred) -> bool:
        """Send a command that may wait, if there is a connection now; return whether there is.

        What it gets as an error may be any: nothing is diagnosed, or carried out once more.
        """
        session = self._session
        if session is None or session.broken is not None:
            return False
        session.defer(command)
        return True

    def execute_asking(
        self, *arguments: Argument, then: Command | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Carry out one command for a slot that is on its way here (an ASK redirection)."""
        return self._carry_out(arguments, first=("ASKING",), then=then)

    async def _carry_out(
        self,
        arguments: Command,
        *,
        first: Command | None = None,
        then: Command | None = None,
        may_wait: bool = False,
    ) -> Any:
        try:
            session = self._session
            if session is None or session.broken is not None:
                session = await self._connected()
            if first is not None:  # nothing gets between these: they are sent without an await
                session.send(first).add_done_callback(_observe)
            answer = session.send(arguments, may_wait=may_wait)
            if then is None:
                return await answer
            second = session.send(then, may_wait=may_wait)
            second.add_done_callback(_observe)
            return await answer, await second
        except NoScriptError:
            raise
        except AskError as error:  # a MovedError is one, too
            if not self._refuses_replica:
                raise
            raise self._diagnosed(error) from error  # nobody here follows it
        except _Forgotten:
            return await self._carry_out_anew(arguments, first=first, then=then)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._diagnosed(error) from error

    async def _carry_out_anew(
        self, arguments: Command, *, first: Command | None, then: Command | None
    ) -> Any:
        """Carry out once more what may have got lost, in what is left of its time.

        Every verb of a store may be repeated, and an order is handed out at least once anyhow.
        """
        try:
            async with asyncio.timeout(self._timeout - rested_timeout(self._timeout)):
                return await self._carry_out(arguments, first=first, then=then)
        except TimeoutError as error:
            raise self._diagnosed(error) from error

    @property
    def current(self) -> AbstractConnection:
        """The connection in use, or else one as it would be made, to read where it goes."""
        return self._connect() if self._session is None else self._session.connection

    def _diagnosed(self, error: Exception) -> StoreUnavailable:
        return diagnosed(self._alias, error, self.current)

    async def _connected(self) -> _Session:
        """Share one attempt to connect between all who need it now."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(
                self._reconnect(), name="resumable_streams.connection.connect", context=Context()
            )
            self._connecting.add_done_callback(_observe)
        connecting = self._connecting
        # The attempt goes on for the others when this caller is cancelled.
        await asyncio.wait([connecting])
        if connecting.cancelled():
            raise ConnectionClosed("closed")
        if isinstance(error := connecting.exception(), Exception):
            raise fresh(error)  # what is raised to many at once would hold what all of them hold
        return connecting.result()

    async def _reconnect(self) -> _Session:
        try:
            if self._session is not None:
                await self._session.aclose()
                self._session = None
            await self._pause()
            connection = await open_connection(
                self._connect,
                timeout=self._connect_timeout,
                refuses_replica=self._refuses_replica,
            )
            self._failures = 0
            self._session = _Session(connection, self._timeout)
            return self._session
        except Exception:
            self._failures += 1
            raise
        finally:
            self._connecting = None

    async def _pause(self) -> None:
        """Keep attempts apart, however many callers ask again and again; the first goes at once."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before - loop.time())
        pause = backoff_seconds(
            self._failures + 1, most=MAX_BACKOFF_SECONDS, first=FIRST_BACKOFF_SECONDS, jitter=1
        )
        self._not_before = loop.time() + pause

    async def aclose(self) -> None:
        """Close the connection; what is in flight fails with StoreUnavailable."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
            self._connecting = None
        if self._session is not None:
            await self._session.aclose()
            self._session = None
