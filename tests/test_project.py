"""The project itself: the public names, the version, the server that the suite starts."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import redis.asyncio
from redis import Redis

import resumable_streams
from tests.tools.steadiness import hasty

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def test_every_public_name_is_importable():
    assert sorted(resumable_streams.__all__) == sorted(set(resumable_streams.__all__))
    for name in resumable_streams.__all__:
        assert getattr(resumable_streams, name) is not None


def test_no_class_name_occurs_twice():
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "resumable_streams").rglob("*.py")):
        for name in public_classes(ast.parse(path.read_text())):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert not {name: places for name, places in found.items() if len(places) > 1}


NAMED_BY_DJANGO = {"Command", "Meta", "Migration"}


def public_classes(tree: ast.AST, within: str = "") -> Iterator[str]:
    """Yield the names of classes, those of nested ones with what they are nested in."""
    for node in ast.iter_child_nodes(tree):
        name = within
        if isinstance(node, ast.ClassDef):
            name = f"{within}.{node.name}".lstrip(".")
            if node.name not in NAMED_BY_DJANGO and not node.name.startswith("_"):
                yield name
        yield from public_classes(node, name)


def test_a_class_is_found_wherever_it_is_defined():
    tree = ast.parse("class A:\n class Meta: pass\n class B: pass\ndef f():\n class _C: pass")
    assert list(public_classes(tree)) == ["A", "A.B"]


def test_installed_version_is_the_version_of_the_project_file():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata.version("django-resumable-streams") == project["version"]


def test_server_of_the_suite_answers(redis_server: Redis, redis_url: str):
    assert redis_server.ping()
    assert not redis_url.endswith(":6379/0")


async def test_server_of_the_suite_persists_nothing(redis_url: str):
    async with redis.asyncio.from_url(redis_url, decode_responses=True) as client:
        assert await client.config_get("save") == {"save": ""}
        assert await client.config_get("appendonly") == {"appendonly": "no"}


def test_no_test_waits_for_a_time():
    folders = {"benchmarks", "browser", "soak", "tools"}
    modules = [
        path
        for path in HERE.rglob("*.py")
        if folders.isdisjoint(path.parts) and not path.stem.endswith("site")  # pages take time
    ]
    found = {path.relative_to(ROOT): list(hasty(path.read_text())) for path in modules}
    assert not {path: faults for path, faults in found.items() if faults}


HASTY = """
import asyncio
from asyncio import sleep
async def test_waits(thing):
    await asyncio.sleep(0.1)
    time.sleep(seconds)
    while not thing.is_done():
        await sleep(0.01)
    while True:
        if thing.is_done(): break
        await sleep(0.01)
    async with asyncio.timeout(2):
        await asyncio.wait_for(thing.wait(), timeout=1)
"""

STEADY = """
async def source(every):
    while rest:
        yield b"x"
        await asyncio.sleep(every)
async def test_waits(thing):
    await asyncio.sleep(0)
    for key in keys:
        press(key)
        await asyncio.sleep(0.1)
    async def trouble():
        while True:
            kill()
            await asyncio.sleep(0.1)
    async with asyncio.timeout(30), asyncio.timeout(None):
        await asyncio.wait_for(thing.wait(), 30)
"""


def test_a_test_that_waits_for_a_time_is_found():
    assert [line for line, _ in hasty(HASTY)] == [5, 6, 8, 11, 12, 13]
    assert list(hasty(STEADY)) == []


CARELESS = """
import asyncio, pytest, redis, resumable_streams, time

kept = []

async def test_leaves_a_task():
    kept.append(asyncio.create_task(asyncio.Event().wait()))

def test_leaves_a_connection(redis_url):
    kept.append(redis.Redis.from_url(redis_url))
    kept[-1].ping()

async def test_blocks_the_loop():
    module = resumable_streams.__path__[0] + "/sample.py"
    exec(compile("time.sleep(0)", module, "exec"), {"time": time})

@pytest.mark.timeout(0.5)
async def test_goes_on_for_ever():
    try:
        time.sleep(60)
    except BaseException:  # what ends a test ends some task
        await asyncio.Event().wait()
"""


COMPLAINTS = [
    "tasks left pending",
    "connections left open",
    "Blocking call to time.sleep",
    "Timeout (>0.5s)",
]


@pytest.mark.lengthy
def test_careless_tests_fail(tmp_path: Path):
    sample = tmp_path / "test_careless.py"
    sample.write_text(CARELESS)
    options = ["-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml"), "-q", str(sample)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT,
        env={**os.environ, "SUITE_GRACE": "0.2"},
        capture_output=True,
        text=True,
    )
    assert "2 failed, 2 passed, 3 errors" in run.stdout, run.stdout + run.stderr
    for complaint in COMPLAINTS:
        assert complaint in run.stdout
