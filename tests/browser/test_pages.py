"""The pages of docs/code, in Chromium: each fragment once, in order, whatever the network does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import launch

from .link import Link
from .pages_site import BETWEEN, NPM, SHOWN

pytestmark = pytest.mark.timeout(180)

APPLICATION = "resumable_streams.asgi:get_asgi_application"
WHOLE = "".join(f"{text}{BETWEEN}" for text in SHOWN)
FALLBACK = "This answer needs JavaScript."
PLACES = {"element": "resumable-stream", "strict": "resumable-stream"}
COUNT_BODIES = """
    window.bodies = 0;
    const { EventSource: Source } = window;
    window.EventSource = class extends Source {
        constructor(url) {
            super(url);
            this.addEventListener("open", () => (window.bodies += 1));
        }
    };
"""
OF_THE_NETWORK = "Failed to load resource"


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    """Serve the pages behind a network that can be cut."""
    with served(tmp_path) as network:
        yield network


@contextmanager
def served(folder: Path, **more: str) -> Iterator[Link]:
    assert (NPM / "htmx.org").is_dir(), "Run `npm ci` in tests/npm first; `make e2e` does."
    environment = {"DJANGO_SETTINGS_MODULE": "tests.browser.pages_site", **more}
    command = f"-m uvicorn --factory --port {{port}} {APPLICATION}"
    with launch(command, environment, folder / "log") as server:
        network = Link(server.url)
        yield network
        network.close()


class Follower:
    """A page that follows a stream, and the errors in its console."""

    def __init__(self, visitor: Any, link: Link, name: str) -> None:
        self.page, self.link = visitor.new_page(), link
        self.errors: list[str] = []
        self.page.on("console", self._hear)
        self.page.goto(f"{link.address}/{name}/")
        self.place = PLACES.get(name, "#answer")

    def _hear(self, message: Any) -> None:
        # Chromium itself logs each request that is cut or refused.
        if message.type == "error" and OF_THE_NETWORK not in message.text:
            self.errors.append(message.text)

    def count(self) -> int:
        found: int = self.page.locator(f"{self.place} > p").count()
        return found

    def text(self) -> str:
        found: str = self.page.locator(self.place).evaluate("place => place.textContent")
        return found

    def wait_for(self, count: int) -> None:
        """Wait until the page has that many fragments, or more."""
        arguments = [f"{self.place} > p", count]
        has = "([place, count]) => document.querySelectorAll(place).length >= count"
        self.page.wait_for_function(has, arg=arguments, timeout=60_000)

    def wait_for_all(self) -> None:
        """Wait until the page has the last fragment, and the text after it."""
        self.wait_for(len(SHOWN))
        self.page.wait_for_function(
            "([place, end]) => document.querySelector(place).textContent.endsWith(end)",
            arg=[self.place, SHOWN[-1] + BETWEEN],
        )

    def cut(self, times: int, refuse_at: int) -> None:
        """Break the connection after some more fragments each time; once, refuse what follows."""
        for number in range(times):
            self.wait_for(self.count() + 2)
            if number == refuse_at:
                self.link.refuse(1)
            self.link.cut(silently=False)
            self.link.mend()
        self.wait_for(len(SHOWN))
        assert self.link.refused == 1


@pytest.mark.parametrize(("name", "cuts"), [("htmx", 5), ("element", 5), ("event-source", 10)])
def test_each_fragment_comes_once_over_cuts_and_a_503(
    link: Link, visitor: Any, name: str, cuts: int
) -> None:
    follower = Follower(visitor, link, name)
    follower.cut(cuts, refuse_at=cuts // 2)
    follower.wait_for_all()
    assert follower.text() == WHOLE
    assert follower.errors == []


def test_an_event_source_has_each_event_once_over_ten_ends_by_the_server_and_a_503(
    tmp_path: Path, visitor: Any
) -> None:
    with served(tmp_path, MAX_RESPONSE_SECONDS="1", PACE="0.3") as link:
        visitor.add_init_script(COUNT_BODIES)
        follower = Follower(visitor, link, "event-source")
        follower.wait_for(20)
        link.refuse(1)
        link.cut(silently=False)  # a connection that is kept would not be refused
        link.mend()
        follower.wait_for_all()
        assert follower.text() == WHOLE
        assert link.refused == 1
        assert follower.page.evaluate("bodies") > 10
        assert follower.errors == []


@pytest.mark.parametrize("is_refused", [True, False])
def test_the_extension_of_htmx_alone_begins_again(
    link: Link, visitor: Any, is_refused: bool
) -> None:
    follower = Follower(visitor, link, "stock")
    follower.wait_for(10)
    if is_refused:
        link.refuse(1)
        link.cut(silently=False)
        link.mend()
    follower.wait_for(len(SHOWN) + 5)  # without a 503: after the end
    assert link.refused == is_refused


@pytest.mark.parametrize("name", ["htmx", "event-source", "element"])
def test_a_page_that_is_loaded_again_joins_the_running_answer(
    link: Link, visitor: Any, name: str
) -> None:
    follower = Follower(visitor, link, name)
    follower.wait_for(5)
    follower.page.reload()
    follower.wait_for(len(SHOWN))
    assert WHOLE.startswith(follower.text())


@pytest.mark.parametrize("name", ["htmx", "event-source", "element"])
def test_a_page_asks_no_more_when_its_stream_is_over(link: Link, visitor: Any, name: str) -> None:
    follower = Follower(visitor, link, name)
    follower.wait_for(5)
    requests: list[str] = []
    follower.page.on("request", lambda request: requests.append(request.url))
    follower.wait_for(len(SHOWN))
    follower.page.wait_for_timeout(4_000)  # longer than any of them waits between two tries
    assert requests == []


def test_the_element_works_under_a_strict_policy(link: Link, visitor: Any) -> None:
    follower = Follower(visitor, link, "strict")
    follower.wait_for(10)
    assert follower.errors == []


def test_the_element_fills_another_with_the_last_fragment_alone(link: Link, visitor: Any) -> None:
    first = Follower(visitor, link, "element")
    address = first.page.locator("resumable-stream").get_attribute("src")
    page = visitor.new_page()
    page.goto(f"{link.address}/target/?url={address}")
    page.locator("resumable-stream[state=ended]").wait_for(state="attached", timeout=60_000)
    assert page.locator("#answer").inner_text() == BETWEEN.strip()
    assert page.locator("resumable-stream noscript").count() == 1


def test_without_scripts_the_fallback_is_shown(link: Link, chromium: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{link.address}/element/")
    assert page.locator("noscript").inner_text() == FALLBACK
    context.close()
