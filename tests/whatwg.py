"""What a browser makes of an event stream: a small parser by the letter of the HTML standard.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import re
from dataclasses import dataclass

__all__ = ["BOM", "Event", "events"]

BOM = "\ufeff".encode()

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class Event:
    """An event as a page gets it."""

    type: str
    data: str
    last_event_id: str


def events(body: bytes) -> list[Event]:
    """Return the events of a whole body. What follows the last blank line is no event."""
    found: list[Event] = []
    data, name, last_id = "", "", ""
    for line in _LINE_END.split(body.removeprefix(BOM))[:-1]:  # the last one has no end
        text = line.decode("utf-8", "replace")
        if not text:
            if data:
                found.append(Event(name or "message", data.removesuffix("\n"), last_id))
            data, name = "", ""
            continue
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return found
