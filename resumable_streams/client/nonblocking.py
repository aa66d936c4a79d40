"""The client for async code."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Self, TypeVar

import httpx

from .backoff import Backoff
from .decoding import AS_BYTES, AS_EVENTS, AS_PARTS, AS_TEXT, Decoders
from .following import StreamPlace
from .frames import ServerEvent
from .handles import StreamHandle, place_at
from .site import (
    CONNECT_SECONDS,
    MOST_OF_A_REFUSAL,
    UNLIMITED,
    AsyncSecret,
    Headers,
    Site,
    site_of,
)
from .steps import Ask, Conversation, Give, Read, Reply, Step, Talk, Wait
from .verbs import RemoteState, cancel, delete, look

__all__ = ["AsyncRemoteStream", "AsyncSiteClient"]

T = TypeVar("T")


class _AsyncLine:
    """The connection of one stream: it takes the steps of a conversation."""

    def __init__(
        self, http: httpx.AsyncClient, site: Site, token: AsyncSecret, csrf: AsyncSecret
    ) -> None:
        self._http, self._site, self._token, self._csrf = http, site, token, csrf
        self._response: httpx.Response | None = None
        self._chunks: AsyncGenerator[bytes, None] = _nothing()

    def again(self) -> "_AsyncLine":
        """Return another connection for the same stream."""
        return _AsyncLine(self._http, self._site, self._token, self._csrf)

    async def call(self, conversation: Conversation[T]) -> T:
        """Drive a conversation to its end; return its result."""
        talk = Talk(conversation)
        while (step := talk.next()) is not None:
            await self._take(step, talk)
        return talk.result

    async def items(self, conversation: Conversation[None]) -> AsyncGenerator[Any, None]:
        """Drive a conversation; yield the items that it gives."""
        talk = Talk(conversation)
        try:
            while (step := talk.next()) is not None:
                if isinstance(step, Give):
                    yield step.item
                else:
                    await self._take(step, talk)
        finally:
            await self.aclose()

    async def _take(self, step: Step, talk: Talk[Any]) -> None:
        try:
            talk.outcome = await self._perform(step)
        except httpx.TransportError as error:
            talk.error = error

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return await self._send(step)
        if isinstance(step, Read):
            return await anext(self._chunks, None)
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
        return None

    async def _send(self, ask: Ask) -> Reply:
        await self.aclose()
        token, csrf = await _told(self._token), await _told(self._csrf)
        response = await self._http.send(
            self._site.request(self._http, ask, token, csrf), stream=True
        )
        self._response, self._chunks = response, _chunks(response)
        is_open = ask.opens and response.is_success and response.status_code != 204
        content = b"" if is_open else await self._content()
        return Reply(
            status=response.status_code,
            headers=response.headers,
            url=response.url,
            sent=response.request.headers,
            content=content,
        )

    async def _content(self) -> bytes:
        content = b""
        async for data in self._chunks:
            content += data
            if len(content) > MOST_OF_A_REFUSAL:
                break
        await self.aclose()
        return content

    async def aclose(self) -> None:
        """Close the open body, if there is one."""
        response, chunks = self._response, self._chunks
        self._response, self._chunks = None, _nothing()
        await chunks.aclose()
        if response is not None:
            await response.aclose()


async def _told(secret: AsyncSecret) -> str | None:
    told = secret() if callable(secret) else secret
    return await told if inspect.isawaitable(told) else told


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    async for data in response.aiter_bytes():
        yield data


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield b""


class AsyncRemoteStream(StreamHandle):
    """One stream of a site, for async code, in one task at a time.

    The four ways to iterate resume by themselves, and end once the stream has; a stream that failed
    raises RemoteFailure after its last item. Leave a loop and iterate again: it goes on there.
    """

    def __init__(
        self, line: _AsyncLine, place: StreamPlace, backoff: Backoff, *, is_open: bool = False
    ) -> None:
        super().__init__(place, backoff, is_open=is_open)
        self._line = line

    def bytes(self) -> AsyncIterator[bytes]:
        """Iterate the bytes of the log; of an event stream, whole frames with their ids."""
        return self._iterate(AS_BYTES)

    def text(self) -> AsyncIterator[str]:
        """Iterate the text of a raw stream, in whole characters of UTF-8."""
        return self._iterate(AS_TEXT)

    def events(self) -> AsyncIterator[ServerEvent]:
        """Iterate the events of an event stream."""
        return self._iterate(AS_EVENTS)

    def parts(self) -> AsyncGenerator[Any, None]:
        """Iterate JSON values: the data of each event, or each line."""
        return self._iterate(AS_PARTS)

    async def _iterate(self, decoders: Decoders) -> AsyncGenerator[Any, None]:
        if not self._is_open:
            await self.aclose()
            self._line = self._line.again()  # an iteration that was left closes its own
        items = self._line.items(self._steps(decoders))
        async with aclosing(items):
            async for item in items:
                yield item

    async def status(self) -> RemoteState:
        """Return the state of the stream."""
        return await self._line.again().call(look(self._place, self._backoff))

    async def cancel(self) -> RemoteState:
        """Cancel the stream, however often; one that has ended stays as it ended."""
        return await self._line.again().call(cancel(self._place, self._backoff))

    async def delete(self) -> None:
        """Delete the stream."""
        await self._line.again().call(delete(self._place, self._backoff))

    async def aclose(self) -> None:
        """Close the connection. The stream goes on, and can be iterated again."""
        self._is_open = False
        await self._line.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()


class AsyncSiteClient:
    """A client for the streams of one site, for async code; tasks may share it.

    - `base_url`: the site. Credentials are sent to its origin only.
    - `token`: for `Authorization: Bearer`, or a whole value with its scheme, or a function that
      returns it, async or not, and is called for every request.
    - `csrf_token`: where the site has no CSRF cookie. By default that cookie is sent back.
    - `http`: your own client, with its session, proxies, certificates or transport. You close it.
    - `streams`: the address of `resumable_streams.urls`, for streams that are named by their id.
    - `silence`: the seconds without a byte after which a connection counts as dead, three
      keep-alives by default. None for a site without keep-alives.
    - `backoff`: how long to wait between tries, and how often to try.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        token: AsyncSecret = None,
        csrf_token: AsyncSecret = None,
        http: httpx.AsyncClient | None = None,
        streams: str = "/streams/",
        silence: float | None = 45.0,
        backoff: Backoff | None = None,
        csrf_cookie: str = "csrftoken",
        csrf_header: str = "X-CSRFToken",
    ) -> None:
        self._site = site_of(
            base_url,
            http,
            token,
            streams=streams,
            silence=silence,
            csrf_cookie=csrf_cookie,
            csrf_header=csrf_header,
        )
        self.http = http or httpx.AsyncClient(
            base_url=base_url, timeout=httpx.Timeout(CONNECT_SECONDS, pool=None), limits=UNLIMITED
        )
        """The HTTP client: for logging in, and for pages of the site."""
        self._owns_http = http is None
        self._backoff = backoff or Backoff()
        self._token, self._csrf = token, csrf_token

    def _line(self) -> _AsyncLine:
        return _AsyncLine(self.http, self._site, self._token, self._csrf)

    async def acquire(
        self,
        address: str,
        *,
        idempotency_key: str | None = None,
        headers: Headers = None,
        **body: Any,
    ) -> AsyncRemoteStream:
        """Post to a view that starts a stream; return the stream, open at its first byte.

        `body` takes the arguments of httpx: `json`, `data`, `files`, `content`, `params`. If the
        answer is lost, the body is sent again with the same `Idempotency-Key`, which is random
        unless you pass one. So a retry joins the stream of the first try, as long as the view keeps
        the key. Raises AnswerLost where a retry may start another stream.
        """
        request = self.http.build_request("POST", self._site.url(address), **body)
        await request.aread()
        starting = self._site.starting(request, self._backoff, idempotency_key, headers)
        line = self._line()
        return AsyncRemoteStream(
            line, await line.call(starting.steps()), self._backoff, is_open=True
        )

    def stream(
        self,
        address_or_id: str,
        *,
        after: str | None = None,
        epoch: str | None = None,
        link: str | None = None,
    ) -> AsyncRemoteStream:
        """Return a stream by its id or address; nothing is sent before it is iterated.

        `after` is an earlier `position`, or the id of an event. `epoch` refuses any other
        incarnation of the id (Replaced). `link` is the token of a signed link, for an id.
        """
        url = self._site.stream_url(address_or_id)
        place = place_at(url, link=link, after=after, epoch=epoch)
        return AsyncRemoteStream(self._line(), place, self._backoff)

    async def aclose(self) -> None:
        """Close the connections, unless the HTTP client is yours."""
        if self._owns_http:
            await self.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
