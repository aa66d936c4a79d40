"""Sites on PostgreSQL, each with a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.acceptance.servers import Server, migrate, serve
from tests.postgres import Postgres

SETTINGS = "tests.databases.site"


@dataclass(frozen=True, slots=True)
class Running:
    """A server, its database, and what a process of the same site has to know."""

    server: Server
    database: str
    environment: dict[str, str]


Serve = Callable[..., Running]


def environment(server: Postgres, database: str, kind: str, **more: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DATABASE_HOST": server.host,
        "DATABASE_NAME": database,
        "DATABASE_KIND": kind,
        **more,
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

        def start(kind: str, connections: str, **more: str) -> Running:
            database = postgres_server.create(f"site_{uuid4().hex}", migrated)
            running.callback(postgres_server.drop, database)
            variables = environment(postgres_server, database, connections, **more)
            server = running.enter_context(serve(variables, tmp_path / "server.log", kind))
            return Running(server, database, variables)

        yield start
