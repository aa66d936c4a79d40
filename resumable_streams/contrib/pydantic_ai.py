"""The runs of pydantic-ai's agents: in parts, in AG-UI events, or in words.

    from pydantic_ai.ui.vercel_ai import VercelAIAdapter
    from resumable_streams.contrib.pydantic_ai import parts

    async def produce(self, request):
        run_input = VercelAIAdapter.build_run_input(request.body)
        return parts(VercelAIAdapter(agent, run_input))

| function             | takes                                                | format       |
|----------------------|------------------------------------------------------|--------------|
| `parts(adapter, …)`  | a `VercelAIAdapter`, or `agent.run_stream_events(…)` | `ui_message` |
| `events(adapter, …)` | an `AGUIAdapter`                                     | `ag_ui`      |
| `text(run)`          | `agent.run_stream_events(…)`                         | any          |

The keywords after an adapter are those of its `run_stream`, such as `deps`. Needs the extra
`pydantic-ai`.

The adapters end a run that failed as if it were done, after a part that says `error`. Here, the
error is raised, so the stream ends as failed, and its readers get the error of their format.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import Any

from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
)
from pydantic_ai.run import AgentRunResultEvent
from pydantic_ai.ui import UIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter, VercelAIEventStream
from pydantic_ai.usage import RunUsage

from .answers import Part, Stream, Usage, opened

__all__ = ["events", "parts", "text"]

Adapter = UIAdapter[Any, Any, Any, Any, Any]


def parts(source: VercelAIAdapter[Any, Any] | Stream[Any], **options: Any) -> AsyncIterator[Part]:
    """Yield a run as parts of a UI message, those of `VercelAIAdapter.run_stream`."""
    if isinstance(source, UIAdapter):
        return AgentRun.of_adapter(source, options).items(source.transform_stream)
    return AgentRun(source).items(VercelAIEventStream().transform_stream)


def events(adapter: Adapter, **options: Any) -> AsyncIterator[Part]:
    """Yield a run as the events of `AGUIAdapter.run_stream`."""
    return AgentRun.of_adapter(adapter, options).items(adapter.transform_stream)


async def text(run: Stream[Any]) -> AsyncIterator[str]:
    """Yield the words of a run."""
    async with aclosing(AgentRun(run).observed()) as observed:
        async for event in observed:
            if delta := _words(event, TextPart, TextPartDelta):
                yield delta


class AgentRun:
    """One run of an agent, whose usage and failure are noted while its events pass."""

    def __init__(self, native: Stream[Any], usage: RunUsage | None = None) -> None:
        self._native = native
        self._usage = usage
        self._reported = Usage()
        self._characters = 0
        self._failure: Exception | None = None

    @classmethod
    def of_adapter(cls, adapter: Adapter, options: dict[str, Any]) -> "AgentRun":
        """Return the run of an adapter. One that stores conversations refuses a usage of ours."""
        if getattr(adapter, "conversation_store", None) is not None:
            return cls(adapter.run_stream_native(**options))
        usage = options.pop("usage", None) or RunUsage()
        return cls(adapter.run_stream_native(usage=usage, **options), usage)

    async def observed(self) -> AsyncGenerator[Any, None]:
        """Yield the events of the agent; report its usage at the end, however it comes."""
        run: Any = None
        try:
            async with opened(self._native) as run:
                async for event in run:
                    self._note(event)
                    yield event
        except Exception as error:
            self._failure = error
            raise
        finally:  # after the run was closed: only then it has counted a request that was cut off
            self._report(self._usage or _usage_of(run))

    async def items(self, transform: Callable[..., AsyncIterator[Any]]) -> AsyncIterator[Part]:
        """Yield the events of a protocol as mappings; raise the error that ended the run."""
        async with aclosing(transform(self.observed())) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if self._failure is not None and chunk.type in ("error", "RUN_ERROR"):
                    raise self._failure
                if chunk.type != "done":  # `[DONE]`, which the format adds
                    yield chunk.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _note(self, event: Any) -> None:
        if isinstance(event, AgentRunResultEvent) and self._usage is None:
            self._usage = event.result.usage
        for kinds in ((TextPart, TextPartDelta), (ThinkingPart, ThinkingPartDelta)):
            self._characters += len(_words(event, *kinds))

    def _report(self, usage: RunUsage | None) -> None:
        counts: dict[str, int | None] = {"output_characters": self._characters}
        if usage is not None:
            counts |= {
                "requests": usage.requests,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cached_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "reasoning_tokens": usage.details.get("reasoning_tokens"),
            }
        self._reported.count(**counts)


def _usage_of(run: Any) -> RunUsage | None:
    """Return the usage so far of `agent.run_stream_events(…)`; None of a run that never began."""
    with suppress(UserError):
        usage: RunUsage | None = getattr(run, "usage", None)
        return usage
    return None


def _words(event: Any, part: type[Any], delta: type[Any]) -> str:
    """Return the words that an event adds to a part of that kind."""
    if isinstance(event, PartStartEvent) and isinstance(event.part, part):
        return event.part.content or ""
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, delta):
        return event.delta.content_delta or ""
    return ""
