"""The UI message stream protocol of the AI SDK."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ..sse import data_frame, event
from ..types import StreamInfo, StreamStatus
from .base import Encoder, Format, Missing
from .frames import FrameEncoder
from .items import ItemEncoder
from .json_line import json_line
from .messages import MessageWriter, Part

__all__ = ["RESUME", "UIMessageStream", "ui_message"]


class UIMessageStream(Format):
    """The AI SDK's UI message stream protocol, version 1.

    The source yields text, parts as mappings, or `part(…)`s. A failed stream ends with an `error`
    part, a cancelled one with `abort`, and both, like a done one, with `[DONE]`. The client
    refuses parts it does not know, so that nothing else is ever sent, except comments and ids. A
    body that ends before its stream does is cut, so that the client knows; where it could not see
    that, it gets an `error` part with the text RESUME.
    """

    name = "ui_message"
    content_type = "text/event-stream"
    headers = {"x-vercel-ai-ui-message-stream": "v1"}
    missing = Missing.NO_CONTENT
    is_framed = True

    def part(self, part: Mapping[str, Any]) -> bytes:
        """Encode one part, as in `part({"type": "text-delta", "id": "0", "delta": "Hel"})`."""
        return data_frame(json_line(part))

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        return _PartWriter()

    def encoder(self, info: StreamInfo, offset: int, *, reset: bool = False) -> Encoder:
        return _PartEncoder(info.epoch, offset)


class _PartWriter(MessageWriter):
    """Text as a text part, with its start and end; `start` and `finish` around all parts."""

    remedy: ClassVar[str] = (
        "Yield str for text, or a part as a mapping with a `type`, such as "
        '{"type": "data-weather", "data": …}.'
    )
    starts = frozenset({"start"})
    ends = frozenset({"finish", "error", "abort"})

    def start_parts(self) -> list[Part]:
        return [{"type": "start"}]

    def end_parts(self) -> list[Part]:
        return [{"type": "finish"}]

    def text_id(self, number: int) -> str:
        return f"text:{number}"

    def text_start(self, text_id: str) -> Part:
        return {"type": "text-start", "id": text_id}

    def text_delta(self, text_id: str) -> Part:
        return {"type": "text-delta", "id": text_id}

    def text_end(self, text_id: str) -> Part:
        return {"type": "text-end", "id": text_id}


class _PartEncoder(FrameEncoder):
    shares_frames = True

    def frame(self, data: bytes, end: int) -> bytes:
        self.last_frame = data
        return super().frame(data, end)

    def terminal(self, info: StreamInfo) -> bytes:
        abort = info.status is StreamStatus.CANCELLED
        return (ui_message.part({"type": "abort"}) if abort else b"") + self._done()

    def error(self, info: StreamInfo, code: str, detail: str) -> bytes:
        text = detail or f"The stream ended with an error: {code}."
        return ui_message.part({"type": "error", "errorText": text}) + self._done()

    def interruption(self) -> None:
        """Cut the connection: a client takes a body that ends for the whole answer."""

    def unseen_interruption(self) -> bytes:
        # Without `[DONE]`, as it is not, and without an id: it stands nowhere in the log.
        return self._close_long_frame() + ui_message.part({"type": "error", "errorText": RESUME})

    def _done(self) -> bytes:
        is_there = self.last_frame.strip() == b"data: " + _DONE
        return b"" if is_there else event(_DONE, event_id=self.last_id())


RESUME = "The connection ended before the answer did: resume."
"""The text of the error at the end of a body whose stream goes on. The part has no room for a code:
clients refuse what they do not know."""

_DONE = b"[DONE]"


ui_message = UIMessageStream()
