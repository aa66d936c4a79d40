"""The pushed news of Redis: one subscriber connection a process, for any number of streams.

A message carries the epoch, the offset and the bytes of one append, so most readers never ask the
server for anything. A message may be lost (a broken connection, an output buffer that was cut),
so every confirmed subscription says `disturbed`: after it nothing is missed, before it something
may have been, and the listener looks once. While the connection cannot be made again, it is told to
look after each attempt: late news, in batches, instead of none. The channel of the whole prefix
carries the hints of operators and of other processes.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from ...types import StreamKey
from ..base import Feed, Listener
from ..patience import backoff_seconds
from .connect import Connect, open_connection
from .diagnosis import address_of, diagnosed, words_of
from .keys import KeySpace

__all__ = ["RedisFeed"]

logger = logging.getLogger("resumable_streams.redis")

PING_SECONDS = 2.0
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 2.0
MISSED_SECONDS = 5.0
EPOCH_CHARS = 8


class RedisFeed(Feed):
    """The wanted subscriptions, on one connection that is made anew as needed."""

    def __init__(
        self,
        connect: Connect,
        keys: KeySpace,
        listener: Listener,
        *,
        alias: str,
        connect_timeout: float,
        is_sharded: bool = False,
        on_trouble: Callable[[], None] = lambda: None,
    ):
        self._alias = alias
        self._connect = connect
        self._connect_timeout = connect_timeout
        self._keys = keys
        self._listener = listener
        self._events = keys.events.encode()
        self._wanted: dict[bytes, StreamKey] = {}
        self._asked: set[bytes] = set()
        self._changed: set[bytes] = set()  # channels whose wanted and asked may differ
        self._wake = asyncio.Event()
        self._heard = True
        self._shard = "S" if is_sharded else ""  # SSUBSCRIBE, …: pushes that stay in the shard
        self._on_trouble = on_trouble
        self._failures = 0  # since a subscription was confirmed
        self._is_up = False  # our subscription was confirmed on this connection
        self._lost_at: float | None = None  # when the first of these was
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="resumable_streams.redis.feed")

    def watch(self, key: StreamKey) -> None:
        channel = self._keys.log(key).encode()
        self._wanted[channel] = key
        if channel in self._asked:  # unwatched a moment ago, and not yet unsubscribed
            asyncio.get_running_loop().call_soon(self._listener.disturbed, key)
        self._change(channel)

    def unwatch(self, key: StreamKey) -> None:
        channel = self._keys.log(key).encode()
        if self._wanted.pop(channel, None) is not None:
            self._change(channel)

    def _change(self, channel: bytes) -> None:
        self._changed.add(channel)
        self._wake.set()

    async def aclose(self) -> None:
        self._closed = True
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                connection = await open_connection(self._connect, timeout=self._connect_timeout)
                try:
                    await self._serve(connection)
                finally:
                    await connection.disconnect(nowait=True)
            except* (RedisError, OSError, AttributeError) as group:
                self._failures += 1
                self._log_trouble(group.exceptions[0])
            except* Exception:  # whatever it is, a process that hears nothing more would be worse
                self._failures += 1
                logger.exception("The push connection failed; reconnecting.")
            # A group of tasks that fails as it is cancelled tells the failure only.
            if self._closed:
                return
            self._on_trouble()
            self._tell_loss()
            pause = backoff_seconds(
                self._failures, most=MAX_BACKOFF_SECONDS, first=FIRST_BACKOFF_SECONDS, jitter=1
            )
            await asyncio.sleep(pause)

    def _log_trouble(self, error: Exception) -> None:
        """Log that the connection was lost, or else why it cannot be made."""
        connection, was_up, self._is_up = self._connect(), self._is_up, False
        if not was_up:
            diagnosed(self._alias, error, connection)
            return
        logger.warning(
            "The push connection of the stream store %r at %s was lost (%s); it is made again. "
            "Readers of other processes get their news late until then.",
            self._alias,
            address_of(connection),
            words_of(error),
        )

    def _tell_loss(self) -> None:
        """Have everything that is watched looked at if we have heard nothing for too long."""
        now = asyncio.get_running_loop().time()
        self._lost_at = self._lost_at or now
        if now - self._lost_at >= MISSED_SECONDS:
            for key in list(self._wanted.values()):
                self._listener.disturbed(key)

    async def _serve(self, connection: AbstractConnection) -> None:
        """Subscribe to all that is wanted and serve until the connection breaks."""
        self._asked = set()
        self._changed = set(self._wanted)
        self._wake.set()
        await connection.send_command("SUBSCRIBE", self._events)
        async with asyncio.TaskGroup() as group:
            for part in (self._write, self._read, self._ping):
                name = f"resumable_streams.redis.feed{part.__name__}"
                group.create_task(part(connection), name=name)

    async def _write(self, connection: AbstractConnection) -> None:
        """Make `asked` follow `wanted`, many channels a command.

        Cancellation here doesn't matter: both sets are built anew on the next connection.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            leave = [c for c in changed if c in self._asked and c not in self._wanted]
            join = [c for c in changed if c in self._wanted and c not in self._asked]
            self._asked.difference_update(leave)
            self._asked.update(join)
            if leave:
                await self._send(connection, "UNSUBSCRIBE", leave)
            if join:
                await self._send(connection, "SUBSCRIBE", join)

    async def _send(self, connection: AbstractConnection, verb: str, channels: list[bytes]) -> None:
        if not self._shard:
            await connection.send_command(verb, *channels)
            return
        for channel in channels:  # a command for each: channels of several slots do not mix
            await connection.send_command(self._shard + verb, channel)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            answer = await connection.read_response(disable_decoding=True, timeout=math.inf)
            self._heard = True
            match answer:
                case [b"message" | b"smessage", channel, payload]:
                    self._message(channel, payload)
                case [b"subscribe" | b"ssubscribe", channel, _]:
                    self._confirmed(channel)
                case [b"sunsubscribe", channel, _] if channel in self._asked:
                    # Not ours: the slot went to another node.
                    self._asked.discard(channel)
                    self._change(channel)
                    self._on_trouble()

    def _confirmed(self, channel: bytes) -> None:
        if channel == self._events:
            self._failures = 0
            self._is_up = True
            self._lost_at = None
            self._listener.control_changed(None)
            return
        key = self._wanted.get(channel)
        if key is not None:
            self._listener.disturbed(key)

    def _message(self, channel: bytes, payload: bytes) -> None:
        if channel == self._events:
            self._hint(payload)
            return
        key = self._wanted.get(channel)
        if key is None:
            return
        end = payload.find(b":", EPOCH_CHARS)
        epoch, start = payload[:EPOCH_CHARS], payload[EPOCH_CHARS:end]
        if end > 0 and start.isdigit() and epoch.isalnum():
            self._listener.appended(key, epoch.decode(), int(start), payload[end + 1 :])
        else:  # "!", or nothing that we would publish: look
            self._listener.disturbed(key)

    def _hint(self, payload: bytes) -> None:
        """Take a hint of the whole prefix: "@tenant", or the log of one stream."""
        about = self._keys.parse_hint(payload.decode(errors="replace"))
        if isinstance(about, str):
            self._listener.control_changed(about)
        elif about is not None:
            self._listener.disturbed(about)

    async def _ping(self, connection: AbstractConnection) -> None:
        """Find a connection that is half open: two quiet intervals after a PING break it."""
        silent = 0
        while True:
            self._heard = False
            await connection.send_command("PING")
            await asyncio.sleep(PING_SECONDS)
            silent = 0 if self._heard else silent + 1
            if silent == 2:
                raise ConnectionError("the push connection went silent")
