"""The answers of OpenAI's client: chat completions and responses, in parts or in words.

    from openai import AsyncOpenAI
    from resumable_streams.contrib.openai import parts

    async def produce(self, request):
        return parts(client.responses.create(model="…", input="…", stream=True))

Both functions take the request itself, not awaited, or the stream it returns, or the context
manager of `client.responses.stream(…)`. Endpoints that speak the same protocol work as well; their
`reasoning_content` or `reasoning` becomes reasoning. `docs/providers.md` has whole views. Needs the
extra `openai`.

Chat completions tell their usage only on request, in their last chunk:
`stream_options={"include_usage": True}`.
"""

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from typing import Any
from uuid import uuid4

from openai.types.chat import ChatCompletionChunk

from .answers import Answer, AnswerFailed, Part, Stream, read, words

__all__ = ["parts", "text"]

NO_INPUT = {"id", "type", "status", "call_id"}
OUTPUTS = {"output", "outputs", "result", "results", "error"}


def parts(stream: Stream[Any] | Awaitable[Stream[Any]]) -> AsyncIterator[Part]:
    """Yield an answer as parts of a UI message: text, reasoning, tools, sources, metadata."""
    return read(stream, OpenAIAnswer())


def text(stream: Stream[Any] | Awaitable[Stream[Any]]) -> AsyncIterator[str]:
    """Yield the words of an answer."""
    return words(parts(stream))


class OpenAIAnswer(Answer[Any]):
    """An answer of either API: its events tell which."""

    def __init__(self) -> None:
        super().__init__()
        self._call_ids: dict[object, str] = {}
        """The calls by their index in a completion, or by their item in a response."""

    def read(self, event: Any) -> Iterator[Part]:
        if isinstance(event, ChatCompletionChunk):
            yield from self._read_chunk(event)
        elif event.type == "chunk":  # of `client.chat.completions.stream(…)`
            yield from self._read_chunk(event.chunk)
        else:
            yield from self._read_event(event)

    # Chat completions.

    def _read_chunk(self, chunk: ChatCompletionChunk) -> Iterator[Part]:
        if usage := chunk.usage:
            details, made = usage.prompt_tokens_details, usage.completion_tokens_details
            self.usage.count(
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                cached_tokens=getattr(details, "cached_tokens", None),
                reasoning_tokens=getattr(made, "reasoning_tokens", None),
            )
        for choice in chunk.choices:
            if choice.index == 0:
                yield from self._read_choice(choice)

    def _read_choice(self, choice: Any) -> Iterator[Part]:
        delta = choice.delta
        for name in ("reasoning_content", "reasoning"):  # of DeepSeek and vLLM; of Groq
            said = getattr(delta, name, None)
            yield from self.say("reasoning", said if isinstance(said, str) else None)
        yield from self.say("text", delta.content)
        yield from self.say("text", delta.refusal)
        for piece in delta.tool_calls or ():
            yield from self._read_call(piece)
        if choice.finish_reason is not None:
            for call_id in self._calls:  # not by index: some endpoints give all the same one
                yield from self.called(call_id)
            self.finish(choice.finish_reason)

    def _read_call(self, piece: Any) -> Iterator[Part]:
        """Yield the parts of a piece of a call; only the first piece has an id and a name."""
        if piece.id or piece.index not in self._call_ids:  # not every endpoint gives an id
            call_id = self._call_ids[piece.index] = piece.id or f"call-{uuid4().hex}"
            yield from self.close()
            yield from self.call(call_id, piece.function.name or "")
        yield from self.call_input(self._call_ids[piece.index], piece.function.arguments)

    # Responses.

    def _read_event(self, event: Any) -> Iterator[Part]:
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                yield from self.say("text", event.delta)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from self.say("reasoning", event.delta)
            case "response.reasoning_summary_part.added":
                yield from self.close()
            case "response.output_text.annotation.added":
                yield from self._read_annotation(event.annotation)
            case "response.output_item.added" if event.item.type.endswith("_call"):
                yield from self._begin_call(event.item)
            case "response.output_item.done":
                yield from self._end_item(event.item)
            case kind if kind.endswith(".delta"):
                call_id = self._call_ids.get(getattr(event, "item_id", None))
                if call_id is not None:
                    yield from self.call_input(call_id, event.delta)
            case "response.completed" | "response.incomplete":
                self._read_end(event.response)
            case "response.failed" | "error":
                self._fail(event)

    def _read_annotation(self, annotation: Any) -> Iterator[Part]:
        if not isinstance(annotation, Mapping):  # which it is in older clients
            annotation = annotation.model_dump()
        if annotation["type"] == "url_citation":
            yield from self.cite(annotation["url"], annotation.get("title"))

    def _begin_call(self, item: Any) -> Iterator[Part]:
        """Yield the start of a call; one without a `call_id` is carried out by the provider."""
        call_id = getattr(item, "call_id", None)
        name = getattr(item, "name", None) or item.type.removesuffix("_call")
        self._call_ids[item.id or call_id] = call_id or item.id
        yield from self.close()
        yield from self.call(call_id or item.id, name, by_provider=call_id is None)

    def _end_item(self, item: Any) -> Iterator[Part]:
        if not item.type.endswith("_call"):
            yield from self.close(**_metadata(item))
            return
        yield from self._begin_call(item)  # if its beginning has not been told
        call_id = self._call_ids[item.id or item.call_id]
        if item.type in ("function_call", "mcp_call") and not self._calls[call_id].input:
            yield from self.call_input(call_id, item.arguments)  # it came in one piece
        yield from self.called(call_id, _input(item))
        if getattr(item, "call_id", None) is None:
            error = getattr(item, "error", None)
            output = _dumped(item, include=OUTPUTS - {"error"})
            yield from self.output(
                call_id, output.get("output", output), error=str(error) if error else None
            )

    def _read_end(self, response: Any) -> None:
        self._count(response.usage)
        details = response.incomplete_details
        reason = "tool_calls" if self._asks_for_tools(response) else "stop"
        if details is not None:
            reason = details.reason
        self.finish(reason)

    def _asks_for_tools(self, response: Any) -> bool:
        return any(item.type in ("function_call", "custom_tool_call") for item in response.output)

    def _fail(self, event: Any) -> None:
        error = event
        if event.type == "response.failed":
            self._count(event.response.usage)
            error = event.response.error
        code, message = getattr(error, "code", None), getattr(error, "message", None)
        raise AnswerFailed(f"OpenAI reported an error: {code}: {message}")

    def _count(self, usage: Any) -> None:
        if usage is not None:
            details, made = usage.input_tokens_details, usage.output_tokens_details
            self.usage.count(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=getattr(details, "cached_tokens", None),
                reasoning_tokens=getattr(made, "reasoning_tokens", None),
            )


def _input(item: Any) -> Any:
    """Return the input of a call; None if it is the JSON that has arrived."""
    if item.type in ("function_call", "mcp_call"):
        return None
    if item.type == "custom_tool_call":
        return item.input
    return _dumped(item, exclude=NO_INPUT | OUTPUTS)


def _dumped(item: Any, **fields: Any) -> Any:
    """Return fields of an item as JSON; providers are ahead of the types of their clients."""
    return item.model_dump(mode="json", exclude_none=True, warnings=False, **fields)


def _metadata(item: Any) -> dict[str, Any]:
    """Return the metadata of reasoning that has to be sent back with the next request."""
    if item.type != "reasoning" or item.encrypted_content is None:
        return {}
    kept = {"itemId": item.id, "reasoningEncryptedContent": item.encrypted_content}
    return {"providerMetadata": {"openai": kept}}
