"""Fragments of HTML as server-sent events: rendered here, inserted by a page as they are."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

from django.template.loader import render_to_string
from django.utils.html import conditional_escape
from django.utils.safestring import mark_safe

from ..sse import event
from ..types import StreamInfo
from .items import ItemEncoder, WrongItem, utf8
from .sse import ServerSentEvents

__all__ = ["FRAGMENT", "HTML", "html"]

FRAGMENT = "fragment"
"""The name of the events. A page that inserts these, and only these, inserts no text of `sse`."""


class HTML(ServerSentEvents):
    """Server-sent events whose data is HTML: one event `fragment` for each item.

    Text is escaped, so no text of a model becomes markup. Text that is marked safe is a fragment
    as it is. A mapping or a dataclass is the context of the template that the attribute
    `fragment_template` of the stream names. Ids, resets and ends are those of `sse`.
    """

    name = "html"

    def item_encoder(self, info: StreamInfo) -> ItemEncoder:
        return _FragmentWriter(info.attrs.get("fragment_template"))


class _FragmentWriter(ItemEncoder):
    """Text and safe text as fragments; mappings through a template, in the producer's thread.

    Templates are read from files, and may use the ORM, so they would block the home loop.
    """

    remedy: ClassVar[str] = (
        "Yield str for text, mark_safe(…) for HTML, or name a `fragment_template` in the view and "
        "yield a mapping: it is the context of the template."
    )

    def __init__(self, template: str | None) -> None:
        self._template = template

    def blocks(self, item: Any) -> bool:
        return not isinstance(item, str | bytes | bytearray | memoryview)

    def encode(self, item: Any) -> bytes:
        if is_dataclass(item) and not isinstance(item, type):
            # Not `asdict`: it would copy what a template may want as it is, such as a model.
            item = {field.name: getattr(item, field.name) for field in fields(item)}
        return super().encode(item)

    def text(self, text: str) -> bytes:
        return event(utf8(conditional_escape(text)), FRAGMENT) if text else b""

    def part(self, part: Mapping[str, Any], item: Any) -> bytes:
        if not self._template:
            raise WrongItem(item, self.remedy)
        rendered = render_to_string(self._template, dict(part))
        return self.text(mark_safe(rendered))  # noqa: S308  # of Jinja2 it is plain text


html = HTML()
