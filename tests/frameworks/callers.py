"""Clients of the site: what they ask is the same, over HTTP and over a WebSocket."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.channels.clients import RealSocket
from tests.tools.serving import PLAIN

__all__ = ["Caller", "HttpCaller", "Refused", "SocketCaller", "Way"]

ID = "X-Resumable-Stream-Id"
QUOTA, MISSING = "too_many_streams", "stream_not_found"


class Refused(Exception):
    """The word of a refusal, and all that its client sees of it."""

    def __init__(self, word: str, seen: object = None) -> None:
        super().__init__(word)
        self.word, self.seen = word, seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a client shows who it is: by the session, or by a token of a scheme."""

    at: str
    scheme: str | None = None
    is_socket: bool = False

    def __str__(self) -> str:
        return f"{self.at} {self.scheme or 'session'}"


@dataclass(kw_only=True)
class Caller(ABC):
    """One client, which shows who it is."""

    way: Way
    url: str
    headers: dict[str, str]

    @abstractmethod
    async def start(self, turn: str, *, key: str = "", size: int) -> tuple[str, bytes]:
        """Start a stream and read so many bytes, then cut; return its id, and the bytes."""

    @abstractmethod
    async def resume(self, stream_id: str, *, offset: int = 0) -> bytes:
        """Return what follows the offset, to the end."""

    @abstractmethod
    async def status(self, stream_id: str) -> str: ...

    @abstractmethod
    async def cancel(self, stream_id: str) -> str: ...


@dataclass(kw_only=True)
class HttpCaller(Caller):
    client: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        base = f"{self.url}/{self.way.at}/"
        self.client = httpx.AsyncClient(
            base_url=base, headers=self.headers, verify=PLAIN, timeout=30
        )

    async def start(self, turn: str, *, key: str = "", size: int) -> tuple[str, bytes]:
        headers = {"Idempotency-Key": key} if key else {}
        starting = self.client.stream("POST", "answer/", params={"turn": turn}, headers=headers)
        async with starting as response:
            if response.status_code != 200:
                raise refusal_of(await _whole(response))
            return response.headers[ID], await _read(response.aiter_bytes(), size)

    async def resume(self, stream_id: str, *, offset: int = 0) -> bytes:
        response = await self.ask("GET", stream_id, params={"offset": offset})
        return response.content

    async def status(self, stream_id: str) -> str:
        return str((await self.ask("GET", stream_id, "status/")).json()["status"])

    async def cancel(self, stream_id: str) -> str:
        return str((await self.ask("POST", stream_id, "cancel/")).json()["status"])

    async def delete(self, stream_id: str) -> None:
        await self.ask("DELETE", stream_id)

    async def running(self) -> list[str]:
        response = await self.client.get("streams/", params={"status": "streaming"})
        if response.status_code >= 400:
            raise refusal_of(response)
        return [one["id"] for one in response.json()["streams"]]

    async def ask(
        self, method: str, stream_id: str, verb: str = "", **named: Any
    ) -> httpx.Response:
        response = await self.client.request(method, f"streams/{stream_id}/{verb}", **named)
        if response.status_code >= 400:
            raise refusal_of(response)
        return response


async def _whole(response: httpx.Response) -> httpx.Response:
    await response.aread()
    return response


async def _read(parts: AsyncIterator[bytes], size: int) -> bytes:
    data = b""
    async for part in parts:
        data += part
        if len(data) >= size:
            break
    return data


def refusal_of(response: httpx.Response) -> Refused:
    headers = {name: text for name, text in response.headers.items() if name != "date"}
    is_json = headers.get("content-type", "") == "application/json"
    word = response.json().get("error", "") if is_json else ""
    return Refused(
        word or str(response.status_code), (response.status_code, headers, response.content)
    )


@dataclass(kw_only=True)
class SocketCaller(Caller):
    @asynccontextmanager
    async def socket(self) -> AsyncIterator[RealSocket]:
        address = f"{self.url.replace('http:', 'ws:')}/ws/{self.way.at}/"
        async with connect(address, additional_headers=self.headers) as connection:
            yield RealSocket(connection)

    async def start(self, turn: str, *, key: str = "", size: int) -> tuple[str, bytes]:
        named: dict[str, Any] = {"key": key} if key else {}
        async with self.socket() as socket:
            opened = _granted(await socket.ask("acquire", data={"turn": turn}, **named))
            data = await socket.take(opened)
            while len(data) < size:
                data += await socket.take(await socket.hear())
            socket.cut()
            return opened["id"], data

    async def resume(self, stream_id: str, *, offset: int = 0) -> bytes:
        async with self.socket() as socket:
            await socket.take(_granted(await socket.ask("resume", id=stream_id, offset=offset)))
            data, _ = await socket.read()
            return data

    async def status(self, stream_id: str) -> str:
        return await self._state("status", stream_id)

    async def cancel(self, stream_id: str) -> str:
        return await self._state("cancel", stream_id)

    async def _state(self, verb: str, stream_id: str) -> str:
        async with self.socket() as socket:
            return str(_granted(await socket.ask(verb, id=stream_id))["status"])


def _granted(heard: dict[str, Any]) -> dict[str, Any]:
    if heard["type"] == "error":
        seen = {name: value for name, value in heard.items() if name != "id"}
        raise Refused(heard["error"], seen)
    return heard
