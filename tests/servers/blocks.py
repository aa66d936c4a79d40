"""The configurations that docs/servers.md has for proxies."""

import re

from tests.docs.pages import DOCS

__all__ = ["documented"]


def documented(language: str) -> str:
    """Return the first block of that language."""
    match = re.search(
        rf"^```{language}\n(.*?)^```$", (DOCS / "servers.md").read_text(), re.M | re.S
    )
    assert match is not None
    return match[1]
