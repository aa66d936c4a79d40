"""The messages of a socket, on each store."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resumable_streams import StreamManager
from resumable_streams.consumers import StreamConsumer
from tests.tools.sources import finished, produced
from tests.tools.streams import Configure

from .clients import connected

OWNER = "tests.channels.clients.owner_of_scope"


@pytest.fixture
def manager(configure: Configure, closes_runtime: None) -> StreamManager:
    configure(OWNER=OWNER)
    return StreamManager()


class Answers(StreamConsumer):
    """A consumer that lets clients start streams."""

    async def produce(self, data: Any) -> AsyncIterator[str]:
        for word in data["words"]:
            yield word


async def test_a_stream_is_resumed_from_an_offset(manager: StreamManager):
    await manager.arun("s", finished([b"abc", b"def"]), owner="ada")
    await produced()
    async with connected(owner="ada") as socket:
        opened = await socket.ask("resume", id="s", offset=2)
        assert opened["type"] == "opened"
        assert (opened["id"], opened["offset"], opened["size"]) == ("s", 2, 6)
        assert await socket.hear() == {
            "type": "bytes", "channel": 1, "offset": 2, "data": b"cdef"
        }  # fmt: skip
        assert await socket.hear() == {
            "type": "end", "channel": 1, "status": "done", "offset": 6, "error": None
        }  # fmt: skip


async def test_a_client_starts_a_stream(manager: StreamManager):
    async with connected(Answers, owner="ada") as socket:
        opened = await socket.ask("acquire", data={"words": ["Hello ", "world"]})
        assert (opened["type"], opened["role"]) == ("opened", "producer")
        data, end = await socket.read()
        assert (data, end["status"]) == (b"Hello world", "done")
    async with connected(owner="ada") as socket:
        await socket.say("resume", id=opened["id"])
        assert (await socket.read())[0] == b"Hello world"
