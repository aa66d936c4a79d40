"""The answers of LangChain and LangGraph, in parts or in words.

    from resumable_streams.contrib.langchain import parts

    async def produce(self, request):
        return parts(graph.astream({"messages": […]}, stream_mode="messages"))

Both functions take the iterator of `astream`, of a model, a chain or a graph. Of a graph, they read
the modes `messages` and `custom`, alone or among others, of subgraphs too, in both versions of the
format; other modes add nothing. In `custom`, text is text, and a mapping with a `type` is a part.
Each message of a model is one step, unless several models answer at once. `docs/providers.md` has
whole views. Needs the extra `langchain`.

`ChatOpenAI` with a `base_url` tells its usage only with `stream_usage=True`.
"""

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from .answers import Answer, Part, read, words

__all__ = ["parts", "text"]


def parts(stream: AsyncIterable[Any]) -> AsyncIterator[Part]:
    """Yield what `astream` does as parts of a UI message: text, reasoning, tools, metadata."""
    return read(stream, LangChainAnswer())


def text(stream: AsyncIterable[Any]) -> AsyncIterator[str]:
    """Yield the words of what `astream` does."""
    return words(parts(stream))


class LangChainAnswer(Answer[Any]):
    """The messages of one run, told apart by their ids: models of a graph may answer at once."""

    def __init__(self) -> None:
        super().__init__()
        self.finish("stop")  # LangChain says only of some models whether an answer is whole
        self._live: set[str] = set()
        self._asked: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._call_ids: dict[tuple[str, object], str] = {}
        self._is_in_step = False

    def start(self) -> Iterator[Part]:
        return iter(())

    def read(self, event: Any) -> Iterator[Part]:
        match _item(event):
            case str() as text:
                yield from self._step("")
                yield from self.say("text", text)
            case ToolMessage() as message:
                error = str(message.content) if message.status == "error" else None
                yield from self.output(message.tool_call_id, message.content, error=error)
            case AIMessage() as message:
                yield from self._read_message(message, message.id or "")
            case Mapping() as part:
                yield dict(part)

    def _read_message(self, message: AIMessage, source: str) -> Iterator[Part]:
        yield from self._step(source)
        self._asked.add(source)
        for block in message.content_blocks:
            yield from self._read_block(dict(block), source)
        self._count(message)
        if not isinstance(message, AIMessageChunk) or message.chunk_position == "last":
            yield from self._end_message(source)

    def _step(self, source: str) -> Iterator[Part]:
        """Yield the start of a step, if a message begins while no other is under way."""
        if not self._live and not (self._is_in_step and source in self._open):
            if self._is_in_step:
                yield from self.close()
                yield {"type": "finish-step"}
            self._is_in_step = True
            yield {"type": "start-step"}
        if source:
            self._live.add(source)

    def end(self) -> Iterator[Part]:
        yield from self._step("") if not self._is_in_step else ()
        yield from super().end()

    def _end_message(self, source: str) -> Iterator[Part]:
        """Yield the ends of what a message has open."""
        yield from self.close(source)
        for key in [key for key in self._call_ids if key[0] == source]:
            yield from self.called(self._call_ids.pop(key))
        self._live.discard(source)

    def _read_block(self, block: dict[str, Any], source: str) -> Iterator[Part]:
        match block["type"]:
            case "text":
                yield from self.say("text", block["text"], source)
                for note in block.get("annotations", ()):
                    if note["type"] == "citation" and "url" in note:
                        yield from self.cite(note["url"], note.get("title"))
            case "refusal":
                yield from self.say("text", block["refusal"], source)
            case "reasoning":
                yield from self.say("reasoning", block.get("reasoning"), source)
            case "tool_call_chunk" | "server_tool_call_chunk":
                yield from self._read_call_chunk(block, source)
            case "tool_call" | "server_tool_call":
                yield from self.close(source)
                by_provider = block["type"] == "server_tool_call"
                yield from self.call(block["id"], block["name"], by_provider=by_provider)
                self._call_ids = {k: v for k, v in self._call_ids.items() if v != block["id"]}
                yield from self.called(block["id"], block["args"])
            case "server_tool_result":
                error = str(block.get("output")) if block.get("status") == "error" else None
                yield from self.output(block["tool_call_id"], block.get("output"), error=error)

    def _read_call_chunk(self, block: dict[str, Any], source: str) -> Iterator[Part]:
        """Yield the parts of a piece of a call; only the first piece has an id and a name."""
        key = source, block.get("index")
        if block.get("id") or key not in self._call_ids:  # not every endpoint gives an id
            if key in self._call_ids:  # some endpoints give all calls the same index
                yield from self.called(self._call_ids[key])
            call_id = self._call_ids[key] = block.get("id") or f"call-{uuid4().hex}"
            by_provider = block["type"] == "server_tool_call_chunk"
            yield from self.close(source)
            yield from self.call(call_id, block["name"] or "", by_provider=by_provider)
        yield from self.call_input(self._call_ids[key], block.get("args"))

    def _count(self, message: AIMessage) -> None:
        usage = message.usage_metadata
        if usage is not None:
            read = usage.get("input_token_details") or {}
            made = usage.get("output_token_details") or {}
            self._counts.update(
                input_tokens=usage["input_tokens"],
                output_tokens=usage["output_tokens"],
                cached_tokens=read.get("cache_read") or 0,
                cache_write_tokens=read.get("cache_creation") or 0,
                reasoning_tokens=made.get("reasoning") or 0,
            )
            self.usage.count(requests=len(self._asked), **self._counts)
        told = message.response_metadata
        if reason := told.get("finish_reason") or told.get("stop_reason"):
            self.finish(reason)


def _item(event: Any) -> Any:
    """Return the message, the text or the part in an item of `astream`; None if it has none.

    The item may say its mode, and, before that, the subgraph it comes from. Raise TypeError for an
    item of a stream that has none at all: its answer would be empty.
    """
    match event:
        case BaseMessage() | str():
            return event
        case {"type": str() as mode, "ns": _, "data": data}:
            return _of_mode(mode, data)
        case {"type": str()}:
            return event
        case (BaseMessage() as message, Mapping()):
            return message
        case (tuple(), item):
            return _item(item)
        case (tuple(), str() as mode, data) | (str() as mode, data):
            return _of_mode(mode, data)
    raise TypeError(
        f"An item of this stream, {type(event).__name__}, is no message, no text and no part. "
        f'Ask `astream` of a graph for `stream_mode="messages"`; `astream_events` is not read.'
    )


def _of_mode(mode: str, data: Any) -> Any:
    if mode == "messages":
        return data[0]
    is_item = isinstance(data, str) or (isinstance(data, Mapping) and "type" in data)
    return data if mode == "custom" and is_item else None
