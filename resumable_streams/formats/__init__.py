"""The wire formats: a byte log as a client sees it.

| name         | the log holds       | a client gets                                      |
|--------------|---------------------|----------------------------------------------------|
| `raw`        | anything            | the same bytes; the connection breaks at all but a |
|              |                     | clean end                                          |
| `ndjson`     | lines of JSON       | the same, as `raw`                                 |
| `sse`        | server-sent events  | the events with ids, then an event for the end     |
| `html`       | the same, with HTML | as `sse`                                           |
| `ui_message` | UI message parts    | the parts, then the AI SDK's terminal parts; the   |
|              |                     | connection breaks if the stream goes on            |
| `ag_ui`      | AG-UI events        | the events, then RUN_ERROR if the run failed; the  |
|              |                     | connection breaks if the stream goes on            |

A stream remembers its format by name (`attrs["format"]`), so that every reader gets the same.
A format has two sides. Its `ItemEncoder` writes what a source yields into the log, once. Its
`Encoder` makes the body of one reader of it: keep-alives, ids and terminal frames are made there,
and never stored. The setting FORMATS adds yours.
"""

from .ag_ui import AGUI, ag_ui
from .base import Encoder, Encodings, Format, Missing
from .frames import FrameEncoder
from .html import HTML, html
from .items import ItemEncoder, WrongItem, encoded
from .messages import MessageWriter
from .ndjson import NDJSON, ndjson
from .raw import Raw, raw
from .registry import format_of, get_format, load_format, register
from .sse import ServerSentEvents, come_back, sse
from .ui_message import RESUME, UIMessageStream, ui_message

__all__ = [
    "AGUI",
    "HTML",
    "NDJSON",
    "RESUME",
    "Encoder",
    "Encodings",
    "Format",
    "FrameEncoder",
    "ItemEncoder",
    "MessageWriter",
    "Missing",
    "Raw",
    "ServerSentEvents",
    "UIMessageStream",
    "WrongItem",
    "ag_ui",
    "come_back",
    "encoded",
    "format_of",
    "get_format",
    "html",
    "load_format",
    "ndjson",
    "raw",
    "register",
    "sse",
    "ui_message",
]
