"""client.js and its element, in Chromium: reloads, cuts, sleeping networks, stop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import launch

from .link import Link

pytestmark = pytest.mark.timeout(120)

APPLICATION = "resumable_streams.asgi:get_asgi_application"
WHOLE = "".join(f"{number} é€😀 " for number in range(100))
SHOWN = "() => document.querySelector('resumable-stream').textContent"
FOLLOW = """async ({as}) => {
    const { follow } = await import("/static/resumable_streams/client.js");
    const stream = window.stream = follow({url: "/answer/", method: "POST"}, {as, silence: 3000});
    window.states = [];
    stream.addEventListener("state", ({state}) => states.push(state));
    window.text = "";
    window.reading = (async () => { for await (const text of stream) window.text += text; })();
}"""


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    """Serve the page behind a network that can be cut."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.browser.client_site"}
    command = f"-m uvicorn --factory --port {{port}} {APPLICATION}"
    with launch(command, environment, tmp_path / "log") as server:
        network = Link(server.url)
        yield network
        network.close()


def open_page(visitor: Any, link: Link, path: str = "/") -> Any:
    page = visitor.new_page()
    page.goto(f"{link.address}{path}")
    return page


def wait_for_text(page: Any, length: int) -> None:
    page.wait_for_function(f"length => ({SHOWN})().length >= length", arg=length)


def wait_for_state(page: Any, state: str) -> None:
    page.locator(f"resumable-stream[state={state}]").wait_for(timeout=60_000)


def test_the_element_shows_a_stream_that_survives_a_reload(link: Link, visitor: Any) -> None:
    page = open_page(visitor, link)
    wait_for_text(page, 50)
    page.reload()
    wait_for_state(page, "ended")
    assert page.evaluate(SHOWN) == WHOLE
    assert page.request.get(f"{link.address}/count/").text() == "1"
    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("silently", [False, True])
def test_the_element_survives_a_network_that_was_away(
    link: Link, visitor: Any, silently: bool
) -> None:
    page = open_page(visitor, link)
    wait_for_text(page, 50)
    visitor.set_offline(True)
    link.cut(silently=silently)
    wait_for_state(page, "waiting")
    link.mend()
    visitor.set_offline(False)
    wait_for_state(page, "ended")
    assert page.evaluate(SHOWN) == WHOLE


def test_the_element_stops_its_stream(link: Link, visitor: Any) -> None:
    page = open_page(visitor, link)
    wait_for_text(page, 50)
    page.evaluate("document.querySelector('resumable-stream').stop()")
    wait_for_state(page, "ended")
    shown = page.evaluate(SHOWN)
    assert WHOLE.startswith(shown)
    assert shown != WHOLE


def test_a_page_that_comes_back_goes_on(link: Link, visitor: Any) -> None:
    page = open_page(visitor, link)
    wait_for_text(page, 50)
    page.goto(f"{link.address}/other/")
    page.go_back()
    wait_for_state(page, "ended")
    assert page.evaluate(SHOWN) == WHOLE
    assert page.request.get(f"{link.address}/count/").text() == "1"


def test_a_silent_connection_is_left(link: Link, visitor: Any) -> None:
    page = open_page(visitor, link, "/other/")
    page.evaluate(FOLLOW, {"as": "text"})
    page.wait_for_function("text.length > 50")
    link.cut(silently=True)  # the browser has not noticed
    page.wait_for_function("states.includes('waiting')")
    link.mend()
    page.evaluate("reading")
    assert page.evaluate("text") == WHOLE
    assert page.evaluate("states.at(-1)") == "ended"
