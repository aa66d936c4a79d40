"""A bad line to a good server: each request meets the next fault, and then all goes well."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import httpx

from resumable_streams.http.response import BodyCut

__all__ = ["BadLine", "Fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The fate of one request, after `size` bytes of its body.

    - `unsent`: no connection.
    - `lost`: the request is carried out, and its answer is lost.
    - `refused`: a proxy answers 503 in its place.
    - `broken`: the connection breaks.
    - `ended`: the body ends well, as HTTP/1.0 has it.
    - `silent`: nothing comes any more.
    """

    kind: str
    size: int = 0


class BadLine(httpx.AsyncBaseTransport):
    """A transport with faults; `pieces` is the most bytes that come at once."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, faults: Iterable[Fault], *, pieces: int = 65_536
    ) -> None:
        self._transport = transport
        self._faults = list(faults)
        self._pieces = pieces
        self.asked: list[httpx.Request] = []
        self.answered: list[int] = []

    def next(self, *faults: Fault) -> None:
        """Have the next requests meet these faults."""
        self._faults += faults

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        fault = self._faults.pop(0) if self._faults else None
        if fault is not None and fault.kind == "unsent":
            raise httpx.ConnectError("no connection")
        if fault is not None and fault.kind == "refused":
            return httpx.Response(503, headers={"Retry-After": "0"})
        response = await self._transport.handle_async_request(request)
        self.answered.append(response.status_code)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        if fault is not None and fault.kind == "lost":
            await response.stream.aclose()
            raise httpx.ReadError("the answer was lost")
        if fault is not None and fault.kind == "ended" and "Content-Length" in response.headers:
            fault = Fault(kind="broken", size=fault.size)  # clients count
        response.stream = _Body(response.stream, fault, self._pieces)
        return response


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, fault: Fault | None, pieces: int) -> None:
        self._stream = stream
        self._fault = fault
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = None if self._fault is None else self._fault.size
        try:
            async for data in self._stream:
                for start in range(0, len(data), self._pieces):
                    piece = data[start : start + self._pieces][:left]
                    yield piece
                    if left is not None and (left := left - len(piece)) == 0:
                        self._fail()
                        return
        except (BodyCut, AssertionError) as error:  # the application ended inside its body
            raise httpx.RemoteProtocolError("broken by the server") from error
        if self._fault is not None:
            self._fail()

    def _fail(self) -> None:
        assert self._fault is not None
        if self._fault.kind == "broken":
            raise httpx.ReadError("the connection broke")
        if self._fault.kind == "silent":
            raise httpx.ReadTimeout("silence")

    async def aclose(self) -> None:
        await self._stream.aclose()
