"""A client that does not give up: it goes on at the byte where it was cut, wherever that works."""

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import httpx

__all__ = ["Answer", "Asker"]

PAUSE_SECONDS = 0.1
ME = {"X-User": "me"}


@dataclass
class Answer:
    """What a client has got of one stream, and how that ended."""

    stream_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    received: bytes = b""
    status: str = ""
    error: str | None = None
    tries: list[str] = field(default_factory=list)
    heard_at: float = field(default_factory=time.monotonic)
    silence: float = 0.0  # seconds between the last byte and a 404

    def hear(self, data: bytes) -> None:
        self.received += data
        self.heard_at = time.monotonic()

    @property
    def ended(self) -> bool:
        return self.status not in ("", "streaming")


class Asker:
    """Ask any of the servers, and come back until the stream has ended; where it failed, elsewhere.

    `addresses` may change meanwhile: servers come and go.
    """

    def __init__(self, client: httpx.AsyncClient, addresses: Sequence[str], start: int = 0):
        self._client = client
        self._addresses = addresses
        self._turn = start
        self._silent: set[str] = set()  # who said nothing is not asked again while others are there

    async def ask(self, path: str, answer: Answer | None = None) -> Answer:
        answer = answer or Answer()
        while not answer.ended:
            for step in (partial(self._read, path), self._look):
                where = self._where()
                try:
                    await step(where, answer)
                except (httpx.TransportError, httpx.HTTPStatusError) as error:
                    answer.tries.append(f"{where} {type(error).__name__}")
                    if isinstance(error, httpx.TimeoutException):
                        self._silent.add(where)
                    # By chance: a cut body may be the server's fault, or mean that all is said.
                    self._turn += random.randint(0, len(self._addresses) - 1)
                    await asyncio.sleep(PAUSE_SECONDS)
        return answer

    def _where(self) -> str:
        speaking = [one for one in self._addresses if one not in self._silent]
        addresses = speaking or self._addresses
        return addresses[self._turn % len(addresses)]

    async def _read(self, path: str, where: str, answer: Answer) -> None:
        """Start the stream, or join it: an id makes the same of both."""
        if answer.received:
            method = "GET"
            url = f"{where}/streams/{answer.stream_id}/?offset={len(answer.received)}"
        else:
            method, url = "POST", f"{where}{path}&id={answer.stream_id}"
        async with self._client.stream(method, url, headers=ME) as response:
            response.raise_for_status()
            async for data in response.aiter_raw():
                answer.hear(data)

    async def _look(self, where: str, answer: Answer) -> None:
        """Ask how the stream ended, if it did: a cut body may mean that, or a server that ends."""
        url = f"{where}/streams/{answer.stream_id}/status/"
        response = await self._client.get(url, headers=ME)
        if response.status_code == 404 and answer.received:
            answer.status, answer.silence = "missing", time.monotonic() - answer.heard_at
            return
        response.raise_for_status()
        state = response.json()
        if state["size"] == len(answer.received):  # not before every byte is here
            answer.status, answer.error = state["status"], state["error"]
