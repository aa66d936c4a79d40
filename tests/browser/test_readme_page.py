"""The page of docs/start.md: whatever happens to its server, it is not blank for ever."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.readme import Site

pytestmark = pytest.mark.timeout(120)

WHOLE = "".join(f"{number} " for number in range(1, 101))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Serve the project of docs/start.md."""
    with Site(tmp_path) as started:
        yield started


def open_page(visitor: Any, site: Site) -> Any:
    page = visitor.new_page()
    page.goto(site.url)
    return page


def kept(page: Any) -> str | None:
    """Return the id that the page remembers."""
    found: str | None = page.evaluate("sessionStorage.getItem('answer')")
    return found


def wait_for_words(page: Any, words: str) -> None:
    page.wait_for_function(
        "words => document.getElementById('answer').textContent.startsWith(words)", arg=words
    )


def wait_for_note(page: Any, words: str) -> None:
    page.wait_for_function(
        "words => document.getElementById('note').textContent.includes(words)", arg=words
    )


def shown(page: Any) -> str:
    return str(page.locator("#answer").text_content())


def test_the_answer_goes_on_after_a_reload(site: Site, visitor: Any) -> None:
    page = open_page(visitor, site)
    wait_for_words(page, "1 2 3 ")
    first = kept(page)
    page.reload()
    wait_for_words(page, WHOLE)
    assert (shown(page), kept(page)) == (WHOLE, first)
    page.reload()
    wait_for_words(page, WHOLE)
    assert shown(page) == WHOLE


def test_after_a_restart_that_emptied_the_store_a_reload_asks_again(
    site: Site, visitor: Any
) -> None:
    page = open_page(visitor, site)
    wait_for_words(page, "1 2 3 ")
    first = kept(page)
    page.goto("about:blank")
    site.stop()
    site.start()
    page.goto(site.url)
    wait_for_words(page, WHOLE)
    assert shown(page) == WHOLE
    assert kept(page) not in (first, None, "null")


def test_a_restart_in_mid_answer_is_told_and_a_reload_asks_again(site: Site, visitor: Any) -> None:
    page = open_page(visitor, site)
    wait_for_words(page, "1 2 3 ")
    site.stop()
    site.start()
    wait_for_note(page, "is not kept any more")
    assert shown(page).startswith("1 2 3 ")
    assert kept(page) is None
    page.reload()
    wait_for_words(page, WHOLE)
    assert page.locator("#note").text_content() == ""


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_first_post_that_fails_is_told_and_a_reload_asks_again(
    site: Site, visitor: Any, status: int
) -> None:
    visitor.route("**/answer/", lambda route: route.fulfill(status=status))
    page = open_page(visitor, site)
    wait_for_note(page, f"The server answered {status}.")
    assert (kept(page), shown(page)) == (None, "")
    visitor.unroute("**/answer/")
    page.reload()
    wait_for_words(page, WHOLE)


def test_a_first_post_without_a_network_is_told(site: Site, visitor: Any) -> None:
    visitor.route("**/answer/", lambda route: route.abort())
    page = open_page(visitor, site)
    wait_for_note(page, "Reload the page to try again.")
    assert kept(page) is None


def test_an_answer_that_failed_is_told_and_a_reload_asks_again(site: Site, visitor: Any) -> None:
    data = json.dumps({"status": "error", "code": "producer_lost"})
    body = f"event: error\ndata: {data}\nid: e-end\n\n"
    headers = {"Content-Type": "text/event-stream"}
    visitor.route("**/streams/**", lambda route: route.fulfill(body=body, headers=headers))
    page = open_page(visitor, site)
    wait_for_note(page, "failed (producer_lost)")
    assert kept(page) is None
    visitor.unroute("**/streams/**")
    page.reload()
    wait_for_words(page, WHOLE)


def test_an_id_that_an_older_page_has_kept_wrongly_is_forgotten(site: Site, visitor: Any) -> None:
    page = visitor.new_page()
    page.goto(f"{site.url}/streams/nothing/")  # of the same origin
    page.evaluate("sessionStorage.setItem('answer', 'null')")
    page.goto(site.url)
    wait_for_words(page, "1 2 3 ")
    assert kept(page) != "null"


def answer_first(visitor: Any, times: int, **answer: Any) -> list[Any]:
    """Give that answer to the first requests for a stream; return what is still to be given."""
    left = [answer] * times

    def give(route: Any) -> None:
        if left:
            route.fulfill(**left.pop())
        else:
            route.continue_()

    visitor.route("**/streams/**", give)
    return left


def test_a_proxy_without_its_server_is_no_end(site: Site, visitor: Any) -> None:
    left = answer_first(visitor, 2, status=502)  # the EventSource, then the look
    page = open_page(visitor, site)
    wait_for_words(page, WHOLE)
    assert (shown(page), left) == (WHOLE, [])


def test_at_a_deploy_the_browser_comes_back_by_itself(site: Site, visitor: Any) -> None:
    events = {"Content-Type": "text/event-stream"}
    left = answer_first(visitor, 2, body="retry: 200\n\n", headers=events)
    page = open_page(visitor, site)
    wait_for_words(page, WHOLE)
    assert (shown(page), left) == (WHOLE, [])
