"""An answer on its way from the model to the wire and to the database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress

from resumable_streams import StreamFailed, StreamInfo, StreamStatus, streams

from . import llm, parts
from .models import Chat, Message

ENDINGS = {
    StreamStatus.DONE: Message.Status.COMPLETE,
    StreamStatus.CANCELLED: Message.Status.STOPPED,
    StreamStatus.ERROR: Message.Status.FAILED,
}


async def raw_events(turns: Sequence[llm.Turn]) -> AsyncIterator[bytes]:
    """Yield the model's events as plain SSE, byte for byte, then `[DONE]`."""
    async with aclosing(llm.get_model().events(turns)) as events:
        async for line in events:
            yield b"data: " + line + b"\n\n"
    yield b"data: [DONE]\n\n"


async def message_parts(chat: Chat, turns: Sequence[llm.Turn]) -> AsyncIterator[bytes]:
    """Yield the answer in parts, and save its text however it ends.

    This runs detached from the request, so it is saved also when nobody reads any more.
    """
    words: list[str] = []
    status = Message.Status.FAILED
    try:
        yield parts.start(chat.stream_id)
        async with aclosing(llm.get_model().events(turns)) as events:
            async for line in events:
                if text := llm.text_of(line):
                    words.append(text)
                    yield parts.delta(text)
        yield parts.finish()
        status = Message.Status.COMPLETE
    except (GeneratorExit, asyncio.CancelledError):
        status = Message.Status.STOPPED
        raise
    finally:
        # A stop may have come before the last words were stored: then the log knows what was read.
        info = await settle(chat) if status is Message.Status.STOPPED else None
        if info is None or info.is_streaming:
            await _save(chat, parts.joined(words), status)


async def _save(chat: Chat, text: str, status: Message.Status) -> None:
    if await Chat.objects.filter(pk=chat.pk).aexists():  # it may have been deleted meanwhile
        await Message.objects.aupdate_or_create(
            chat_id=chat.pk,
            key=chat.stream_id,
            defaults={"role": Message.Role.ASSISTANT, "text": text, "status": status},
        )


async def settle(chat: Chat) -> StreamInfo | None:
    """Make sure that an answer that has ended is in the database; return the latest stream.

    Its producer saves it, but not when its process was killed, or a moment too late for the
    question that follows. The log has the same words.
    """
    if not chat.stream_id:
        return None
    info = await streams.astatus(chat.stream_id, owner=chat.owner)
    if info and not info.is_streaming and not await _is_saved(chat):
        await _save(chat, parts.text_of(await _log(chat)), ENDINGS[info.status])
    return info


async def _is_saved(chat: Chat) -> bool:
    return await chat.messages.filter(key=chat.stream_id).aexists()


async def _log(chat: Chat) -> bytes:
    reader = await streams.aresume(chat.stream_id, owner=chat.owner, live=False)
    log = bytearray()
    if reader is not None:
        with suppress(StreamFailed):
            async for data in reader:
                log += data
    return bytes(log)
