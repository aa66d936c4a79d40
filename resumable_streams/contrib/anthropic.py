"""The answers of Anthropic's client, in parts or in words.

    from anthropic import AsyncAnthropic
    from resumable_streams.contrib.anthropic import parts

    async def produce(self, request):
        return parts(client.messages.create(…, stream=True))

Both functions take the request itself, not awaited, or the stream it returns, or the context
manager of `client.messages.stream(…)`. `docs/providers.md` has whole views. Needs the extra
`anthropic`.

The first event tells the usage of the input, so it is known however early an answer is cancelled.
"""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

from anthropic.types import MessageDeltaUsage, Usage

from .answers import Answer, Part, Stream, read, words

__all__ = ["parts", "text"]


def parts(stream: Stream[Any] | Awaitable[Stream[Any]]) -> AsyncIterator[Part]:
    """Yield an answer as parts of a UI message: text, thinking, tools, sources, metadata."""
    return read(stream, AnthropicAnswer())


def text(stream: Stream[Any] | Awaitable[Stream[Any]]) -> AsyncIterator[str]:
    """Yield the words of an answer."""
    return words(parts(stream))


class AnthropicAnswer(Answer[Any]):
    """An answer of the messages API. The events that its client derives add nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks_by_index: dict[int, Any] = {}
        self._signature = ""
        self._stop_reason: str | None = None

    def read(self, event: Any) -> Iterator[Part]:
        match event.type:
            case "message_start":
                self._count(event.message.usage)
            case "content_block_start":
                self._blocks_by_index[event.index] = event.content_block
                yield from self._begin(event.content_block)
            case "content_block_delta":
                yield from self._add(self._blocks_by_index[event.index], event.delta)
            case "content_block_stop":
                yield from self._end(self._blocks_by_index.pop(event.index))
            case "message_delta":
                self._count(event.usage)
                self._stop_reason = event.delta.stop_reason
            case "message_stop":
                self.finish(self._stop_reason)

    def _begin(self, block: Any) -> Iterator[Part]:
        match block.type:
            case "text":
                yield from self.say("text", block.text)
            case "thinking":
                self._signature = block.signature
                yield from self.say("reasoning", block.thinking)
            case "tool_use":
                yield from self.call(block.id, block.name)
            case "server_tool_use" | "mcp_tool_use":
                yield from self.call(block.id, block.name, by_provider=True)
            case kind if kind.endswith("_tool_result"):
                yield from self._result(block)

    def _add(self, block: Any, delta: Any) -> Iterator[Part]:
        match delta.type:
            case "text_delta":
                yield from self.say("text", delta.text)
            case "thinking_delta":
                yield from self.say("reasoning", delta.thinking)
            case "signature_delta":
                self._signature += delta.signature
            case "input_json_delta":
                yield from self.call_input(block.id, delta.partial_json)
            case "citations_delta" if getattr(delta.citation, "url", None):
                yield from self.cite(delta.citation.url, delta.citation.title)

    def _end(self, block: Any) -> Iterator[Part]:
        if block.type in ("tool_use", "server_tool_use", "mcp_tool_use"):
            yield from self.called(block.id)
        elif block.type == "thinking":
            kept = {"signature": self._signature}  # has to be sent back with the next request
            yield from self.close(providerMetadata={"anthropic": kept})
        elif block.type == "text":
            yield from self.close()

    def _result(self, block: Any) -> Iterator[Part]:
        """Yield the output of a tool that Anthropic has run; an error of it has a code."""
        dumped = block.model_dump(mode="json", exclude_none=True, warnings=False)["content"]
        error = dumped.get("error_code") if isinstance(dumped, dict) else None
        yield from self.output(block.tool_use_id, dumped, error=error)

    def _count(self, usage: Usage | MessageDeltaUsage) -> None:
        """Count cached input with the input, as the other providers do."""
        read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
        fresh, made = usage.input_tokens, usage.output_tokens_details
        self.usage.count(
            input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
            output_tokens=usage.output_tokens,
            cached_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=getattr(made, "thinking_tokens", None),
        )
