"""The pages in React: useChat, assistant-ui and a hook show the whole answer, or how it ended."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from example_project.chat.llm import SCRIPT
from tests.acceptance.servers import ROOT, launch, migrate

from .axe import violations
from .link import Link
from .test_misfortunes import put_to_sleep
from .test_page import ask, fetch, wait_for_status, wait_for_words
from .test_wire import DEMO

pytestmark = pytest.mark.timeout(180)

FRONTEND = ROOT / "example_project" / "frontend"
TEXT = SCRIPT.read_text(encoding="utf-8")
ADDRESSES = ["/react/", "/react/assistant-ui", "/react/hook"]
PHONE = {"width": 390, "height": 844}

BELOW = "({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight"

# The process that answers may be the one that is killed: ask until that one is not there.
KILL = """async (stream) => {
    const [, token] = /csrftoken=([^;]+)/.exec(document.cookie);
    const headers = { "X-CSRFToken": token };
    const request = fetch(`/api/kill/${stream}`, { method: "POST", headers });
    return request.then(({ status }) => status, () => 0);
}"""


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    """Build the pages, and serve them from two processes behind a network that can be cut."""
    build()
    folder = tmp_path_factory.mktemp("react")
    environment = {
        "DEMO_DB": str(folder / "demo.sqlite3"),
        "DEMO_RATE": "30",
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "WEB_CONCURRENCY": "2",
    }
    migrate(environment)
    with launch(DEMO, environment, folder / "log") as server:
        network = Link(server.url)
        yield network
        network.close()


def build() -> None:
    """Check the types, then build."""
    npm = shutil.which("npm")
    assert npm, "npm is missing."
    assert (FRONTEND / "node_modules").is_dir(), f"Run `npm ci` in {FRONTEND} first."
    command = [npm, "run", "build"]
    done = subprocess.run(command, cwd=FRONTEND, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def pages(link: Link, visitor: Any) -> list[Any]:
    """Open each page, then ask in all of them."""
    tabs = [opened(visitor, f"{link.address}{address}") for address in ADDRESSES]
    for page in tabs:
        ask(page)
    return tabs


def opened(visitor: Any, address: str) -> Any:
    page = visitor.new_page()
    page.set_default_timeout(60_000)  # the answer alone takes 20 seconds
    page.goto(address)
    page.locator("#status-text").wait_for()
    return page


def text_of(page: Any) -> str:
    found: str = page.locator(".assistant .body").last.evaluate("element => element.textContent")
    return found


def assert_running(page: Any) -> None:
    """Wait for more words than a page just loaded may have, before the last of them."""
    wait_for_words(page, 5)
    assert len(text_of(page)) < len(TEXT)


def test_the_text_is_whole_after_a_reload_without_a_network_and_in_a_second_tab(
    link: Link, visitor: Any, pages: list[Any]
) -> None:
    for page in pages:
        assert_running(page)
        page.reload()
    tabs = [opened(visitor, page.url) for page in pages]
    for tab in (*pages, *tabs):
        assert_running(tab)
    visitor.set_offline(True)
    link.cut(silently=False)
    pages[0].wait_for_timeout(3_000)
    link.mend()
    visitor.set_offline(False)
    for tab in (*pages, *tabs):
        wait_for_status(tab, "Ended")
        assert text_of(tab) == TEXT
        assert tab.locator(".message").count() == 2
        assert tab.locator("#page").evaluate(BELOW) < 50


def test_the_text_is_whole_after_sleep_the_back_button_and_in_a_tab_opened_again(
    visitor: Any, pages: list[Any]
) -> None:
    other = visitor.new_page()
    for page in pages:
        assert_running(page)
        put_to_sleep(page, until=lambda: other.wait_for_timeout(1_000))
    tabs = [opened(visitor, page.url) for page in pages]
    for page, tab in zip(pages, tabs, strict=True):
        tab.close()
        page.goto("about:blank")
        page.go_back()
    for tab in (*pages, *(opened(visitor, page.url) for page in pages)):
        wait_for_status(tab, "Ended")
        assert text_of(tab) == TEXT


def test_a_visitor_who_logs_out_keeps_what_was_read(
    link: Link, visitor: Any, pages: list[Any]
) -> None:
    for page in pages:
        assert_running(page)
    visitor.clear_cookies(name="sessionid")
    link.cut(silently=False)
    link.mend()
    for page in pages:
        assert "stream_not_found" in wait_for_status(page, "Failed")
        assert TEXT.startswith(text_of(page))


def test_the_end_of_a_killed_process_is_shown_with_the_words_so_far(pages: list[Any]) -> None:
    for page in pages:
        assert_running(page)
    streams = [running(page) for page in pages]
    for page, stream in zip(pages, streams, strict=True):
        while page.evaluate(KILL, stream) != 404:
            pass
    for page in pages:
        assert "producer_lost" in wait_for_status(page, "Failed")
        assert TEXT.startswith(text_of(page))


def running(page: Any) -> str:
    (chat,) = parse_qs(urlsplit(page.url).query)["chat"]
    return str(fetch(page, f"/api/chat/{chat}").json()["running"])


@pytest.mark.parametrize("address", ADDRESSES)
def test_stop_ends_the_answer_in_both_tabs(link: Link, visitor: Any, address: str) -> None:
    page = opened(visitor, f"{link.address}{address}")
    ask(page)
    assert_running(page)
    tab = opened(visitor, page.url)
    assert_running(tab)
    page.get_by_label("Your question").press("Escape")
    for one in (page, tab):
        wait_for_status(one, "Stopped")
    assert TEXT.startswith(text_of(page))
    assert text_of(tab) == text_of(page) != TEXT
    assert page.evaluate("document.activeElement.ariaLabel") == "Your question"


def test_axe_finds_nothing_wrong_and_nothing_moves(pages: list[Any]) -> None:
    empty = opened(pages[0].context, urljoin(pages[0].url, "/react/"))
    assert violations(empty) == []
    for page, scheme in zip(pages, ("dark", "light", "dark"), strict=True):
        assert_running(page)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(PHONE)
        assert violations(page) == []
        assert page.evaluate("document.getAnimations().length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
