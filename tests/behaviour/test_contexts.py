"""What works for everybody keeps nothing of the request alive that happened to start it."""

import asyncio
import contextvars
import gc
import weakref

from resumable_streams import StreamManager
from tests.tools.readers import read_all
from tests.tools.sources import finished
from tests.tools.waiting import eventually

request: contextvars.ContextVar[object] = contextvars.ContextVar("request")


class Request:
    """What a middleware binds to the context of a request."""


async def test_the_first_request_is_not_kept_alive(manager: StreamManager) -> None:
    kept: list[weakref.ref[Request]] = []

    async def serve() -> None:
        bound = Request()
        kept.append(weakref.ref(bound))
        request.set(bound)
        reader = await manager.arun("s", finished([b"a", b"b"]), owner="a")
        assert await read_all(reader) == b"ab"
        again = await manager.using("elsewhere").arequire_resume("s", owner="a")
        assert await read_all(again) == b"ab"

    await asyncio.create_task(serve(), context=contextvars.Context())

    def is_gone() -> bool:
        gc.collect()
        return kept[0]() is None

    await eventually(is_gone)
