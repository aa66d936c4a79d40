"""Sites of one or two server processes, with a store, a database and recordings of their own."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .servers import Server, migrate, serve
from .table import Table

Serve = Callable[..., Server]

SETTINGS = "tests.acceptance.site_settings"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate once for all sites: each gets a copy."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite3"
    migrate({"DJANGO_SETTINGS_MODULE": SETTINGS, "DEMO_DB": str(path)})
    return path


@pytest.fixture(scope="session")
def servers_table() -> Iterator[Table]:
    """Collect what the tests find out about servers; written at the end, if asked for."""
    table = Table()
    yield table
    table.write()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Write an answer as a provider sends it: one JSON event a line, with text of many scripts."""
    words = ["Streams", " überleben", " 再読み込み", " 🙂", ' "quoted"', "\\n", " end."] * 40
    lines = [
        json.dumps(
            {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": word}}]},
            ensure_ascii=number % 2 == 0,
        )
        for number, word in enumerate(words)
    ]
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def expected(recording: Path) -> bytes:
    """Say what /api/raw has to answer with, byte for byte."""
    events = [f"data: {line}\n\n".encode() for line in recording.read_text("utf-8").splitlines()]
    return b"".join(events) + b"data: [DONE]\n\n"


@pytest.fixture
def site(tmp_path: Path, key_prefix: str, recording: Path, empty_database: Path) -> Iterator[Serve]:
    """Start server processes of one site: the same database, and the same store if it is Redis."""
    environment = {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DEMO_DB": str(shutil.copy(empty_database, tmp_path / "site.sqlite3")),
        "DEMO_MODEL": f"recording:{recording}",
        "DEMO_RATE": "0",
        "DEMO_DEBUG": "0",
        "KEY_PREFIX": key_prefix,
    }
    with ExitStack() as running:

        def start(kind: str = "daphne", **more: str) -> Server:
            log = tmp_path / f"server-{len(list(tmp_path.glob('server-*')))}.log"
            return running.enter_context(serve({**environment, **more}, log, kind))

        yield start
