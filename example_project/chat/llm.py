"""The models that answer: a built-in script, a recording, or an OpenAI-compatible endpoint.

A model yields its events as a provider sends them: one JSON object each, as bytes, without a
newline. `text_of` finds the words in an event of any of the known kinds.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SCRIPT = Path(__file__).with_name("scripted_answer.md")
RECORDING = "recording:"
KNOWN = f"scripted, {RECORDING}<file>, openai"
TOKEN = re.compile(r"\s*\w{1,8}|\s*[^\w\s]+|\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Be one message of the conversation; `role` is `user` or `assistant`."""

    role: str
    text: str


class Model(Protocol):
    """Answer a conversation."""

    def events(self, turns: Sequence[Turn]) -> AsyncGenerator[bytes, None]:
        """Yield the events of one answer; closing the iterator ends the work at the provider."""
        ...


class ModelFailed(Exception):
    """Say that the provider sent an error instead of an answer."""


# --- what an event says -------------------------------------------------------------------------


def text_of(line: bytes) -> str:
    """Return the text that an event adds to the answer; raise ModelFailed for an error event.

    Knows chat completions (OpenAI, DeepSeek, Groq and the like), OpenAI responses and Anthropic
    messages. What it does not know adds nothing.
    """
    try:
        event = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(event, dict):
        return ""
    if event.get("type") in ("error", "response.failed") or event.get("error"):
        raise ModelFailed("The provider reported an error.")
    text = _completion_text(event) or _delta_text(event)
    return text if isinstance(text, str) else ""


def _completion_text(event: dict[str, Any]) -> object:
    match event:
        case {"choices": [{"delta": {"content": content}}, *_]}:
            return content
    return None


def _delta_text(event: dict[str, Any]) -> object:
    match event:
        case {"type": "response.output_text.delta", "delta": text}:
            return text
        case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}:
            return text
    return None


# --- models -------------------------------------------------------------------------------------


async def paced(items: Iterable[bytes], *, rate: float) -> AsyncGenerator[bytes, None]:
    """Yield `rate` items a second, measured from the first, so that delays do not add up."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, item in enumerate(items):
        due = start + number / rate if rate else start
        await asyncio.sleep(max(0.0, due - loop.time()))
        yield item


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """Play the same events to whoever asks, `rate` a second (0: as fast as they are taken)."""

    lines: Sequence[bytes]
    rate: float

    def events(self, turns: Sequence[Turn]) -> AsyncGenerator[bytes, None]:
        """Yield the lines at the pace of the model, whatever the question was."""
        return paced(self.lines, rate=self.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIModel:
    """Ask an OpenAI-compatible endpoint for a streamed chat completion."""

    name: str
    api_key: str
    base_url: str | None = None

    async def events(self, turns: Sequence[Turn]) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of the completion; leaving early closes the connection."""
        # A client belongs to one loop, and making one reads certificates: once an answer is cheap.
        async with await asyncio.to_thread(self._client) as client:
            messages: Any = [{"role": turn.role, "content": turn.text} for turn in turns]
            stream = await client.chat.completions.create(
                model=self.name, messages=messages, stream=True
            )
            async with stream:
                async for chunk in stream:
                    yield chunk.model_dump_json(exclude_unset=True).encode()

    def _client(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        return AsyncOpenAI(api_key=self.api_key, base_url=self.base_url)


# --- choosing one -------------------------------------------------------------------------------


@cache
def get_model() -> Model:
    """Return the model of DEMO_MODEL; raise ImproperlyConfigured when it could not answer."""
    return load(settings.DEMO_MODEL, rate=parse_rate(settings.DEMO_RATE))


def load(name: str, *, rate: float) -> Model:
    """Make the model called `name`, playing `rate` events a second."""
    if name == "scripted":
        return Playback(lines=scripted_lines(), rate=rate)
    if name.startswith(RECORDING):
        return Playback(lines=recorded_lines(Path(name.removeprefix(RECORDING))), rate=rate)
    if name == "openai":
        return _openai_from_environment()
    raise ImproperlyConfigured(f"DEMO_MODEL={name!r} is not known. Known are: {KNOWN}.")


def parse_rate(value: str) -> float:
    """Read DEMO_RATE: events per second, 0 for no pause at all."""
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1_000_000:
        raise ImproperlyConfigured(
            f"DEMO_RATE={value!r} is not a number of events per second (0: as fast as possible)."
        )
    return rate


def scripted_lines() -> list[bytes]:
    """Cut the built-in answer into events of the chat-completions kind."""
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": token} for token in TOKEN.findall(SCRIPT.read_text(encoding="utf-8"))]
    lines = [_completion_chunk(delta) for delta in deltas]
    return [*lines, _completion_chunk({}, finish_reason="stop")]


def _completion_chunk(delta: dict[str, str], *, finish_reason: str | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()


def recorded_lines(file: Path) -> list[bytes]:
    """Read a recording: one event a line, kept byte for byte; empty lines are no events."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ImproperlyConfigured(
            f"DEMO_MODEL={RECORDING}{file}: the file cannot be read ({error.strerror})."
        ) from error
    lines = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    if not any(lines):
        raise ImproperlyConfigured(f"DEMO_MODEL={RECORDING}{file}: the file has no events.")
    return [line for line in lines if line]


def _openai_from_environment() -> OpenAIModel:
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise ImproperlyConfigured(
            "DEMO_MODEL=openai needs the extra: pip install 'django-resumable-streams[openai]'."
        ) from error
    for variable in ("OPENAI_API_KEY", "OPENAI_MODEL"):
        if not os.environ.get(variable):
            raise ImproperlyConfigured(f"DEMO_MODEL=openai needs {variable} in the environment.")
    return OpenAIModel(
        name=os.environ["OPENAI_MODEL"],
        api_key=os.environ["OPENAI_API_KEY"],
        base_url=os.environ.get("OPENAI_BASE_URL") or None,
    )
