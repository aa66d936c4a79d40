"""JSON for the frames of a stream."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["json_text"]


def json_text(value: Mapping[str, Any]) -> str:
    """Encode compactly: assistant-ui looks for the exact bytes `"type":"finish"`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half a surrogate pair (a token that ends inside an emoji) has no UTF-8, but an escape.
    return text if _is_unicode(text) else json.dumps(value, separators=(",", ":"))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
