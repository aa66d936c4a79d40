"""The page of the example: an answer survives what happens to pages."""

import json
import re
from typing import Any
from urllib.parse import urljoin

import pytest

from example_project.chat.llm import SCRIPT

from .link import Link

pytestmark = pytest.mark.timeout(120)

QUESTION = "What happens if I reload?"
SHOWN = re.sub(r"(?m)^\d+\.|^```\w*", "", SCRIPT.read_text(encoding="utf-8"))
WORDS = re.findall(r"\w+", SHOWN)


def open_chat(visitor: Any, address: str) -> Any:
    page = visitor.new_page()
    page.goto(address)
    return page


def ask(page: Any, question: str = QUESTION) -> None:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def wait_for_words(page: Any, count: int) -> None:
    page.wait_for_function(
        "count => (document.querySelector('.assistant .body')?.textContent ?? '')"
        ".split(/\\s+/).length > count",
        arg=count,
    )


def wait_for_status(page: Any, words: str) -> str:
    page.wait_for_function(
        "words => document.getElementById('status-text').textContent.startsWith(words)", arg=words
    )
    return str(page.locator("#status-text").text_content())


def words_of(page: Any) -> list[str]:
    return re.findall(r"\w+", page.locator(".assistant .body").last.inner_text())


def saved(page: Any) -> list[dict[str, str]]:
    chat = page.evaluate("JSON.parse(document.getElementById('boot').textContent).chat.id")
    return [
        {
            "role": message["role"],
            "text": "".join(part.get("text", "") for part in message["parts"]),
            "status": message["metadata"]["status"],
        }
        for message in fetch(page, f"/api/chat/{chat}").json()["messages"]
    ]


def fetch(page: Any, path: str) -> Any:
    """Ask the server of this page, with its cookies."""
    return page.request.get(urljoin(page.url, path))


def assert_whole(page: Any) -> None:
    question, answer = saved(page)
    assert (question["text"], answer["text"]) == (QUESTION, SCRIPT.read_text(encoding="utf-8"))
    assert answer["status"] == "complete"
    assert words_of(page) == WORDS
    assert page.locator("#messages > li").count() == 2


def test_waiting_then_live_then_ended(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="2"))
    ask(page)
    page.locator("#waiting").wait_for()
    assert wait_for_status(page, "Waiting")
    wait_for_words(page, 1)
    assert wait_for_status(page, "Live") == "Live"
    assert page.locator("#waiting").count() == 0
    page.get_by_role("button", name="Stop").click()
    wait_for_status(page, "Stopped")
    assert page.evaluate("document.activeElement.id") == "question"


def test_answer_survives_a_reload_and_goes_on_at_its_byte(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="100"))
    ask(page)
    wait_for_words(page, 30)
    page.reload()
    status = wait_for_status(page, "Live, resumed at byte")
    assert int(re.sub(r"\D", "", status)) > 500
    wait_for_status(page, "Ended")
    assert_whole(page)
    page.reload()
    assert_whole(page)


def test_answer_is_finished_and_saved_without_any_page(serve, visitor):
    address = serve(DEMO_RATE="300")
    page = open_chat(visitor, address)
    ask(page)
    wait_for_words(page, 5)
    page.goto("about:blank")
    page.wait_for_timeout(3_500)
    page.goto(address)
    wait_for_status(page, "Ready")
    assert_whole(page)


def test_second_tab_shows_the_same_answer(serve, visitor):
    address = serve(DEMO_RATE="150")
    idle = open_chat(visitor, address)
    page = open_chat(visitor, address)
    ask(page)
    wait_for_words(page, 30)
    chat = page.evaluate("JSON.parse(document.getElementById('boot').textContent).chat.id")
    late = open_chat(visitor, f"{address}/?chat={chat}")
    assert wait_for_status(late, "Live")
    for tab in (page, late):
        wait_for_status(tab, "Ended")
        assert_whole(tab)
    idle.close()


def test_tab_that_was_open_before_joins_by_itself(serve, visitor):
    address = serve(DEMO_RATE="150")
    page = open_chat(visitor, f"{address}/?chat=one")
    other = open_chat(visitor, f"{address}/?chat=one")
    ask(page)
    wait_for_words(other, 10)
    page.close()
    wait_for_status(other, "Ended")
    assert_whole(other)


@pytest.mark.parametrize("how", ["broken", "silent"])
def test_network_cut_is_survived(serve, visitor, how):
    link = Link(serve(DEMO_RATE="100"))
    page = open_chat(visitor, link.address)
    ask(page)
    wait_for_words(page, 30)
    link.cut(silently=how == "silent")
    visitor.set_offline(True)
    status = wait_for_status(page, "No connection at byte")
    kept = int(re.sub(r"\D", "", status.split(".")[0]))
    page.wait_for_timeout(1_500)
    link.mend()
    visitor.set_offline(False)
    assert wait_for_status(page, "Live, resumed at byte").endswith(f" {kept:,}")
    wait_for_status(page, "Ended")
    assert_whole(page)
    link.close()


def test_question_asked_without_a_network_is_asked_once(serve, visitor):
    link = Link(serve(DEMO_RATE="300"))
    page = open_chat(visitor, link.address)
    link.cut(silently=False)
    ask(page)
    wait_for_status(page, "No connection")
    link.mend()
    wait_for_status(page, "Ended")
    assert_whole(page)
    link.close()


def test_stop_in_one_tab_ends_the_answer_in_all(serve, visitor):
    address = serve(DEMO_RATE="30")
    page = open_chat(visitor, f"{address}/?chat=one")
    other = open_chat(visitor, f"{address}/?chat=one")
    ask(page)
    wait_for_words(other, 10)
    page.keyboard.press("Escape")
    for tab in (page, other):
        wait_for_status(tab, "Stopped")
    spoken = words_of(page)
    assert words_of(other) == spoken == WORDS[: len(spoken)]
    page.reload()
    assert words_of(page) == spoken
    assert saved(page)[1]["status"] == "stopped"
    ask(page, "Again?")
    wait_for_status(page, "Live")
    assert [message["role"] for message in saved(page)] == [
        *("user", "assistant"),
        *("user", "assistant"),
    ]


def test_another_visitor_sees_nothing(serve, visitor, stranger):
    address = serve(DEMO_RATE="30")
    page = open_chat(visitor, f"{address}/?chat=one")
    ask(page)
    wait_for_words(page, 10)
    foreign = open_chat(stranger, f"{address}/?chat=one")
    wait_for_status(foreign, "Ready")
    assert saved(foreign) == []
    stream = fetch(page, "/api/chat/one").json()["running"]
    assert fetch(foreign, f"/streams/{stream}/").status == 404
    assert fetch(foreign, "/api/chat/one/stream").status == 204


def test_markup_in_an_answer_stays_text(serve, visitor, tmp_path):
    hostile = (
        "<img src=x onerror=alert(1)> **<script>alert(2)</script>** "
        "[link](javascript:alert(3)) [fine](https://example.org/?a=1&b=2)\n\n"
        '```\n</code><iframe srcdoc="<script>alert(4)</script>">\n```\n\n- `<b>`'
    )
    recording = tmp_path / "hostile.jsonl"
    event = {"choices": [{"delta": {"content": hostile}}]}
    recording.write_text(json.dumps(event), encoding="utf-8")
    page = open_chat(visitor, serve(DEMO_MODEL=f"recording:{recording}"))
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    ask(page, "<u>me too</u>")
    wait_for_status(page, "Ended")
    assert page.locator("#messages :is(img, script, iframe, u, b)").count() == 0
    assert page.locator("#messages a").evaluate_all("all => all.map(a => a.href)") == [
        "https://example.org/?a=1&b=2"
    ]
    assert "<script>alert(2)</script>" in page.locator(".assistant strong").inner_text()
    assert dialogs == []
