"""The answers of the model: in a chat that keeps them, and as plain events."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.views import ChatView

from . import llm
from .damage import note_producer


class Assistant(ChatView):
    """The chat: who asks, what is saved, and how one comes back is the app's part."""

    async def answer(
        self, conversation: Conversation, messages: Sequence[Message]
    ) -> AsyncIterator[str]:
        """Yield the words of the model."""
        await note_producer(conversation.running or "")
        turns = [llm.Turn(role=one.role, text=one.text) for one in messages if one.text]
        async with aclosing(words(turns)) as answer:
            async for word in answer:
                yield word


async def words(turns: Sequence[llm.Turn]) -> AsyncGenerator[str, None]:
    """Yield the words of the model."""
    async with aclosing(llm.get_model().events(turns)) as events:
        async for line in events:
            yield llm.text_of(line)


async def raw_events(turns: Sequence[llm.Turn]) -> AsyncIterator[bytes]:
    """Yield the model's events as plain SSE, byte for byte, then `[DONE]`."""
    async with aclosing(llm.get_model().events(turns)) as events:
        async for line in events:
            yield b"data: " + line + b"\n\n"
    yield b"data: [DONE]\n\n"
