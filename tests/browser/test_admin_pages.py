"""The operations page in Chromium: wide and narrow, light and dark, and acts to their end.

SCREENSHOTS names a folder that keeps the pictures.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.servers import launch, migrate

from .axe import violations

pytestmark = pytest.mark.timeout(180)

COMMAND = "-m uvicorn --factory --port {port} resumable_streams.asgi:get_asgi_application"
LIVE = "/admin/resumable_streams/streamrecord/live/?alias=default&tenant=acme"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
LOOKS = list(product((DESKTOP, PHONE), ("light", "dark")))


@contextmanager
def site(tmp_path: Path, **environment: str) -> Iterator[str]:
    """Serve the site; yield its address."""
    environment |= {
        "DJANGO_SETTINGS_MODULE": "tests.browser.admin_site",
        "DATABASE_FILE": str(tmp_path / "db.sqlite3"),
    }
    migrate(environment)
    with launch(COMMAND, environment, tmp_path / "log") as server:
        yield server.url


def look(page: Any, address: str, name: str, size: dict[str, int], scheme: str) -> None:
    """Show the operations page, and see that nothing is wrong with it."""
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{address}{LIVE}")
    keep(page, f"{name}-{size['width']}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert violations(page, within=".rs-page") == []


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def cancel_some(page: Any, name: str) -> None:
    """Cancel three streams, and rotate their tenant."""
    rows = page.locator(".rs-table tbody tr")
    before = rows.count()
    for box in rows.locator("input").all()[:3]:
        box.check()
    page.get_by_role("button", name="Cancel the streams").click()
    page.get_by_label("Reason").fill("ticket 7")
    keep(page, f"{name}-question")
    page.get_by_role("button", name="sure").click()
    page.get_by_text("Cancel streams: 3 of 3 done.").wait_for()
    assert rows.count() == before - 3


def test_the_operations_page_in_the_admin(visitor: Any, tmp_path: Path) -> None:
    page = visitor.new_page()
    with site(tmp_path, AWAY="1", STEP_SECONDS="0") as address:
        page.goto(f"{address}/fill/")
        for size, scheme in LOOKS:
            look(page, address, "live", size, scheme)
        assert violations(page) == []
        assert page.locator("svg rect").count() > 0
        cancel_some(page, "live")
        page.get_by_role("button", name="Rotate the tenant").click()
        assert violations(page) == []
        page.get_by_role("button", name="sure").click()
        page.get_by_text("Rotate: 1 of 1 done.").wait_for()
        page.get_by_text("No live streams here.").wait_for()


def test_the_operations_page_under_django_unfold(visitor: Any, tmp_path: Path) -> None:
    page = visitor.new_page()
    with site(tmp_path, UNFOLD="1") as address:
        page.goto(f"{address}/fill/")
        look(page, address, "unfold", PHONE, "dark")
        look(page, address, "unfold", DESKTOP, "light")
        page.locator("#rs-all").check()
        page.locator("#rs-all").uncheck()
        cancel_some(page, "unfold")
