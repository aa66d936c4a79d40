"""The example's page for everybody: wide and narrow, light and dark, by keyboard and by ear."""

from typing import Any

import pytest

from example_project.chat.llm import SCRIPT
from tests.tools.waiting import until

from .axe import violations
from .test_page import QUESTION, ask, open_chat, saved, wait_for_status, wait_for_words
from .test_wire import press, text_of, wait_for_event

pytestmark = pytest.mark.timeout(180)

TEXT = SCRIPT.read_text(encoding="utf-8")
PHONE = {"width": 390, "height": 844}
SAID = """() => {
    window.said = [];
    const region = document.getElementById("status-text");
    new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 800}, PHONE])
def test_axe_finds_nothing_wrong(serve, visitor, scheme, size):
    page = open_chat(visitor, serve(DEMO_RATE="150"))
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []
    ask(page)
    wait_for_words(page, 200)
    assert violations(page) == []
    wait_for_status(page, "Ended")
    assert violations(page) == []
    for name in ("Chats", "Wire") if size is PHONE else ():
        press(page, name)
        assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_axe_finds_nothing_wrong_with_a_shared_answer(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="0"))
    ask(page)
    wait_for_status(page, "Ended")
    press(page, "Share by signed link")
    page.goto(page.locator("#link a").evaluate("link => link.href"))
    page.locator("resumable-stream[state=ended]").wait_for()
    assert violations(page) == []


def test_the_status_is_said_and_not_each_word(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="150"))
    page.evaluate(SAID)
    ask(page)
    wait_for_status(page, "Ended")
    assert page.evaluate("said") == ["Waiting for the first words", "Live", "Ended"]
    assert page.locator(".assistant[aria-busy]").count() == 0


def test_nothing_moves_where_less_motion_is_wanted(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="20"))
    ask(page)
    wait_for_words(page, 5)
    moving = "document.getAnimations().length"
    assert page.evaluate(moving) > 0
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(moving) == 0


def test_a_chat_by_keyboard_on_a_phone(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="30"))
    page.set_viewport_size(PHONE)
    page.get_by_label("Your question").focus()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    wait_for_words(page, 5)
    page.get_by_role("button", name="Wire").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cut the connection").focus()
    page.keyboard.press("Enter")
    wait_for_event(page, "Resumed at byte")
    page.keyboard.press("Escape")  # closes the drawer, and stops nothing
    assert page.evaluate("document.activeElement.textContent") == "Wire"
    assert not page.locator("#wire").is_visible()
    assert page.get_by_role("button", name="Stop").is_visible()
    page.keyboard.press("Escape")
    wait_for_status(page, "Stopped")


def test_three_suggestions_then_a_title_and_a_list(serve, visitor):
    address = serve(DEMO_RATE="30")
    page = open_chat(visitor, f"{address}/?chat=one")
    assert page.locator("#empty button").count() == 3
    page.locator("#empty button").first.click()
    wait_for_words(page, 5)
    first = page.locator("#title").text_content()
    assert first == page.locator(".user .body").text_content()
    assert not page.locator("#empty").is_visible()
    page.get_by_role("link", name="New chat").click()
    running = page.get_by_role("link", name=f"{first} , being written")
    running.wait_for()
    ask(page, "Another")
    wait_for_words(page, 5)
    press(page, "Stop")
    wait_for_status(page, "Stopped")
    until(lambda: page.locator("#conversations .running:visible").count() == 1)  # its end is saved
    running.click()
    wait_for_words(page, 30)
    press(page, "Stop")
    wait_for_status(page, "Stopped")
    page.locator("#conversations .running:visible").wait_for(state="detached")
    assert page.locator("#conversations .title").all_text_contents() == [first, "Another"]


def test_an_answer_and_its_code_are_copied(serve, visitor):
    visitor.grant_permissions(["clipboard-read", "clipboard-write"])
    page = open_chat(visitor, serve(DEMO_RATE="0"))
    ask(page)
    wait_for_status(page, "Ended")
    assert copied(page, "Copy the answer") == TEXT
    assert f"```python\n{copied(page, 'Copy code')}\n```" in TEXT


def copied(page: Any, name: str) -> str:
    press(page, name)
    page.locator("[data-copied]").wait_for()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_an_edited_question_is_answered_in_place_of_the_first(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="0"))
    for question in (QUESTION, "And then?"):
        ask(page, question)
        wait_for_status(page, "Ended")
    page.locator(".user").first.get_by_role("button", name="Edit").click()
    page.get_by_label("Your question, edited").fill("Changed")
    press(page, "Ask again")
    page.locator(".message").nth(2).wait_for(state="detached")
    wait_for_status(page, "Ended")
    assert [one["text"] for one in saved(page)] == ["Changed", TEXT]
    assert page.locator(".user .body").all_text_contents() == ["Changed"]
    assert text_of(page) == TEXT


def test_an_answer_is_tried_again(serve, visitor):
    page = open_chat(visitor, serve(DEMO_RATE="100"))
    ask(page)
    wait_for_words(page, 10)
    press(page, "Stop")
    wait_for_status(page, "Stopped")
    press(page, "Retry")
    wait_for_status(page, "Ended")
    assert [one["text"] for one in saved(page)] == [QUESTION, TEXT]
    assert text_of(page) == TEXT
