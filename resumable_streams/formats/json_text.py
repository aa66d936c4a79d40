"""JSON for the frames of a stream."""

import json
from collections.abc import Mapping
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from .items import as_mapping

__all__ = ["json_text"]


def json_text(value: Mapping[str, Any]) -> str:
    """Encode compactly: assistant-ui looks for the exact bytes `"type":"finish"`.

    Raises TypeError for what JSON has no word for, and ValueError for NaN and infinity, which no
    browser reads.
    """
    text = _dumps(value, ensure_ascii=False)
    # Half a surrogate pair (a token that ends inside an emoji) has no UTF-8, but an escape.
    return text if _is_unicode(text) else _dumps(value, ensure_ascii=True)


class _Encoder(DjangoJSONEncoder):
    """Dates, UUIDs and decimals as Django writes them; dataclasses and models, at any depth."""

    def default(self, o: Any) -> Any:
        mapping = as_mapping(o)
        return super().default(o) if mapping is None else dict(mapping)


def _dumps(value: Mapping[str, Any], *, ensure_ascii: bool) -> str:
    return json.dumps(
        value, cls=_Encoder, ensure_ascii=ensure_ascii, allow_nan=False, separators=(",", ":")
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
