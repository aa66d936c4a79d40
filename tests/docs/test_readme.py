"""The README, and the recipe and project of docs/start.md on real servers.

The page of that project is tried in tests/browser.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.example.server import servers
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN

from .pages import DOCS
from .readme import Site, recipe

README = (DOCS.parent / "README.md").read_text()
FILE_OF_A_PROJECT = re.compile(r"^```python\n(# [\w/]+\.py\n.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 170


def test_the_pictures_are_small_and_shown() -> None:
    pictures = list((DOCS / "images").iterdir())
    pages = README + "".join(page.read_text() for page in DOCS.glob("*.md"))
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000
    assert [picture.name for picture in pictures if f"images/{picture.name})" not in pages] == []


def test_the_project_of_the_readme_is_the_one_that_is_served() -> None:
    files = FILE_OF_A_PROJECT.findall(README)
    assert len(files) == 3
    for text in files:
        assert text in (DOCS / "start.md").read_text()


@pytest.fixture
@starts_a_process
def demo(tmp_path: Path) -> Iterator[str]:
    """Serve the demo, as `make demo` does."""
    with servers(tmp_path) as start:
        yield start(DEMO_RATE="300")


def test_the_recipe_with_curl_has_the_whole_exactly(demo: str, tmp_path: Path) -> None:
    assert shutil.which("curl"), "This test runs the commands of the README, which need curl."
    here = tmp_path / "recipe"
    here.mkdir()
    subprocess.run(["sh", "-e", "-c", recipe(demo)], cwd=here, check=True, timeout=50)
    headers = dict(
        line.split(": ", 1) for line in (here / "headers").read_text().splitlines() if ": " in line
    )
    jar = [line.split("\t") for line in (here / "jar").read_text().splitlines() if "\t" in line]
    with httpx.Client(verify=PLAIN, cookies={cookie[5]: cookie[6] for cookie in jar}) as visitor:
        whole = visitor.get(f"{demo}{headers['Location']}").content
    assert len(whole) > 5_000
    assert (here / "part").read_bytes() == whole


def test_the_recipe_adds_nothing_of_another_incarnation(demo: str, tmp_path: Path) -> None:
    here = tmp_path / "recipe"
    here.mkdir()
    begun_again = recipe(demo).replace("epoch=$(header", "epoch=x$(header")
    done = subprocess.run(["sh", "-c", begun_again], cwd=here, timeout=50, check=False)
    assert done.returncode == 22  # curl's, for 412
    assert (here / "part").stat().st_size == 5_000


@pytest.mark.lengthy
def test_the_project_answers_and_goes_on_after_an_event(tmp_path: Path) -> None:
    with (
        Site(tmp_path) as site,
        httpx.Client(verify=PLAIN, base_url=site.url, timeout=30) as visitor,
    ):
        assert "EventSource" in visitor.get("/").text
        token = {"X-CSRFToken": visitor.cookies["csrftoken"]}
        with visitor.stream("POST", "/answer/", headers=token) as started:
            first = next(started.iter_raw())
            address = started.headers["Location"]
        seen = first.decode().partition("\nid: ")[2].partition("\n")[0]
        assert seen
        rest = visitor.get(address, headers={"Last-Event-ID": seen}).content
        assert first.partition(b"\n\n")[0] + b"\n\n" + rest == visitor.get(address).content
        assert b"data: 100 \n" in rest
        # Bytes of a body of events are not the bytes of its log.
        torn = visitor.get(address, params={"offset": len(first) - 1})
        assert (torn.status_code, torn.json()["error"]) == (400, "inside_a_frame")
