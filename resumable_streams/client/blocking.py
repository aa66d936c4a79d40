"""The client for sync code."""

import time
from collections.abc import Iterator
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
    Headers,
    Secret,
    Site,
    site_of,
)
from .steps import Ask, Conversation, Give, Read, Reply, Step, Talk, Wait
from .verbs import RemoteState, cancel, delete, look

__all__ = ["RemoteStream", "SiteClient"]

T = TypeVar("T")


class _Line:
    """The connection of one stream: it takes the steps of a conversation."""

    def __init__(self, http: httpx.Client, site: Site, token: Secret, csrf: Secret) -> None:
        self._http, self._site, self._token, self._csrf = http, site, token, csrf
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def again(self) -> "_Line":
        """Return another connection for the same stream."""
        return _Line(self._http, self._site, self._token, self._csrf)

    def call(self, conversation: Conversation[T]) -> T:
        """Drive a conversation to its end; return its result."""
        talk = Talk(conversation)
        while (step := talk.next()) is not None:
            self._take(step, talk)
        return talk.result

    def items(self, conversation: Conversation[None]) -> Iterator[Any]:
        """Drive a conversation; yield the items that it gives."""
        talk = Talk(conversation)
        try:
            while (step := talk.next()) is not None:
                if isinstance(step, Give):
                    yield step.item
                else:
                    self._take(step, talk)
        finally:
            self.close()

    def _take(self, step: Step, talk: Talk[Any]) -> None:
        try:
            talk.outcome = self._perform(step)
        except httpx.TransportError as error:
            talk.error = error

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Ask):
            return self._send(step)
        if isinstance(step, Read):
            return next(self._chunks, None)
        if isinstance(step, Wait):
            time.sleep(step.seconds)
        return None

    def _send(self, ask: Ask) -> Reply:
        self.close()
        token, csrf = _told(self._token), _told(self._csrf)
        response = self._http.send(self._site.request(self._http, ask, token, csrf), stream=True)
        self._response, self._chunks = response, response.iter_bytes()
        is_open = ask.opens and response.is_success and response.status_code != 204
        content = b"" if is_open else self._content()
        return Reply(
            status=response.status_code,
            headers=response.headers,
            url=response.url,
            sent=response.request.headers,
            content=content,
        )

    def _content(self) -> bytes:
        content = b""
        for data in self._chunks:
            content += data
            if len(content) > MOST_OF_A_REFUSAL:
                break
        self.close()
        return content

    def close(self) -> None:
        """Close the open body, if there is one."""
        response, self._response, self._chunks = self._response, None, iter(())
        if response is not None:
            response.close()


def _told(secret: Secret) -> str | None:
    return secret() if callable(secret) else secret


class RemoteStream(StreamHandle):
    """One stream of a site, for sync code, in one thread at a time.

    The four ways to iterate resume by themselves, and end once the stream has; a stream that failed
    raises RemoteFailure after its last item. Leave a loop and iterate again: it goes on there.
    """

    def __init__(
        self, line: _Line, place: StreamPlace, backoff: Backoff, *, is_open: bool = False
    ) -> None:
        super().__init__(place, backoff, is_open=is_open)
        self._line = line

    def bytes(self) -> Iterator[bytes]:
        """Iterate the bytes of the log; of an event stream, whole frames with their ids."""
        return self._iterate(AS_BYTES)

    def text(self) -> Iterator[str]:
        """Iterate the text of a raw stream, in whole characters of UTF-8."""
        return self._iterate(AS_TEXT)

    def events(self) -> Iterator[ServerEvent]:
        """Iterate the events of an event stream."""
        return self._iterate(AS_EVENTS)

    def parts(self) -> Iterator[Any]:
        """Iterate JSON values: the data of each event, or each line."""
        return self._iterate(AS_PARTS)

    def _iterate(self, decoders: Decoders) -> Iterator[Any]:
        if not self._is_open:
            self.close()
            self._line = self._line.again()  # an iteration that was left closes its own
        yield from self._line.items(self._steps(decoders))

    def status(self) -> RemoteState:
        """Return the state of the stream."""
        return self._line.again().call(look(self._place, self._backoff))

    def cancel(self) -> RemoteState:
        """Cancel the stream, however often; one that has ended stays as it ended."""
        return self._line.again().call(cancel(self._place, self._backoff))

    def delete(self) -> None:
        """Delete the stream."""
        self._line.again().call(delete(self._place, self._backoff))

    def close(self) -> None:
        """Close the connection. The stream goes on, and can be iterated again."""
        self._is_open = False
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class SiteClient:
    """A client for the streams of one site, for sync code; threads may share it.

    - `base_url`: the site. Credentials are sent to its origin only.
    - `token`: for `Authorization: Bearer`, or a whole value with its scheme, or a function that
      returns it and is called for every request.
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
        token: Secret = None,
        csrf_token: Secret = None,
        http: httpx.Client | None = None,
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
        self.http = http or httpx.Client(
            base_url=base_url, timeout=httpx.Timeout(CONNECT_SECONDS, pool=None), limits=UNLIMITED
        )
        """The HTTP client: for logging in, and for pages of the site."""
        self._owns_http = http is None
        self._backoff = backoff or Backoff()
        self._token, self._csrf = token, csrf_token

    def _line(self) -> _Line:
        return _Line(self.http, self._site, self._token, self._csrf)

    def acquire(
        self,
        address: str,
        *,
        idempotency_key: str | None = None,
        headers: Headers = None,
        **body: Any,
    ) -> RemoteStream:
        """Post to a view that starts a stream; return the stream, open at its first byte.

        `body` takes the arguments of httpx: `json`, `data`, `files`, `content`, `params`. If the
        answer is lost, the body is sent again with the same `Idempotency-Key`, which is random
        unless you pass one. So a retry joins the stream of the first try, as long as the view keeps
        the key. Raises AnswerLost where a retry may start another stream.
        """
        request = self.http.build_request("POST", self._site.url(address), **body)
        request.read()
        starting = self._site.starting(request, self._backoff, idempotency_key, headers)
        line = self._line()
        return RemoteStream(line, line.call(starting.steps()), self._backoff, is_open=True)

    def stream(
        self,
        address_or_id: str,
        *,
        after: str | None = None,
        epoch: str | None = None,
        link: str | None = None,
    ) -> RemoteStream:
        """Return a stream by its id or address; nothing is sent before it is iterated.

        `after` is an earlier `position`, or the id of an event. `epoch` refuses any other
        incarnation of the id (Replaced). `link` is the token of a signed link, for an id.
        """
        url = self._site.stream_url(address_or_id)
        place = place_at(url, link=link, after=after, epoch=epoch)
        return RemoteStream(self._line(), place, self._backoff)

    def close(self) -> None:
        """Close the connections, unless the HTTP client is yours."""
        if self._owns_http:
            self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
