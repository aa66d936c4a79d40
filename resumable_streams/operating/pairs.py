"""The fields of a log record as `key=value`, on one line whatever they hold."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["Pairs"]

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")


class Pairs:
    """Fields as text, for the message of a log record; written only if it is printed.

    A field without a value is left out. A value with spaces, quotes or control characters is
    quoted as in JSON.
    """

    __slots__ = ("_but", "_fields")

    def __init__(self, fields: Mapping[str, Any], *, but: Collection[str] = ()):
        self._fields = fields
        self._but = but

    def __str__(self) -> str:
        return " ".join(
            f"{name}={_quoted(value)}"
            for name, value in self._fields.items()
            if name not in self._but and value not in (None, "", {})
        )


def _quoted(value: Any) -> str:
    if isinstance(value, bool | Mapping):
        return json.dumps(value, separators=(",", ":"))
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
