"""Streams over a WebSocket, with Django Channels. Needs the extra `channels`.

    # asgi.py
    routes = [path("ws/streams/", StreamConsumer.as_asgi())]
    application = with_websockets(get_asgi_application(), routes)

A client follows many streams on one socket, each under a channel number of its own. It gets the
bytes of the log, in binary frames or as text, from any offset. `docs/websocket.md` has a table of
the messages. No channel layer is needed, and none is used unless a subclass names one.

Receiving never waits: what a message asks for is done by a task of its own. So a consumer that is
busy sending learns at once that its client has left.
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from enum import IntEnum
from functools import partial
from inspect import isawaitable
from typing import Any, ClassVar, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from channels.auth import AuthMiddlewareStack, UserLazyObject, get_user
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from django.core.exceptions import ImproperlyConfigured, SuspiciousOperation
from django.http import HttpRequest, HttpResponse

from .compat import sync_code_in
from .conf import get_settings
from .engine.reader import StreamReader
from .exceptions import (
    InvalidOffset,
    InvalidOwner,
    ShuttingDown,
    StoreUnavailable,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamReplaced,
)
from .formats import get_format
from .http.opening import Opening
from .http.refusals import tell_refused
from .http.response import error_response, state_of
from .identifiers import DEFAULT_TENANT, idempotent_stream_id
from .links import SignedLink
from .positions import Peek, Position, Start, parse_position, resolve
from .process.databases import close_idle
from .process.holdings import TransientThread
from .process.runtime import runtime
from .process.shutdown import serve
from .streams import Asker, StreamManager
from .types import OnBusy, StreamInfo, StreamStatus
from .websocket.channel import Channel
from .websocket.handshake import Handshake
from .websocket.messages import BadMessage, ClientMessage, MessageType, dump, parse_message
from .websocket.origins import origins_of_site

__all__ = ["CloseCode", "StreamConsumer", "with_websockets"]

logger = logging.getLogger("resumable_streams.websocket")

ADDRESS_CHANNEL = 0  # of the stream that the address of a socket names
MAX_PENDING = 1_000  # messages of one socket that are being answered
CLOSING_SECONDS = 1.0  # for which a server that ends us waits for the last frame


def with_websockets(application: Any, routes: Sequence[Any]) -> Any:
    """Return an ASGI application that has WebSockets, too, at these routes.

    They are behind Channels' check of the origin, for origins of this site, and its middleware for
    session and user. For anything else build the application of Channels' own parts.
    """
    websocket = _for_this_site(AuthMiddlewareStack(URLRouter(list(routes))))
    return ProtocolTypeRouter(
        {"http": application, "lifespan": application, "websocket": websocket}
    )


def _for_this_site(application: Any) -> Any:
    async def checked(scope: Any, receive: Any, send: Any) -> None:
        await OriginValidator(application, origins_of_site(scope))(scope, receive, send)

    return checked


class CloseCode(IntEnum):
    """The codes with which a socket is closed."""

    NORMAL = 1000  # the one stream that the address names has ended
    POLICY = 1008  # a message without a channel, too many at once, or a position that is none
    FAULT = 1011  # a fault of the server
    NO_OWNER = 4401  # nobody asks, or somebody else than before
    NOT_FOUND = 4404  # the one stream that the address names is not there
    COME_BACK = 4503  # this process drains, the store is away, or the socket has lived long enough


class StreamConsumer(AsyncWebsocketConsumer):
    """The streams of one WebSocket. Subclass it and write `produce` to let clients start some.

    A route with `<str:stream_id>` names the one stream of its sockets: it is followed at once, on
    channel 0, from `?offset=` of `?epoch=`, and the socket closes with it.
    """

    using: ClassVar[str] = "default"
    format: ClassVar[str] = "raw"
    ttl: ClassVar[float | None] = None
    on_busy: ClassVar[OnBusy | str] = OnBusy.JOIN
    window: ClassVar[int] = 131_072
    """How many bytes of a stream may be on their way: sent, and not acknowledged."""
    max_streams: ClassVar[int] = 32
    """How many streams a socket follows at once."""
    channel_layer_alias: str | None = None  # type: ignore[assignment]

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """Return the ASGI application. What is named here replaces attributes of the class.

        `produce`, too: a function that gets the data alone. Raises ImproperlyConfigured for a
        consumer that cannot answer, and TypeError for a name that is no attribute.
        """
        if unknown := [name for name in initkwargs if not hasattr(cls, name)]:
            raise TypeError(f"{cls.__qualname__}.as_asgi() takes no {', '.join(unknown)}.")
        try:
            get_format(initkwargs.get("format", cls.format))
        except LookupError as error:
            raise ImproperlyConfigured(f"{cls.__qualname__}: {error}") from None
        return super().as_asgi(**initkwargs)

    def __init__(self, **initkwargs: Any) -> None:
        super().__init__()
        for name, value in initkwargs.items():
            setattr(self, name, value)

    # To override.

    def produce(self, data: Any) -> Any:
        """Yield items, as an async generator; or, as a coroutine, return an iterable of them.

        An item is bytes, text, or a mapping that the `format` can write as one part or event.
        `data` is what the client sent with `acquire`. Runs for the elected producer only, apart
        from the socket: a disconnect does not end it. `self.scope` has the user.
        """
        raise NotImplementedError("Write `async def produce(self, data)`.")

    def get_stream_id(self, data: Any) -> Any:
        """Return the id to acquire; None: what the `key` of the message stands for, or a new one.

        May be async. A StreamError refuses the message.
        """
        return None

    def get_slot(self, data: Any) -> Any:
        """Return the slot of a new stream, such as "chat:42"; None for none. May be async.

        `on_busy` says what comes of the message while another stream of the slot runs.
        """
        return None

    def get_attrs(self, data: Any) -> Any:
        """Return what to store with the stream, a dict of strings; may be async."""
        return {}

    # The life of a socket.

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        serve()
        await sync_to_async(close_idle)()  # what the middleware has opened, in a shared thread
        async with sync_code_in(TransientThread()):
            self._channels: dict[int, Channel] = {}
            self._tasks: set[asyncio.Task[None]] = set()
            self._sending = asyncio.Lock()
            self._is_closing = False
            self._closing: asyncio.Task[None] | None = None
            self._sent_at = _now()
            self._handshake = Handshake(scope, using=self.using, load_user=_load_user)
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._end()

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Pass on a message.

        Channels looks for old database connections with each, in a thread. Ours are let go of by
        the thread that used them.
        """
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        await self.accept()  # a refusal before would be a 403, of which browsers tell nothing
        self._do(self._watch)
        self._do(self._begin)

    async def disconnect(self, code: int) -> None:
        await self._end()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._is_closing:
            return
        if len(self._tasks) > MAX_PENDING:  # refusals wait, too, for a client that reads none
            self._shut(CloseCode.POLICY)
            return
        try:
            message = parse_message(text_data or "")
        except BadMessage as error:
            self._refuse_message(error)
            return
        if message.type is MessageType.ACK:
            self._acknowledge(message)
        else:
            self._do(partial(self._answer, message))

    def _do(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have work done apart from the receiving of messages, until the socket ends."""
        task = asyncio.create_task(self._guard(work), name="resumable_streams.websocket")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except _ClientLeft:
            pass  # we are about to be told
        except Exception:
            logger.exception("A WebSocket is closed, as its consumer failed.")
            self._shut(CloseCode.FAULT)

    async def _begin(self) -> None:
        """Close the socket of nobody; follow the stream that its address names."""
        try:
            await self._handshake.asker()
        except InvalidOwner:
            self._shut(CloseCode.NO_OWNER)
        except StreamDoesNotExist:
            self._shut(CloseCode.NOT_FOUND)
        except SuspiciousOperation:  # too many fields; over HTTP it is a 400
            self._shut(CloseCode.POLICY)
        if self._is_closing:
            return
        if self._stream_id is not None:
            await self._follow_address(self._stream_id)

    @property
    def _stream_id(self) -> str | None:
        """The one stream that the address of the socket names."""
        named: dict[str, str] = self.scope.get("url_route", {}).get("kwargs", {})
        return named.get("stream_id")

    async def _follow_address(self, stream_id: str) -> None:
        message = ClientMessage(type=MessageType.RESUME, channel=ADDRESS_CHANNEL, id=stream_id)
        request = self._handshake.make_request()
        try:
            place = parse_position(request.GET, {})
        except InvalidOffset as error:
            await self._refuse_with(message, error, request)
        else:
            offset, live, epoch = place.offset or 0, place.live, place.epoch
            has_ended = await self._answer(replace(message, offset=offset, live=live, epoch=epoch))
            self._shut(CloseCode.NORMAL if has_ended else CloseCode.FAULT)

    async def _watch(self) -> None:
        """In silence say that the connection is alive; close it when this process drains."""
        settings = get_settings(self.using)
        silence = settings.keep_alive or math.inf
        deadline = _now() + (settings.max_response_seconds or math.inf)
        while not runtime.is_draining and _now() < deadline:
            until = min(self._sent_at + silence, deadline)
            try:
                async with asyncio.timeout_at(None if until == math.inf else until):
                    await runtime.call(_drained)
            except TimeoutError:
                if _now() >= self._sent_at + silence:
                    self._say_alive()
        self._shut(CloseCode.COME_BACK)

    def _say_alive(self) -> None:
        """Break the silence; nobody waits for a client that takes no frame."""
        self._sent_at = _now()
        if not self._sending.locked():
            self._do(partial(self._say, type="keep-alive"))

    def _shut(self, code: CloseCode) -> None:
        """Close the socket, and end what is done for it."""
        if self._is_closing:
            return
        self._is_closing = True
        self._cancel_tasks()
        self._closing = asyncio.create_task(
            self._close(code), name="resumable_streams.websocket.close"
        )

    async def _close(self, code: CloseCode) -> None:
        with suppress(OSError):  # the client was faster
            await self.close(code=int(code))

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _end(self) -> None:
        """End what is left, once the client has left or the server ends us."""
        if runtime.is_draining:  # daphne ends applications first
            self._shut(CloseCode.COME_BACK)
        self._is_closing = True
        self._cancel_tasks()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._closing is not None:
            await asyncio.wait([self._closing], timeout=CLOSING_SECONDS)
            self._closing.cancel()
        for channel in self._channels.values():
            channel.close()

    # What clients ask for.

    async def _answer(self, message: ClientMessage) -> bool:
        """Do what a message asks for, or say why not; return whether it was done."""
        work = {
            MessageType.ACQUIRE: self._follow,
            MessageType.RESUME: self._follow,
            MessageType.CANCEL: self._cancel,
            MessageType.STATUS: self._status,
            MessageType.CLOSE: self._leave,
        }[message.type]
        request = self._handshake.make_request()
        try:
            await work(message, request)
            return True
        except _Refused as refused:
            await self._refuse(message, error=refused.word)
        except StreamError as error:
            await self._refuse_with(message, error, request)
        except _ClientLeft:
            raise
        except Exception:
            logger.exception("A message of a WebSocket (%s) failed.", message.type)
            await self._refuse(message, error="server_error")
        return False

    async def _follow(self, message: ClientMessage, request: HttpRequest) -> None:
        """Start or resume a stream, and send it to its end."""
        channel = self._take_channel(message)
        find = self._acquire if message.type is MessageType.ACQUIRE else self._resume
        try:
            channel.open(await find(message, request))
            await self._say(**_opened(channel))
            await self._send_stream(channel)
        finally:
            channel.close()
            del self._channels[channel.number]

    def _take_channel(self, message: ClientMessage) -> Channel:
        if message.channel in self._channels:
            raise _Refused("channel_in_use")
        if len(self._channels) >= self.max_streams:
            raise _Refused("busy")
        channel = Channel(message.channel, kind=message.frames, window=self.window)
        self._channels[message.channel] = channel
        return channel

    async def _resume(self, message: ClientMessage, request: HttpRequest) -> StreamReader:
        position = Position(offset=message.offset, epoch=message.epoch, live=message.live)

        async def locate(info: StreamInfo, peek: Peek) -> Start:
            return resolve(position, info, is_log=True, can_reset=False)

        asker = await self._asker(message)
        return _found(
            await StreamManager(self.using).aresume(
                message.id or "", owner=asker, locate=locate, request=request
            )
        )

    async def _acquire(self, message: ClientMessage, request: HttpRequest) -> StreamReader:
        if self._is_ours("produce"):
            raise _Refused("acquire_not_offered")
        identity = await self._handshake.identify_acquiring()
        stream_id = await self._ask("get_stream_id", message.data)
        if stream_id is None and message.key is not None:
            stream_id = idempotent_stream_id(
                message.key,
                owner=identity.owners[0],
                tenant=identity.tenant,
                using=self.using,
                scope=self.scope["path"],
            )
        attrs = {**await self._ask("get_attrs", message.data), "format": self.format}
        opening = Opening(partial(self.produce, message.data))
        reader = await StreamManager(self.using).arun(
            stream_id,
            opening,
            owner=identity,
            ttl=self.ttl,
            attrs=attrs,
            slot=await self._ask("get_slot", message.data),
            on_busy=self.on_busy,
            request=request,
        )
        return await opening.seen(reader)

    def _is_ours(self, name: str) -> bool:
        """Return whether nobody has overridden a method."""
        method = getattr(self, name)
        return getattr(method, "__func__", None) is getattr(StreamConsumer, name)

    async def _ask(self, name: str, data: Any) -> Any:
        hook = getattr(self, name)
        in_thread = not self._is_ours(name) and not iscoroutinefunction(hook)
        answer = await sync_to_async(hook)(data) if in_thread else hook(data)
        return await answer if isawaitable(answer) else answer

    async def _send_stream(self, channel: Channel) -> None:
        """Send the bytes of a stream, as the client takes them, and then its end."""
        failure = None
        try:
            async with aclosing(channel.frames()) as frames:
                async for frame in frames:
                    await self._send(text_data=frame.text, bytes_data=frame.data)
        except StreamFailed as error:
            failure = error
        except UnicodeDecodeError:
            raise _Refused("not_text") from None
        await self._say(**_ended(channel, failure))

    async def _cancel(self, message: ClientMessage, request: HttpRequest) -> None:
        stream_id, identity = await self._id_of(message), await self._handshake.identify()
        info = await StreamManager(self.using).acancel(
            stream_id, owner=identity, epoch=message.epoch, request=request
        )
        await self._say_state(message, _found(info))

    async def _status(self, message: ClientMessage, request: HttpRequest) -> None:
        position = Position(epoch=message.epoch)

        async def locate(info: StreamInfo, peek: Peek) -> Start:
            return resolve(position, info, is_log=True, can_reset=False)

        stream_id, asker = await self._id_of(message), await self._asker(message)
        info = await StreamManager(self.using).astatus(
            stream_id, owner=asker, locate=locate, request=request
        )
        await self._say_state(message, _found(info))

    async def _leave(self, message: ClientMessage, request: HttpRequest) -> None:
        """Stop following a stream; it goes on without us."""
        channel = self._channels.get(message.channel)
        if channel is None or channel.task is None:
            raise _Refused("no_such_channel")
        channel.task.cancel()
        await asyncio.wait([channel.task])
        await self._say(type="closed", channel=message.channel)

    def _acknowledge(self, message: ClientMessage) -> None:
        channel = self._channels.get(message.channel)  # one that has ended owes us nothing
        if channel is not None and not channel.acknowledge(message.offset):
            detail = "'ack' names an offset beyond what was sent."
            self._refuse_message(BadMessage(detail, channel=message.channel, to=MessageType.ACK))

    async def _asker(self, message: ClientMessage) -> Asker:
        """Return in whose name a message reads: that of a signed link, if it brings one."""
        if message.token is not None:
            token = message.token if message.token.isascii() else ""
            return SignedLink.of(token, tenant=DEFAULT_TENANT)
        return await self._handshake.asker()

    async def _id_of(self, message: ClientMessage) -> str:
        """Return the id that a message names, or that of the stream on its channel."""
        if message.id is not None:
            return message.id
        channel = self._channels.get(message.channel)
        if channel is not None:
            await channel.opened.wait()
        if channel is None or channel.reader is None:
            raise _Refused("no_such_channel")
        return channel.reader.stream_id

    # What clients are told.

    def _refuse_message(self, error: BadMessage) -> None:
        if error.channel is None:  # nobody would know whom the answer is for
            self._shut(CloseCode.POLICY)
            return
        refusal = {"to": error.to or None, "error": "bad_message", "detail": error.detail}
        self._do(partial(self._say, type="error", channel=error.channel, **refusal))

    async def _refuse_with(
        self, message: ClientMessage, error: StreamError, request: HttpRequest
    ) -> None:
        """Answer with what an error means to a client; receivers are told."""
        is_acquiring = message.type is MessageType.ACQUIRE
        response = error_response(error, acquiring=is_acquiring)
        await tell_refused(
            request,
            error,
            response,
            operation="run" if is_acquiring else message.type,
            alias=self.using,
            stream_id=message.id,
        )
        if isinstance(error, InvalidOwner | ShuttingDown):
            is_nobody = isinstance(error, InvalidOwner)
            self._shut(CloseCode.NO_OWNER if is_nobody else CloseCode.COME_BACK)
            return
        await self._refuse(message, **_refusal(error, response))
        if self._stream_id is not None and message.channel == ADDRESS_CHANNEL:
            self._shut(_code_for(error))

    async def _refuse(self, message: ClientMessage, **refusal: object) -> None:
        await self._say(type="error", channel=message.channel, to=message.type, **refusal)

    async def _say_state(self, message: ClientMessage, info: StreamInfo) -> None:
        state = {**state_of(info), "epoch": info.epoch}
        await self._say(type="status", channel=message.channel, to=message.type, **state)

    async def _say(self, **message: object) -> None:
        await self._send(text_data=dump(message))

    async def _send(self, *, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send one frame; waits while the server has no room for it."""
        async with self._sending:
            if self._is_closing:
                raise _ClientLeft
            try:
                await self.send(text_data=text_data, bytes_data=bytes_data)
            except OSError:
                raise _ClientLeft from None
            self._sent_at = _now()


class _ClientLeft(Exception):
    """There is nobody to send to."""


class _Refused(Exception):
    """A refusal that is about this socket, and not about a stream; `word` names it."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


async def _load_user(scope: Mapping[str, Any], session: Any) -> Any:
    """Return the user of a session that was read again; one that others have set stays."""
    user = scope.get("user")
    return await get_user({"session": session}) if type(user) is UserLazyObject else user


async def _drained() -> None:
    await runtime.drain_started.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


T = TypeVar("T")


def _found(value: T | None) -> T:
    if value is None:
        raise StreamDoesNotExist
    return value


def _code_for(error: StreamError) -> CloseCode:
    """Return the code with which a socket closes that has nothing but one stream."""
    match error:
        case StreamDoesNotExist():
            return CloseCode.NOT_FOUND
        case StoreUnavailable():
            return CloseCode.COME_BACK
        case _:
            return CloseCode.POLICY


def _opened(channel: Channel) -> dict[str, object]:
    reader = _found(channel.reader)
    return {
        "type": "opened",
        "channel": channel.number,
        "id": reader.stream_id,
        "epoch": reader.info.epoch,
        "role": reader.role,
        "status": reader.info.status,
        "offset": reader.offset,
        "size": reader.info.size,
        "window": channel.window_size,
    }


def _ended(channel: Channel, failure: StreamFailed | None) -> dict[str, object]:
    reader = _found(channel.reader)
    status = reader.info.status if failure is None else StreamStatus.ERROR
    end = {
        "type": "end",
        "channel": channel.number,
        "status": status,
        "offset": reader.offset,
        "error": None if failure is None else failure.code,
    }
    return end if failure is None or not failure.detail else {**end, "detail": failure.detail}


def _refusal(error: StreamError, response: HttpResponse) -> dict[str, object]:
    """Return what the answer to a request says, as the fields of a message."""
    refusal: dict[str, object] = json.loads(response.content)
    if "Retry-After" in response:
        refusal["retry_after"] = int(response["Retry-After"])
    if isinstance(error, InvalidOffset) and error.size is not None:
        refusal["size"] = error.size
    if isinstance(error, StreamReplaced):
        refusal["epoch"] = error.epoch
    return refusal
