"""The events of the Agent-User Interaction protocol (AG-UI), version 1."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ..sse import data_frame, data_of, event
from ..types import StreamInfo, StreamStatus
from .base import Encoder, Format
from .frames import FrameEncoder
from .items import ItemEncoder
from .json_line import json_line
from .messages import MessageWriter, Part

__all__ = ["AGUI", "ag_ui"]

RESUME_CODE = "resume"
"""The code of the error at the end of a body whose stream goes on."""

TERMINAL = frozenset({"RUN_FINISHED", "RUN_ERROR"})

CLOSING = {
    "TEXT_MESSAGE_START": ("TEXT_MESSAGE_END", "messageId"),
    "TOOL_CALL_START": ("TOOL_CALL_END", "toolCallId"),
    "STEP_STARTED": ("STEP_FINISHED", "stepName"),
    "REASONING_START": ("REASONING_END", "messageId"),
    "REASONING_MESSAGE_START": ("REASONING_MESSAGE_END", "messageId"),
    "SUBAGENT_STARTED": ("SUBAGENT_FINISHED", "subagentRunId"),
}
"""The events that open something, the event that closes it, and the field that both have. Clients
fail a run that finishes while something is open."""


class AGUI(Format):
    """The events of AG-UI, as frames that have data and an id, and nothing else.

    The run and its thread are named by the attributes `run_id` and `thread_id` of the stream, or
    else by its id. A failed stream ends with RUN_ERROR, whose `code` is that of the failure. So
    does a cancelled one (`cancelled`): RUN_FINISHED would be refused while a message is open, and a
    body that starts in mid-run does not know whether one is. A body that ends before its stream is
    cut; a client that could not see that gets a RUN_ERROR with the code `resume`.
    """

    name = "ag_ui"
    content_type = "text/event-stream"
    is_framed = True

    def part(self, part: Mapping[str, Any]) -> bytes:
        """Encode one event, as in `part({"type": "STEP_STARTED", "stepName": "search"})`."""
        return data_frame(json_line(part))

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        return _RunWriter(info)

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return _RunEncoder(info.epoch, offset)


class _RunWriter(MessageWriter):
    """Text as a message of the assistant, with its start and end; a run around all events.

    The run is finished with whatever is still open in it: else its client would fail it.
    """

    remedy: ClassVar[str] = (
        "Yield str for text, or an event as a mapping with a `type`, such as "
        '{"type": "STATE_SNAPSHOT", "snapshot": …}.'
    )
    starts = frozenset({"RUN_STARTED", "RUN_ERROR"})
    ends = TERMINAL

    def __init__(self, info: StreamInfo) -> None:
        super().__init__()
        self._run = {
            "threadId": info.attrs.get("thread_id") or info.stream_id,
            "runId": info.attrs.get("run_id") or info.stream_id,
        }
        self._epoch = info.epoch
        self._open: dict[tuple[str, ...], Part] = {}

    def start_parts(self) -> list[Part]:
        return [{"type": "RUN_STARTED", **self._run}]

    def end_parts(self) -> list[Part]:
        return [*reversed(self._open.values()), {"type": "RUN_FINISHED", **self._run}]

    def text_id(self, number: int) -> str:
        # Messages of all runs of a thread share their ids.
        return f"{self._epoch}:{number}"

    def text_start(self, text_id: str) -> Part:
        return {"type": "TEXT_MESSAGE_START", "messageId": text_id, "role": "assistant"}

    def text_delta(self, text_id: str) -> Part:
        return {"type": "TEXT_MESSAGE_CONTENT", "messageId": text_id}

    def text_end(self, text_id: str) -> Part:
        return {"type": "TEXT_MESSAGE_END", "messageId": text_id}

    def note(self, kind: str, part: Part) -> None:
        super().note(kind, part)
        if kind in TERMINAL:
            self._is_started = False  # what follows is another run
            self._open.clear()
        elif kind in CLOSING:
            end, name = CLOSING[kind]
            closing = {"type": end, name: part.get(name)}
            if (agent := part.get("subagentRunId")) is not None:
                closing["subagentRunId"] = agent
            self._open[_key(closing, name)] = closing
        elif kind in _NAMES:
            self._open.pop(_key(part, _NAMES[kind]), None)


_NAMES = dict(CLOSING.values())


def _key(closing: Part, name: str) -> tuple[str, ...]:
    agent = closing.get("subagentRunId") if name == "stepName" else None
    return str(closing["type"]), str(closing.get(name)), str(agent)


class _RunEncoder(FrameEncoder):
    shares_frames = True

    def frame(self, data: bytes, end: int) -> bytes:
        self.last_frame = data
        return super().frame(data, end)

    def terminal(self, info: StreamInfo) -> bytes:
        if info.status is StreamStatus.DONE:
            return b""
        return self._run_error("The run was cancelled.", "cancelled")

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        return self._run_error(detail or f"The run ended with an error: {code}.", code)

    def interruption(self) -> None:
        """Cut the connection: a client takes a body that ends for the whole run."""

    def unseen_interruption(self) -> bytes:
        # Without an id: it stands nowhere in the log.
        return self._close_long_frame() + ag_ui.part(
            {"type": "RUN_ERROR", "message": "The connection ended: resume.", "code": RESUME_CODE}
        )

    def _run_error(self, message: str, code: str) -> bytes:
        """Return an error, unless the run has had its end: clients fail it for a second one."""
        if _is_terminal(self.last_frame):
            return b""
        part = json_line({"type": "RUN_ERROR", "message": message, "code": code})
        return event(part, event_id=self.last_id())


def _is_terminal(frame: bytes) -> bool:
    """Return whether a frame ends a run."""
    try:
        return json.loads(data_of(frame))["type"] in TERMINAL
    except (LookupError, TypeError, ValueError, RecursionError):
        return False


ag_ui = AGUI()
