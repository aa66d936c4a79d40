"""One line of JSON, as the log has it."""

from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from .items import WrongItem, as_mapping

__all__ = ["json_line"]


def json_line(value: Mapping[str, Any] | str) -> bytes:
    """Encode compactly: assistant-ui looks for the exact bytes `"type":"finish"`.

    No character of it ends a line, for any client. Raises WrongItem for a value without JSON, such
    as NaN and infinity, which no browser reads.
    """
    try:
        line = _COMPACT.encode(value)
        return (line if line.isascii() else line.translate(_LINE_ENDS)).encode()
    except UnicodeEncodeError:
        # Half a surrogate pair (a token that ends inside an emoji) has no UTF-8, but an escape.
        return _ASCII.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise WrongItem(value, f"It has no JSON: {error}.") from error


class _Encoder(DjangoJSONEncoder):
    """Dates, UUIDs and decimals as Django writes them; dataclasses and models, at any depth."""

    def default(self, o: Any) -> Any:
        mapping = as_mapping(o)
        return super().default(o) if mapping is None else dict(mapping)


_COMPACT = _Encoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII = _Encoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))

_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""Line ends to `str.splitlines`, with which some clients look for lines. They stand in strings."""
