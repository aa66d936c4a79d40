"""What befalls pages: sleep, no network, the back button, closed tabs, killed servers, log-outs.

Afterwards a page has each fragment once and in order, or a part of them and a typed end.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import Server, launch

from .link import Link
from .test_page import ask, assert_whole, open_chat, wait_for_status, wait_for_words
from .test_pages import APPLICATION, WHOLE, Follower, link
from .test_wire import wait_for_event

__all__ = ["link"]

pytestmark = pytest.mark.timeout(180)

PAGES = pytest.mark.parametrize("name", ["htmx", "event-source", "element"])
REST_MS = 4_000  # longer than any page waits between two tries


class SharedSite:
    """The site of the pages on Redis, whose server can be killed and replaced."""

    def __init__(self, folder: Path, environment: dict[str, str], running: ExitStack) -> None:
        self._folder, self._environment, self._running = folder, environment, running
        self.server = self._start()
        self.link = Link(self.server.url)

    def _start(self) -> Server:
        command = f"-m uvicorn --factory --port {{port}} {APPLICATION}"
        return self._running.enter_context(launch(command, self._environment, self._folder / "log"))

    def kill(self) -> None:
        """Kill the server as power loss would; another one takes its place."""
        self.server.kill()
        self.server = self._start()
        self.link.lead_to(self.server.url)


@pytest.fixture
def shared(tmp_path: Path, redis_url: str, key_prefix: str) -> Iterator[SharedSite]:
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.browser.pages_site",
        "REDIS_URL": redis_url,
        "KEY_PREFIX": key_prefix,
    }
    with ExitStack() as running:
        site = SharedSite(tmp_path, environment, running)
        running.callback(site.link.close)
        yield site


def put_to_sleep(page: Any, *, until: Any) -> None:
    """Freeze the timers and tasks of a page, as a laptop does that sleeps."""
    session = page.context.new_cdp_session(page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    until()
    session.send("Page.setWebLifecycleState", {"state": "active"})


def assert_silent(follower: Follower) -> str:
    """Return the text of a page that asks for nothing any more."""
    requests: list[str] = []
    follower.page.on("request", lambda request: requests.append(request.url))
    follower.page.wait_for_timeout(REST_MS)
    assert requests == []
    assert WHOLE.startswith(follower.text())
    return follower.text()


@PAGES
def test_pages_sleep_leave_and_come_back(link: Link, visitor: Any, name: str) -> None:
    page, other = Follower(visitor, link, name), Follower(visitor, link, name)
    page.wait_for(3)
    other.wait_for(3)
    put_to_sleep(page.page, until=lambda: other.wait_for(other.count() + 10))
    other.page.close()
    visitor.set_offline(True)
    link.cut(silently=False)
    page.page.wait_for_timeout(5_000)
    link.mend()
    visitor.set_offline(False)
    page.wait_for(page.count() + 1)
    page.page.goto(f"{link.address}/")
    page.page.go_back()
    again = Follower(visitor, link, name)
    for one in (page, again):
        one.wait_for_all()
        assert one.text() == WHOLE
        assert one.errors == []


@PAGES
def test_a_killed_server_is_a_typed_end(shared: SharedSite, visitor: Any, name: str) -> None:
    follower = Follower(visitor, shared.link, name)
    follower.wait_for(5)
    with follower.page.expect_response(is_of_another_body, timeout=60_000) as answered:
        shared.kill()
    assert "producer_lost" in follower.page.request.get(answered.value.url).text()
    assert assert_silent(follower) != ""
    if name == "element":
        assert follower.page.locator("resumable-stream").get_attribute("state") == "failed"


def is_of_another_body(response: Any) -> bool:
    return "/streams/" in response.url and response.status == 200


@PAGES
def test_a_stopped_stream_is_an_end(link: Link, visitor: Any, name: str) -> None:
    follower = Follower(visitor, link, name)
    follower.wait_for(5)
    follower.page.request.get(f"{link.address}/stop/")
    assert len(assert_silent(follower)) < len(WHOLE)


@PAGES
def test_a_page_whose_visitor_logs_out_gives_up(link: Link, visitor: Any, name: str) -> None:
    follower = Follower(visitor, link, name)
    follower.wait_for(5)
    follower.page.request.get(f"{link.address}/log-out/")
    last = "HEAD" if name == "event-source" else "GET"  # it cannot tell a 404 from a 503
    with follower.page.expect_response(
        lambda response: response.status == 404 and response.request.method == last
    ):
        link.cut(silently=False)
        link.mend()
    assert len(assert_silent(follower)) < len(WHOLE)


def test_a_chat_sleeps_and_is_left_and_returned_to(serve: Any, visitor: Any) -> None:
    address = serve(DEMO_RATE="150")
    page = open_chat(visitor, address)
    ask(page)
    wait_for_words(page, 20)
    put_to_sleep(page, until=lambda: page.context.new_page().wait_for_timeout(2_000))
    page.goto("about:blank")
    page.go_back()
    wait_for_status(page, "Live")
    wait_for_status(page, "Ended")
    assert_whole(page)


def test_a_chat_whose_tab_is_closed_goes_on_in_another(serve: Any, visitor: Any) -> None:
    address = serve(DEMO_RATE="150")
    page = open_chat(visitor, address)
    ask(page)
    wait_for_words(page, 20)
    page.close()
    page = open_chat(visitor, address)
    wait_for_status(page, "Live")
    wait_for_status(page, "Ended")
    assert_whole(page)


def test_a_chat_of_a_visitor_who_logs_out_shows_nothing_of_it(serve: Any, visitor: Any) -> None:
    page = open_chat(visitor, serve(DEMO_RATE="30"))
    ask(page)
    wait_for_words(page, 10)
    visitor.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Cut the connection").click()
    wait_for_event(page, "Gone")
    wait_for_status(page, "Ready")
    assert page.locator("#messages > li").count() == 0
