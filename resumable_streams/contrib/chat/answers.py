"""The source of a stream that is an answer: `answer`, with a frame around it, and drafted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from ...formats.items import as_mapping
from ...process.threads import run_sync
from ...producing.sources import Item, Source, open_source, reported_usage
from .building import MessageBuilder, chunks_in
from .drafts import drafts
from .former import is_awaited
from .saving import added, save_draft
from .turns import Turn

__all__ = ["written"]

logger = logging.getLogger("resumable_streams.chat")

Chunk = Mapping[str, Any]


async def written(turn: Turn, source: Source, *, interval: float | None) -> AsyncIterator[Item]:
    """Yield an answer in the items of a UI message stream, from its `start` to its `finish`.

    The id of the message is that of its row, whatever the source calls it. A draft of it is saved
    every `interval` seconds, if it has grown. The answer to a question that was deleted is empty.
    """
    if not await run_sync(partial(is_awaited, turn.conversation, turn.stream_id)):
        return
    frame = MessageFrame(turn.answer.key)
    async with _drafted(turn, interval) as draft, open_source(source) as items:
        yield _noted(draft, frame.start())
        async for item in items:
            for one in frame.around(item):
                yield _noted(draft, one)
        for one in frame.end():
            yield _noted(draft, one)


def _noted(draft: MessageBuilder, item: Item) -> Item:
    if isinstance(item, str):
        draft.text(item)
    elif isinstance(item, Mapping):
        draft.add(item)
    return item


class MessageFrame:
    """The chunks around what a source yields: the start, steps, and the finish of a message.

    A source that writes them itself is not doubled. Every answer has steps, without which a client
    takes the results of tools in an earlier part of a message for new ones, and asks again.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._has_step = False
        self._is_over = False

    def start(self) -> Chunk:
        return {"type": "start", "messageId": self._key}

    def around(self, item: Item) -> Iterator[Item]:
        """Yield an item of the source, after all that has to come before it."""
        if isinstance(item, bytes | bytearray | memoryview):
            for chunk in chunks_in(bytes(item)):
                yield from self._around(chunk)
        elif isinstance(item, str):
            yield from self._step()
            yield item
        elif (part := as_mapping(item)) is not None:
            yield from self._around(part)
        else:
            yield item  # which the format refuses, with its reason

    def _around(self, chunk: Chunk) -> Iterator[Chunk]:
        match chunk.get("type"):
            case "start":
                yield from self._metadata(chunk)
                return
            case "start-step":
                self._has_step = True
            case "finish-step":
                self._has_step = False
            case "finish":
                yield from self._end_step()
                self._is_over = True
            case "error" | "abort":
                self._is_over = True
            case "message-metadata":
                pass
            case _:
                yield from self._step()
        yield chunk

    def _metadata(self, chunk: Chunk) -> Iterator[Chunk]:
        if (found := chunk.get("messageMetadata")) is not None:
            yield {"type": "message-metadata", "messageMetadata": found}

    def _step(self) -> Iterator[Chunk]:
        if not self._has_step:
            self._has_step = True
            yield {"type": "start-step"}

    def _end_step(self) -> Iterator[Chunk]:
        if self._has_step:
            self._has_step = False
            yield {"type": "finish-step"}

    def end(self) -> Iterator[Chunk]:
        """Yield what a source has left out that has ended."""
        if not self._is_over:
            yield from self._end_step()
            yield {"type": "finish"}


@asynccontextmanager
async def _drafted(turn: Turn, interval: float | None) -> AsyncIterator[MessageBuilder]:
    draft = drafts.begin(turn.stream_id, turn.answer.parts[: turn.answer.base])
    try:
        async with _saved_at_intervals(turn, draft, interval):
            yield draft
    finally:
        drafts.end(turn.stream_id)


@asynccontextmanager
async def _saved_at_intervals(
    turn: Turn, draft: MessageBuilder, interval: float | None
) -> AsyncIterator[None]:
    if interval is None:
        yield
        return
    task = asyncio.create_task(
        _save_at_intervals(turn, draft, interval),
        name=f"resumable_streams.draft {turn.stream_id}",
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _save_at_intervals(turn: Turn, draft: MessageBuilder, interval: float) -> None:
    saved = 0
    while True:
        await asyncio.sleep(interval)
        if draft.additions == saved:
            continue
        saved = draft.additions
        try:
            usage = added(turn.answer.earlier_usage, reported_usage())
            await run_sync(partial(save_draft, turn.stream_id, draft.parts(), usage))
        except Exception:  # the end, or the next interval, saves it
            logger.exception("A draft of an answer could not be saved.")
