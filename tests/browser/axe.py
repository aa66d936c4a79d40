"""axe-core, which finds what keeps people out of a page."""

from pathlib import Path
from typing import Any

AXE = Path(__file__).resolve().parents[1] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
FIND = """async (within) => (await axe.run(within)).violations.map(({ id, nodes }) =>
    [id, ...nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`)].join(" "))"""


def violations(page: Any, *, within: str = "html") -> list[str]:
    """Return what is wrong with a page as it is now shown, or with the part that `within` finds."""
    assert AXE.exists(), "Run `npm ci` in tests/npm first; `make e2e` does."
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(FIND, within)
    return found
