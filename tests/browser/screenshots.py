"""The pictures of the docs, of the example and the admin: `make screenshots`."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.example.server import servers

from .conftest import launched
from .test_admin_pages import LIVE, site

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
MOVING = {"width": 1110, "height": 770}
QUESTION = "What happens if I reload?"

COLOURS = 64
SPEED = 2
"""How much faster the film is shown than it was taken: a picture takes its time."""
SHORTEST_MS = 100
LAST_MS = 3_000
POINTER = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (13, 12)]
LENGTH = "(document.querySelector('.assistant .body')?.textContent ?? '').length"
STATUS = "document.getElementById('status-text').textContent"

Frame = tuple[Any, int]
"""A picture, and how many milliseconds it is shown."""


def main() -> None:
    """Take all pictures again."""
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder)) as serve:
        address = serve(DEMO_RATE="40")
        with launched() as browser:
            for name, size, scheme in [
                ("demo", DESKTOP, "light"),
                ("demo-dark", DESKTOP, "dark"),
                ("demo-phone", PHONE, "light"),
            ]:
                page = opened(browser, address, size, scheme)
                keep(resumed(page), name)
            slow = serve(DEMO_RATE=str(40 // SPEED))
            animate(opened(browser, slow, MOVING, "light"))
            keep_operations(browser)


def opened(browser: Any, address: str, size: dict[str, int], scheme: str) -> Any:
    """Open the page in a context of its own."""
    page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
    page.goto(address)
    return page


def keep_operations(browser: Any) -> None:
    """Save the operations page of the admin, with streams that run and records of an hour."""
    with tempfile.TemporaryDirectory() as folder, site(Path(folder)) as address:
        page = opened(browser, f"{address}/fill/", DESKTOP, "light")
        page.goto(f"{address}{LIVE}")
        keep(page, "operations")


def ask(page: Any) -> None:
    page.get_by_label("Your question").fill(QUESTION)
    page.keyboard.press("Enter")


def resumed(page: Any) -> Any:
    """Ask, and return the page as it goes on after a cut."""
    ask(page)
    page.wait_for_function(f"{LENGTH} > 250")
    # On a phone the button is in a drawer that is closed.
    page.locator("#cut").evaluate("button => button.click()")
    page.wait_for_function(f"{STATUS}.includes('resumed') && {LENGTH} > 820")
    return page


def keep(page: Any, name: str) -> None:
    """Save what the page shows, with as few bytes as look the same."""
    image = picture(page).quantize(256, dither=0)
    image.save(IMAGES / f"{name}.png", optimize=True)


def picture(page: Any) -> Any:
    shot = page.screenshot(animations="disabled", caret="hide")
    return import_module("PIL.Image").open(BytesIO(shot)).convert("RGB")


def animate(page: Any) -> None:
    """Save a film of an answer that is cut, loses its network, and goes on both times."""
    pictures, times = zip(*film(page), strict=True)
    palette = mixed(pictures[:: len(pictures) // 6]).quantize(COLOURS, dither=0)
    first, *others = [one.quantize(palette=palette, dither=0) for one in pictures]
    first.save(
        IMAGES / "demo.gif",
        save_all=True,
        append_images=others,
        duration=times,
        loop=0,
        optimize=True,
    )


def film(page: Any) -> Iterator[Frame]:
    ask(page)
    yield from frames(page, until=f"{LENGTH} > 250")
    yield from press(page, "#cut")
    yield from frames(page, until=f"{LENGTH} > 600")
    yield from press(page, "#offline")
    yield from frames(page, until=f"{STATUS}.startsWith('No connection')")
    yield from frames(page, until=f"{STATUS}.includes('resumed') && {LENGTH} > 1000")
    yield picture(page), LAST_MS


def frames(page: Any, *, until: str) -> Iterator[Frame]:
    """Yield what the page shows, each picture for as long as it took to the next."""
    while not page.evaluate(until):
        began = time.monotonic()
        shot = picture(page)
        page.wait_for_timeout(max(0, SHORTEST_MS - 1000 * (time.monotonic() - began)))
        yield shot, round(1000 * (time.monotonic() - began) / SPEED)


def press(page: Any, button: str) -> Iterator[Frame]:
    """Press a button, under a pointer that the picture shows."""
    box = page.locator(button).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    shot = picture(page)
    draw = import_module("PIL.ImageDraw").Draw(shot)
    draw.polygon([(x + dx, y + dy) for dx, dy in POINTER], fill="black", outline="white")
    yield shot, 700
    page.mouse.down()
    page.mouse.up()


def mixed(pictures: Sequence[Any]) -> Any:
    """Return one picture with the colours of all of these."""
    width, height = pictures[0].size
    image = import_module("PIL.Image").new("RGB", (width, height * len(pictures)))
    for number, one in enumerate(pictures):
        image.paste(one, (0, height * number))
    return image


if __name__ == "__main__":
    main()
