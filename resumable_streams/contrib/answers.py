"""The answer of a model, read event by event into parts of a UI message.

The modules of the providers share this one, which imports none of them. Each has the same two
functions, so a view chooses by its format and learns nothing about the other formats:

| function        | yields                              | for the formats                        |
|-----------------|-------------------------------------|----------------------------------------|
| `text(stream)`  | the words, as `str`                 | `raw`, `sse`, `ndjson`; also the others |
| `parts(stream)` | parts of a UI message, as mappings  | `ui_message`; through `contrib.ag_ui`, |
|                 |                                     | `ag_ui`                                |

A function for each format keeps the items typed and the format out of the providers. The parts are
the neutral form: `text` is their text deltas, and AG-UI's events are made from them.

One answer is one *step* of a message. The format puts `start` before the first step and `finish`
after the last, so an agent of your own yields the parts of one request after another.

Both functions close the connection to the provider as soon as nobody reads them any more (on a
cancellation, say), report the usage (`resumable_streams.report_usage`), and raise for an answer
that failed or broke off, so that its stream never ends as `done`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Generic, TypeVar, cast

from ..producing.sources import report_usage, reported_usage

__all__ = ["Answer", "AnswerFailed", "Part", "Stream", "Usage", "opened", "read", "words"]

Part = dict[str, Any]
E = TypeVar("E")
Stream = AsyncIterable[E] | AbstractAsyncContextManager[AsyncIterable[E]]
"""A stream of events: what a client returns for `stream=True`, or its context manager."""


class AnswerFailed(Exception):
    """The answer of a model that failed, or broke off before its end."""


# --- Usage


class Usage:
    """The usage of one request. What several requests of a source report adds up.

    A provider repeats its counts with higher values; each report adds the difference.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, **counts: int | None) -> None:
        """Set counts of this request, and report those of the source; None is unknown."""
        totals = reported_usage()
        for name, count in counts.items():
            if count is not None:
                totals[name] = totals.get(name, 0) + count - self._counts.get(name, 0)
                self._counts[name] = count
        report_usage(**totals)

    def totals(self) -> dict[str, int]:
        """Return the counts of all requests of the source."""
        return {**self._counts, **reported_usage()}


# --- From events to parts


@dataclass(slots=True)
class Call:
    """A call of a tool, whose input arrives piece by piece."""

    name: str
    by_provider: bool
    input: str = ""


class Answer(ABC, Generic[E]):
    """The answer to one request: events in, parts out.

    A subclass reads the events of one provider. It sets `finish_reason` when the answer is whole.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self.finish_reason: str | None = None
        self._open: dict[str, tuple[str, str]] = {}
        self._calls: dict[str, Call] = {}
        self._cited: set[str] = set()
        self._blocks = 0
        self._characters = 0

    @abstractmethod
    def read(self, event: E) -> Iterator[Part]:
        """Yield the parts that an event adds to the message."""

    def start(self) -> Iterator[Part]:
        """Yield the parts before those of the first event."""
        yield {"type": "start-step"}

    def end(self) -> Iterator[Part]:
        """Yield the parts after those of the last event; raise AnswerFailed if it is not whole."""
        if self.finish_reason is None:
            raise AnswerFailed("The provider's stream ended in the middle of the answer.")
        for source in list(self._open):
            yield from self.close(source)
        yield {"type": "finish-step"}
        yield {"type": "message-metadata", "messageMetadata": self.metadata()}

    def finish(self, reason: str | None) -> None:
        """Note that the answer is whole, and the provider's word for the reason."""
        self.finish_reason = FINISH_REASONS.get(reason or "", "other")

    def metadata(self) -> dict[str, Any]:
        """Return the metadata of the message, named as the AI SDK does."""
        totals = self.usage.totals()
        usage = {ours: totals[name] for name, ours in _AI_SDK_NAMES.items() if name in totals}
        return {"finishReason": self.finish_reason, "usage": usage}

    def report(self) -> None:
        """Report the characters so far: all that is known of an answer that is cut off."""
        self.usage.count(output_characters=self._characters)

    # The blocks of a message: text and reasoning, at most one open for each source of them.

    def say(self, kind: str, delta: str | None, source: str = "") -> Iterator[Part]:
        """Yield a delta of `text` or `reasoning`; open its block, and close one of another kind."""
        if not delta:
            return
        if source not in self._open or self._open[source][0] != kind:
            yield from self.close(source)
            self._blocks += 1
            self._open[source] = kind, f"{kind}-{self._blocks}"
            yield {"type": f"{kind}-start", "id": self._open[source][1]}
        self._characters += len(delta)
        yield {"type": f"{kind}-delta", "id": self._open[source][1], "delta": delta}

    def close(self, source: str = "", **more: Any) -> Iterator[Part]:
        """Yield the end of the open block, if there is one."""
        if source in self._open:
            kind, block = self._open.pop(source)
            yield {"type": f"{kind}-end", "id": block, **more}

    def cite(self, url: str, title: str | None) -> Iterator[Part]:
        """Yield a source, when the answer cites it for the first time."""
        if url not in self._cited:
            self._cited.add(url)
            part: Part = {"type": "source-url", "sourceId": url, "url": url}
            yield {**part, "title": title} if title else part

    # The calls of tools.

    def call(self, call_id: str, name: str, *, by_provider: bool = False) -> Iterator[Part]:
        """Yield the start of a call."""
        if call_id not in self._calls:
            self._calls[call_id] = Call(name, by_provider)
            yield {"type": "tool-input-start", **self._named(call_id)}

    def call_input(self, call_id: str, delta: str | None) -> Iterator[Part]:
        """Yield a piece of the input of a call."""
        if delta:
            self._calls[call_id].input += delta
            self._characters += len(delta)
            yield {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": delta}

    def called(self, call_id: str, value: Any = None) -> Iterator[Part]:
        """Yield the whole input of a call: `value`, or the JSON that has arrived."""
        named, text = self._named(call_id), self._calls[call_id].input
        try:
            value = json.loads(text or "{}") if value is None else value
        except ValueError:
            error = "The input of the tool is not valid JSON."
            yield {"type": "tool-input-error", **named, "input": text, "errorText": error}
        else:
            yield {"type": "tool-input-available", **named, "input": value}

    def output(self, call_id: str, value: Any, *, error: str | None = None) -> Iterator[Part]:
        """Yield the output of a call, or its error."""
        call = self._calls.get(call_id)
        part: Part = {"toolCallId": call_id}
        if call is not None and call.by_provider:
            part["providerExecuted"] = True
        if error is None:
            yield {"type": "tool-output-available", **part, "output": value}
        else:
            yield {"type": "tool-output-error", **part, "errorText": error}

    def _named(self, call_id: str) -> Part:
        call = self._calls[call_id]
        part: Part = {"toolCallId": call_id, "toolName": call.name}
        return {**part, "providerExecuted": True} if call.by_provider else part


FINISH_REASONS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("tool_calls", "function_call", "tool_use"), "tool-calls"),
    **dict.fromkeys(("content_filter", "refusal"), "content-filter"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"), "length"
    ),
}
"""The reasons of providers, in the words of the AI SDK; others are `other`."""

_AI_SDK_NAMES = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "reasoning_tokens": "reasoningTokens",
    "cached_tokens": "cachedInputTokens",
}


# --- From a stream to parts


async def read(stream: Stream[E] | Awaitable[Stream[E]], answer: Answer[E]) -> AsyncIterator[Part]:
    """Yield the parts of an answer; close the stream at the end, however it comes."""
    try:
        async with opened(stream) as events:
            answer.usage.count(requests=1)
            for part in answer.start():
                yield part
            async for event in events:
                for part in answer.read(event):
                    yield part
            for part in answer.end():
                yield part
    finally:
        answer.report()


async def words(parts: AsyncIterator[Part]) -> AsyncIterator[str]:
    """Yield the text of parts."""
    async with aclosing(parts) as opened_parts:  # type: ignore[type-var]
        async for part in opened_parts:
            if part["type"] == "text-delta":
                yield part["delta"]


@asynccontextmanager
async def opened(stream: Stream[E] | Awaitable[Stream[E]]) -> AsyncIterator[AsyncIterable[E]]:
    """Open a stream, or the context manager or the request that it comes from; close it."""
    made: Any = await stream if isawaitable(stream) else stream
    if not isinstance(made, AsyncIterable | AbstractAsyncContextManager):
        raise TypeError(
            f"A stream of a model is asynchronous, not {type(made).__name__}. Use the asynchronous "
            f"client (AsyncOpenAI, AsyncAnthropic, astream) and ask it for a stream: a call that "
            f"blocks a thread cannot be cancelled."
        )
    closing: Any = made if hasattr(made, "__aexit__") else aclosing(cast(Any, made))
    async with closing as events:
        yield events
