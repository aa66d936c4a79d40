"""The tag `resumable_stream`: what it renders, and its words about wrong arguments."""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.template import Context, RequestContext, Template, TemplateSyntaxError
from django.test import RequestFactory
from django.urls import include, path
from django.utils.functional import lazystr
from pytest_django import Settings

from tests.tools.infos import make_info

urlpatterns = [path("streams/", include("resumable_streams.urls"))]
pytestmark = pytest.mark.urls(__name__)


def render(arguments: str, *, request: Any = None, **values: Any) -> str:
    source = f"{{% load resumable_streams %}}{{% resumable_stream {arguments} %}}"
    context = Context(values) if request is None else RequestContext(request, values)
    return Template(source).render(context)


class Elements(HTMLParser):
    """The attributes of each element, by its tag, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str | None]] = {}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in self.found
        self.found[tag] = dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_address_needs_nothing_else():
    page = Elements(render("'/streams/s/'"))
    assert page.found == {
        "script": {"type": "module", "src": "/static/resumable_streams/element.js"},
        "resumable-stream": {"src": "/streams/s/"},
        "noscript": {},
    }
    assert page.text == "This part of the page needs JavaScript."


def test_a_stream_is_found_by_its_id():
    page = Elements(render("stream", stream=make_info(stream_id="s-1")))
    assert page.found["resumable-stream"] == {"src": "/streams/s-1/"}
    assert Elements(render("url", url=lazystr("/x/"))).found["resumable-stream"] == {"src": "/x/"}


def test_each_option_is_an_attribute_and_all_are_escaped():
    options = "format='html' target=target replace=True id='answer' fallback=fallback nonce=nonce"
    evil = "\"><script>alert('x')</script>"
    html = render(f"url {options}", url=evil, target=evil, fallback=evil, nonce=evil)
    page = Elements(html)
    assert page.found["resumable-stream"] == {
        "src": evil,
        "format": "html",
        "target": evil,
        "replace": None,
        "id": "answer",
    }
    assert page.found["script"]["nonce"] == page.text == evil


def test_a_post_brings_the_token_of_the_request():
    request = RequestFactory().get("/")
    page = Elements(render("'/answer/' method='post'", request=request))
    assert page.found["resumable-stream"]["method"] == "post"
    assert page.found["input"]["type"] == "hidden"
    assert page.found["input"]["name"] == "csrfmiddlewaretoken"
    assert len(page.found["input"]["value"] or "") == 64
    assert "CSRF_COOKIE_NEEDS_UPDATE" in request.META


@pytest.mark.parametrize("of_request", [False, True])
def test_the_nonce_of_the_page_is_taken_where_it_has_one(of_request: bool):
    request: Any = RequestFactory().get("/")
    if of_request:
        request.csp_nonce = "abc"  # of django-csp
    values = {} if of_request else {"csp_nonce": lazystr("abc")}  # of Django 6
    page = Elements(render("'/x/'", request=request, **values))
    assert page.found["script"]["nonce"] == "abc"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "did not receive value"),
        ("'/x/' formt='html'", "unexpected keyword argument 'formt'"),
        ("'/x/' '/y/'", "too many positional arguments"),
        ("'/x/' format='json'", 'format is \'json\', and has to be "text" or "html"'),
        ("'/x/' method='put'", 'method is \'put\', and has to be "get" or "post"'),
        ("missing", "first argument is empty. Give it the address of a stream"),
        ("number", "first argument is int. Give it the address of a stream"),
        ("'/x/' method='post'", "needs a CSRF token. Render the template with the request"),
    ],
)
def test_wrong_arguments_are_explained(arguments: str, words: str):
    with pytest.raises(TemplateSyntaxError, match=words.replace("(", r"\(")):
        render(arguments, number=3)


def test_a_stream_without_its_addresses_is_explained(settings: Settings):
    settings.ROOT_URLCONF = "tests.urls"
    with pytest.raises(TemplateSyntaxError, match=r"does not include resumable_streams\.urls"):
        render("stream", stream=make_info())
