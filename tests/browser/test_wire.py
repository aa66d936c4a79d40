"""The wire of the example's page: its buttons do damage, and the answer survives it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from example_project.chat.llm import SCRIPT
from tests.acceptance.servers import APPLICATION, Server, launch, migrate

from .test_page import (
    QUESTION,
    WORDS,
    ask,
    assert_whole,
    fetch,
    open_chat,
    saved,
    wait_for_status,
    wait_for_words,
    words_of,
)

pytestmark = pytest.mark.timeout(180)

TEXT = SCRIPT.read_text(encoding="utf-8")
DEMO = f"-m example_project.private_redis -- -m uvicorn --port {{port}} {APPLICATION}"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Server]:
    """Serve the demo as `make demo REDIS=1` does: two processes and a store that they share."""
    environment = {
        "DEMO_DB": str(tmp_path / "demo.sqlite3"),
        "DEMO_RATE": "100",
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "WEB_CONCURRENCY": "2",
    }
    migrate(environment)
    with launch(DEMO, environment, tmp_path / "log") as server:
        yield server


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name).click()


def wait_for_event(page: Any, words: str) -> None:
    page.locator("#timeline li", has_text=words).first.wait_for(timeout=30_000)


def text_of(page: Any) -> str:
    """Return the text of the last answer as it was read."""
    return str(page.locator(".message.assistant").last.evaluate("element => element.text"))


def running(page: Any) -> str:
    chat = page.evaluate("JSON.parse(document.getElementById('boot').textContent).chat.id")
    return str(fetch(page, f"/api/chat/{chat}").json()["running"])


def test_the_answer_goes_on_after_a_cut(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="100"))
    ask(page)
    for count in (30, 100, 200):
        wait_for_words(page, count)
        press(page, "Cut the connection")
        wait_for_status(page, "Live, resumed at byte")
    wait_for_status(page, "Ended")
    assert_whole(page)
    assert text_of(page) == TEXT
    assert page.locator("#timeline li[data-kind=resumed]").count() == 3
    assert page.locator("#wire-connections").text_content() == "4"
    assert "-end" in page.locator("#tail").text_content()


def test_the_answer_goes_on_after_five_seconds_offline(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="60"))
    ask(page)
    wait_for_words(page, 30)
    press(page, "Go offline for 5 s")
    assert wait_for_status(page, "No connection at byte")
    wait_for_event(page, "The network is back")
    wait_for_event(page, "Resumed at byte")
    wait_for_status(page, "Ended")
    assert_whole(page)
    assert text_of(page) == TEXT


def test_a_second_tab_reads_along(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="150"))
    ask(page)
    wait_for_words(page, 30)
    with visitor.expect_page() as opened:
        page.get_by_role("link", name="Open a second tab").click()
    for tab in (page, opened.value):
        wait_for_status(tab, "Ended")
        assert text_of(tab) == TEXT


def test_a_signed_link_shows_the_answer_to_a_stranger(serve, visitor, stranger):
    page = open_chat(visitor, serve(DEMO_RATE="150"))
    ask(page)
    wait_for_words(page, 30)
    press(page, "Share by signed link")
    address = urljoin(page.url, page.locator("#link a").get_attribute("href"))
    shared = open_chat(stranger, address)
    shared.locator("resumable-stream[state=ended]").wait_for(timeout=60_000)
    assert shared.locator("resumable-stream").text_content() == TEXT
    shared.goto(f"{address}x")
    shared.locator("resumable-stream[state=gone]").wait_for()


def test_a_killed_producer_leaves_what_it_wrote_and_a_retry_is_whole(demo, visitor, stranger):
    page = open_chat(visitor, demo.url)
    ask(page)
    wait_for_words(page, 30)
    stream = running(page)
    foreign = open_chat(stranger, demo.url)
    assert kill(foreign, stream) == 404
    assert running(page) == stream
    press(page, "Kill the server process")
    wait_for_status(page, "Failed: the process")
    wait_for_event(page, "Failed")
    spoken = text_of(page)
    assert TEXT.startswith(spoken)
    assert words_of(page)[:30] == WORDS[:30]
    page.reload()
    assert text_of(page) == spoken == saved(page)[1]["text"]
    assert saved(page)[1]["status"] == "failed"
    press(page, "Retry")
    wait_for_words(page, 30)
    press(page, "Kill the server process")  # there is another one again
    wait_for_status(page, "Failed: the process")
    press(page, "Retry")
    wait_for_status(page, "Ended")
    assert_whole(page)


def kill(page: Any, stream: str) -> int:
    """Ask for the end of a process; return the status of the answer."""
    return int(
        page.evaluate(
            """async (stream) => {
            const [, token] = /csrftoken=([^;]+)/.exec(document.cookie);
            const headers = { "X-CSRFToken": token };
            return (await fetch(`/api/kill/${stream}`, { method: "POST", headers })).status;
        }""",
            stream,
        )
    )


def test_in_memory_no_process_can_be_killed_and_the_page_says_why(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="30"))
    ask(page)
    wait_for_words(page, 10)
    button = page.get_by_role("button", name="Kill the server process")
    assert button.get_attribute("aria-disabled") == "true"
    assert "REDIS=1" in page.locator("#kill-note").text_content()
    assert kill(page, running(page)) == 404
    assert button.evaluate("element => (element.click(), element.ariaDisabled)") == "true"
    press(page, "Stop")
    wait_for_status(page, "Stopped")
    assert saved(page)[0]["text"] == QUESTION
