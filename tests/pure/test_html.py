"""Fragments of HTML: text stays text, HTML stays as it was rendered, and each is one event."""

import dataclasses
import json
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.template import TemplateDoesNotExist
from django.template.backends.base import BaseEngine
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from resumable_streams.formats import WrongItem, get_format
from resumable_streams.sse import event
from tests.tools.infos import make_info
from tests.whatwg import Event, events

from .test_what_clients_decode import FORGED, TEXTS, as_event

MARKUP = st.sampled_from(["<b>", "</p>\r\n<p>", "\n", "<!-- ", "&amp;", "ä€😀", "\nevent: done\n"])
HTMLS = st.lists(MARKUP, min_size=1).map("".join).map(SafeString)


@dataclasses.dataclass
class Row:
    name: str
    owner: Any


class Markup(str):
    """Safe text as libraries beside Django have it."""

    def __html__(self) -> str:
        return self


class OtherEngine(BaseEngine):
    """An engine that renders to plain text, as that of Jinja2 does."""

    app_dirname = ""

    def __init__(self, params: Any) -> None:
        params.pop("OPTIONS")
        super().__init__(params)

    def get_template(self, template_name: str) -> Any:
        if template_name != "other.html":
            raise TemplateDoesNotExist(template_name)
        return self

    def render(self, context: Any = None, request: Any = None) -> str:
        return f"<li>{context['name']}</li>"


def writer(template: str = "") -> Any:
    attrs = {"format": "html", "fragment_template": template}
    return get_format("html").item_encoder(make_info(attrs=attrs))


def body(*items: Any, end_event: str = "", template: str = "") -> bytes:
    encode = writer(template)
    log = b"".join(map(encode.encode, items))
    attrs = {"end_event": end_event}
    wire = get_format("html").encoder(make_info(attrs=attrs), 0)
    return wire.encode(log) + wire.end(make_info("done", len(log), attrs=attrs))


def fragments(*items: Any, template: str = "") -> list[str]:
    *found, last = events(body(*items, template=template))
    assert (last.type, last.data) == ("done", '{"status":"done"}')
    assert {one.type for one in found} <= {"fragment"}
    assert [one for one in found if not one.last_event_id.startswith("e-")] == []
    return [one.data for one in found]


class _Tags(HTMLParser):
    def handle_starttag(self, tag: str, attrs: Any) -> None:
        pytest.fail(f"<{tag}>")

    handle_endtag = handle_comment = handle_decl = handle_pi = handle_starttag  # type: ignore[assignment]


@given(st.lists(TEXTS | HTMLS, max_size=6))
@example([*FORGED, "<script>alert(1)</script>", "&lt;", SafeString("<p>\n\n</p>")])
def test_a_client_gets_text_as_text_and_html_as_it_was_rendered(items: Sequence[str]):
    expected = [item for item in items if item]
    found = fragments(*items)
    assert len(found) == len(expected)
    for fragment, item in zip(found, expected, strict=True):
        is_html = isinstance(item, SafeString)
        assert (fragment if is_html else unescape_all(fragment)) == as_event(item)
        if not is_html:
            _Tags().feed(fragment)


def unescape_all(fragment: str) -> str:
    """Return the text that a page shows; every ampersand of it is escaped."""
    assert fragment.replace("&", "").count("<") == fragment.count(">") == 0
    for escaped, character in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x27;", "'")]:
        fragment = fragment.replace(escaped, character)
    return fragment.replace("&amp;", "&")


def test_the_text_of_a_model_is_no_markup():
    assert fragments("<img src=x onerror=alert(1)>") == ["&lt;img src=x onerror=alert(1)&gt;"]
    assert unescape(fragments("a & b <c> \"d\" 'e'")[0]) == "a & b <c> \"d\" 'e'"


def test_safe_text_is_a_fragment():
    made = format_html("<li>{}</li>", "<b>")
    assert fragments(mark_safe("<p>\n</p>"), made, Markup("<i></i>")) == [
        "<p>\n</p>",
        "<li>&lt;b&gt;</li>",
        "<i></i>",
    ]


def test_bytes_are_events_of_the_source():
    found = events(body(event("<p></p>", "sidebar"), "a"))
    assert [(one.type, one.data) for one in found[:2]] == [
        ("sidebar", "<p></p>"),
        ("fragment", "a"),
    ]


def test_an_end_without_an_event_has_an_id_only():
    assert body("a", end_event="none").endswith(b"\n\nid: e-end\n\n")
    assert events(body("a", end_event="none")) == [Event("fragment", "a", "e-25")]


@pytest.fixture
def templates(tmp_path: Path, settings: Settings) -> Path:
    """Provide a template for each of two engines."""
    (tmp_path / "row.html").write_text("<li>\n{{ name }}\n{{ owner.name }}</li>\n")
    (tmp_path / "empty.html").write_text("{% if 0 %}never{% endif %}")
    settings.TEMPLATES = [
        {"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [tmp_path]},
        {"BACKEND": f"{__name__}.OtherEngine", "DIRS": [], "APP_DIRS": False},
    ]
    return tmp_path


@pytest.mark.usefixtures("templates")
def test_a_mapping_and_a_dataclass_are_the_context_of_the_template():
    inner = Row("<b>", None)
    expected = "<li>\n&lt;i&gt;\n&lt;b&gt;</li>\n"
    assert fragments({"name": "<i>", "owner": inner}, template="row.html") == [expected]
    assert fragments(Row("<i>", inner), template="row.html") == [expected]
    assert fragments({"name": "i"}, template="other.html") == ["<li>i</li>"]
    assert fragments({}, "text", template="empty.html") == ["text"]


@pytest.mark.parametrize("item", [{"x": 1}, Row("a", None), None, 1, ["a"], Row])
def test_an_item_that_is_no_fragment_is_refused_with_a_remedy(item: Any):
    with pytest.raises(WrongItem, match=r"cannot yield \w+\. Yield str .* `fragment_template`"):
        writer().encode(item)


def test_items_that_need_a_template_block():
    encode = writer("row.html")
    items: list[Any] = ["a", mark_safe("a"), b"a", {}, Row("a", 1)]
    assert [encode.blocks(item) for item in items] == [*[False] * 3, *[True] * 2]


def test_another_incarnation_resets_and_a_failure_is_told():
    wire = get_format("html").encoder(make_info(), 0, reset=True)
    (reset,) = events(wire.opening())
    assert (reset.type, json.loads(reset.data)) == ("reset", {"offset": 0})
    (failed,) = events(wire.failure(make_info("error"), "source_failed", "") or b"")
    assert (failed.type, json.loads(failed.data)["code"]) == ("error", "source_failed")
    assert (wire.interruption() or b"").startswith(b"retry: ")
