"""Sites on PostgreSQL, each with a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.acceptance.servers import Server, migrate, serve
from tests.postgres import Postgres

SETTINGS = "tests.databases.site"

Serve = Callable[[str, str], tuple[Server, str]]


def environment(server: Postgres, database: str, kind: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DATABASE_HOST": server.host,
        "DATABASE_NAME": database,
        "DATABASE_KIND": kind,
    }


@pytest.fixture(scope="session")
def migrated(postgres_server: Postgres) -> str:
    """Migrate once for all sites: each gets a copy."""
    database = postgres_server.create("migrated")
    migrate(environment(postgres_server, database, "persistent"))
    return database


@pytest.fixture
def site(postgres_server: Postgres, migrated: str, tmp_path: Path) -> Iterator[Serve]:
    """Start a site on a kind of server, with a pool or persistent connections."""
    with ExitStack() as running:

        def start(kind: str, connections: str) -> tuple[Server, str]:
            database = postgres_server.create(f"site_{uuid4().hex}", migrated)
            running.callback(postgres_server.drop, database)
            variables = environment(postgres_server, database, connections)
            server = running.enter_context(serve(variables, tmp_path / "server.log", kind))
            return server, database

        yield start
