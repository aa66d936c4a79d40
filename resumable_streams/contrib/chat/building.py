"""From the chunks of an answer to the parts of a message, as the AI SDK builds them. Pure.

The rules are those of `processUIMessageStream` of the package `ai`: a message that is saved equals
the one that a client has at the end. Only open text differs: in a saved message nothing streams.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ...formats.items import WrongItem
from ...formats.json_line import json_line
from ...sse import data_of
from .parts import storable

__all__ = ["MessageBuilder", "chunks_in"]

Chunk = Mapping[str, Any]
Part = dict[str, Any]

_MISSING = object()

_TOOL_FIELDS = ("input", "output", "errorText", "rawInput", "preliminary")
_KEPT = ("title", "toolMetadata", "providerExecuted")


class _OpenText:
    """A part of text that is open, in pieces until somebody asks for it."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)

    def join(self) -> None:
        self._pieces = ["".join(self._pieces)]
        self.part["text"] = self._pieces[0]


class MessageBuilder:
    """One message, from its chunks; `parts` are those that it had before."""

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        self.metadata: dict[str, Any] = {}
        self.error = ""
        self.is_aborted = False
        self.additions = 0
        self._parts: list[Part] = deepcopy(list(parts))
        self._texts: dict[str, _OpenText] = {}
        self._reasonings: dict[str, _OpenText] = {}
        self._inputs: dict[str, list[str]] = {}
        self._plain: _OpenText | None = None

    def text(self, text: str) -> None:
        """Add text that is no chunk: the format makes a part of it."""
        if text:
            self.additions += 1
            if self._plain is None:
                self._plain = self._open({"type": "text"})
            self._plain.add(text)

    def add(self, chunk: Chunk) -> None:
        """Add one chunk; one that makes no sense here is left out, as no client shows it."""
        kind = str(chunk.get("type"))
        self.additions += 1
        self._end_plain()
        method = getattr(self, f"_{kind.replace('-', '_')}", None)
        if kind.startswith("data-"):
            self._data(chunk)
        elif method is not None and kind in _CHUNKS:
            method(chunk)

    def parts(self) -> list[Part]:
        """Return the parts as they are now, ready to be stored."""
        open_ones = [*self._texts.values(), *self._reasonings.values()]
        for text in [*open_ones, *([self._plain] if self._plain else [])]:
            text.join()
        parts: list[Part] = [*_as_json(self._parts)]
        return [{**p, "state": "done"} if p.get("state") == "streaming" else p for p in parts]

    # Text and reasoning.

    def _open(self, part: Part) -> _OpenText:
        text = _OpenText({**part, "text": "", "state": "streaming"})
        self._parts.append(text.part)
        return text

    def _end_plain(self) -> None:
        if self._plain is not None:
            self._end(self._plain, {})
            self._plain = None

    def _end(self, text: _OpenText, chunk: Chunk) -> None:
        text.join()
        text.part["state"] = "done"
        _note_provider(text.part, chunk)

    def _start_in(self, texts: dict[str, _OpenText], part: Part, chunk: Chunk) -> None:
        if (before := texts.get(str(chunk.get("id")))) is not None:
            before.join()
        texts[str(chunk.get("id"))] = text = self._open(part)
        _note_provider(text.part, chunk)

    def _delta_in(self, texts: dict[str, _OpenText], chunk: Chunk) -> None:
        if (text := texts.get(str(chunk.get("id")))) is not None:
            text.add(str(chunk.get("delta", "")))
            _note_provider(text.part, chunk)

    def _end_in(self, texts: dict[str, _OpenText], chunk: Chunk) -> None:
        if (text := texts.pop(str(chunk.get("id")), None)) is not None:
            self._end(text, chunk)

    def _text_start(self, chunk: Chunk) -> None:
        self._start_in(self._texts, {"type": "text"}, chunk)

    def _text_delta(self, chunk: Chunk) -> None:
        self._delta_in(self._texts, chunk)

    def _text_end(self, chunk: Chunk) -> None:
        self._end_in(self._texts, chunk)

    def _reasoning_start(self, chunk: Chunk) -> None:
        part = {"type": "reasoning", "id": chunk.get("id")}
        self._start_in(self._reasonings, part, chunk)

    def _reasoning_delta(self, chunk: Chunk) -> None:
        self._delta_in(self._reasonings, chunk)

    def _reasoning_end(self, chunk: Chunk) -> None:
        self._end_in(self._reasonings, chunk)

    # Whole parts.

    def _file(self, chunk: Chunk) -> None:
        self._push(chunk, "mediaType", "url")

    def _source_url(self, chunk: Chunk) -> None:
        self._push(chunk, "sourceId", "url", "title")

    def _source_document(self, chunk: Chunk) -> None:
        self._push(chunk, "sourceId", "mediaType", "title", "filename")

    def _push(self, chunk: Chunk, *names: str) -> None:
        names = ("type", *names, "providerMetadata")
        self._parts.append({name: chunk[name] for name in names if chunk.get(name) is not None})

    def _data(self, chunk: Chunk) -> None:
        if chunk.get("transient"):
            return
        name = (chunk["type"], chunk.get("id"))
        for part in self._parts if chunk.get("id") is not None else ():
            if (part["type"], part.get("id")) == name:
                part["data"] = chunk.get("data")
                return
        self._parts.append(dict(chunk))

    # Tools.

    def _tool_input_start(self, chunk: Chunk) -> None:
        self._inputs[str(chunk.get("toolCallId"))] = []
        self._tool(chunk, state="input-streaming")

    def _tool_input_delta(self, chunk: Chunk) -> None:
        call = str(chunk.get("toolCallId"))
        if (pieces := self._inputs.get(call)) is not None:
            pieces.append(str(chunk.get("inputTextDelta", "")))

    def _tool_input_available(self, chunk: Chunk) -> None:
        self._inputs.pop(str(chunk.get("toolCallId")), None)
        self._tool(chunk, state="input-available", input=chunk.get("input"))

    def _tool_input_error(self, chunk: Chunk) -> None:
        is_dynamic = _is_dynamic(chunk, self._call(chunk))
        given = {"input" if is_dynamic else "rawInput": chunk.get("input")}
        self._tool(chunk, state="output-error", errorText=chunk.get("errorText"), **given)

    def _tool_output_available(self, chunk: Chunk) -> None:
        self._result(chunk, state="output-available", output=chunk.get("output"))

    def _tool_output_error(self, chunk: Chunk) -> None:
        self._result(chunk, state="output-error", errorText=chunk.get("errorText"))

    def _tool_output_denied(self, chunk: Chunk) -> None:
        if (part := self._call(chunk)) is not None:
            part["state"] = "output-denied"

    def _tool_approval_request(self, chunk: Chunk) -> None:
        if (part := self._call(chunk)) is not None:
            part["state"] = "approval-requested"
            part["approval"] = {"id": chunk.get("approvalId")}

    def _call(self, chunk: Chunk) -> Part | None:
        call = chunk.get("toolCallId")
        found = (part for part in reversed(self._parts) if part.get("toolCallId") == call)
        return next(found, None)

    def _tool(self, chunk: Chunk, *, state: str, **fields: Any) -> None:
        part = self._call(chunk)
        if part is None:
            name, call = chunk.get("toolName"), chunk.get("toolCallId")
            kind = {"type": "dynamic-tool", "toolName": name}
            named: Part = kind if chunk.get("dynamic") else {"type": f"tool-{name}"}
            part = {**named, "toolCallId": call}
            self._parts.append(part)
        _set_tool(part, chunk, state, fields)

    def _result(self, chunk: Chunk, *, state: str, **fields: Any) -> None:
        part = self._call(chunk)
        if part is None:
            return
        kept: Part = {name: part[name] for name in ("input", "rawInput") if name in part}
        if chunk.get("preliminary") is not None:
            kept["preliminary"] = chunk["preliminary"]
        _set_tool(part, chunk, state, {**kept, **fields})

    # The message itself.

    def _start(self, chunk: Chunk) -> None:
        self._message_metadata(chunk)

    def _finish(self, chunk: Chunk) -> None:
        self._message_metadata(chunk)

    def _message_metadata(self, chunk: Chunk) -> None:
        found = chunk.get("messageMetadata")
        if isinstance(found, Mapping):
            for one in _as_json([found]):
                self.metadata = _merged(self.metadata, one)

    def _start_step(self, chunk: Chunk) -> None:
        self._parts.append({"type": "step-start"})

    def _finish_step(self, chunk: Chunk) -> None:
        for texts in (self._texts, self._reasonings):
            for text in texts.values():
                text.join()
            texts.clear()

    def _error(self, chunk: Chunk) -> None:
        self.error = str(chunk.get("errorText")) or "error"

    def _abort(self, chunk: Chunk) -> None:
        self.is_aborted = True


_CHUNKS = frozenset(
    {
        *("text-start", "text-delta", "text-end"),
        *("reasoning-start", "reasoning-delta", "reasoning-end"),
        *("file", "source-url", "source-document"),
        *("tool-input-start", "tool-input-delta", "tool-input-available", "tool-input-error"),
        *("tool-output-available", "tool-output-error", "tool-output-denied"),
        *("tool-approval-request", "start", "finish", "message-metadata"),
        *("start-step", "finish-step", "error", "abort"),
    }
)


def _as_json(parts: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """Yield parts as a client has them: dates, say, are text. One without JSON is on no stream."""
    for part in parts:
        try:
            yield storable(json.loads(json_line(part)))
        except WrongItem:
            continue


def _is_dynamic(chunk: Chunk, part: Part | None) -> bool:
    return bool(chunk.get("dynamic")) if part is None else part["type"] == "dynamic-tool"


def _set_tool(part: Part, chunk: Chunk, state: str, fields: Mapping[str, Any]) -> None:
    part["state"] = state
    for name in _TOOL_FIELDS:
        if fields.get(name, _MISSING) is not _MISSING:
            part[name] = fields[name]
        else:
            part.pop(name, None)
    part.update({name: chunk[name] for name in _KEPT if chunk.get(name) is not None})
    if (found := chunk.get("providerMetadata")) is not None:
        is_result = state in ("output-available", "output-error")
        part["resultProviderMetadata" if is_result else "callProviderMetadata"] = found


def _note_provider(part: Part, chunk: Chunk) -> None:
    if (found := chunk.get("providerMetadata")) is not None:
        part["providerMetadata"] = found


def _merged(before: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for name, value in more.items():
        old = merged.get(name)
        is_deep = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(old, value) if is_deep else value  # type: ignore[arg-type]
    return merged


def chunks_in(log: bytes) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a log, without half a frame at its end."""
    for frame in log.split(b"\n\n")[:-1]:
        try:
            chunk = json.loads(data_of(frame))
        except ValueError:  # a comment, or `[DONE]`
            continue
        if isinstance(chunk, dict):
            yield chunk
