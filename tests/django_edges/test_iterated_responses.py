"""Responses that somebody else iterates: a middleware that looks, and goes on."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from django.test import AsyncRequestFactory

from resumable_streams import StreamManager
from resumable_streams.http.response import ResumableStreamResponse
from tests.tools.sources import finished


@pytest.fixture
async def response(manager: StreamManager) -> AsyncIterator[ResumableStreamResponse]:
    reader = await manager.arun("s", finished([b"a", b"b", b"c"]), owner="a")
    opened = ResumableStreamResponse(reader, AsyncRequestFactory().get("/"))
    yield opened
    opened.close()


async def rest(parts: Any) -> bytes:
    return b"".join([part async for part in parts])


async def test_the_rest_is_there_after_a_look_at_the_first_bytes(
    response: ResumableStreamResponse,
) -> None:
    async with aclosing(aiter(response)) as parts:  # type: ignore[type-var]
        first = b""
        while not first:
            first = await anext(parts)
    assert first + await rest(response.streaming_content) == b"abc"


async def test_the_rest_is_there_after_a_break(response: ResumableStreamResponse) -> None:
    first = b""
    async for part in response:
        first += part
        if first:
            break
    assert first + await rest(response) == b"abc"


async def test_what_a_middleware_puts_around_the_body_is_sent(
    response: ResumableStreamResponse,
) -> None:
    async def shout(parts: Any) -> AsyncIterator[bytes]:
        async for part in parts:
            yield part.upper()

    response.streaming_content = shout(response.streaming_content)
    assert await rest(response) == b"ABC"
