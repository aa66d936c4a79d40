"""Two sites that use the app as its users do: the example, and the project of docs/chat.md.

Both answer slowly enough for many disconnects.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.docs.conftest import Project
from tests.docs.test_chat_page import project_of_the_page
from tests.tools.serving import PLAIN

__all__ = ["as_browser", "fresh_project"]

PAUSE = 0.01


@contextmanager
def fresh_project(folder: Path) -> Iterator[Project]:
    """Serve the project of docs/chat.md, with a pause before each word."""
    made = project_of_the_page(folder)
    chat = folder / "mysite" / "chat.py"
    before, word, after = chat.read_text().partition("            yield ")
    assert word
    pause = f"            await __import__('asyncio').sleep({PAUSE})\n"
    chat.write_text(f"{before}{pause}{word}{after}")
    with made.serve() as made.url:
        yield made


def as_browser(url: str) -> dict[str, str]:
    """Return the headers of a browser that has opened the page of a site."""
    with httpx.Client(verify=PLAIN, base_url=url) as browser:
        browser.get("/").raise_for_status()
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        return {"Cookie": cookies, "X-CSRFToken": browser.cookies["csrftoken"]}
