"""The doctor at a project, as a command and as a verb of `streams`."""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.management import CommandError, call_command
from pytest_django import Settings

from resumable_streams import streams
from resumable_streams.operating import doctor
from resumable_streams.process.runtime import runtime
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.types import Observation, Verdict
from tests.ledger import Ledger, open_ledger
from tests.tools.streams import MEMORY, REDIS

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"
NOWHERE = {"BACKEND": REDIS, "LOCATION": "redis://:very-secret@127.0.0.1:1/0"}

Configure = Callable[..., None]


@pytest.fixture
def configured(settings: Settings, key_prefix: str) -> Configure:
    """Return a function that configures aliases; streams in memory unless it is told otherwise."""

    def configure(**aliases: dict[str, Any]) -> None:
        settings.DEBUG = True
        memory = {"BACKEND": MEMORY, "LOCATION": key_prefix}
        settings.RESUMABLE_STREAMS = {
            name: {**memory, **entry} for name, entry in {"default": {}, **aliases}.items()
        }

    configure()
    return configure


@pytest.fixture
def ledger(tmp_path: Path, settings: Settings, django_db_blocker: Any) -> Iterator[Ledger]:
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings) as ledger:
        yield ledger


def examined(alias: str = "default") -> dict[tuple[str, str], Observation]:
    """Return the last observation of each check and alias."""
    return {(one.alias, one.check): one for one in streams.using(alias).doctor()}


def verdict(check: str, alias: str = "") -> str:
    return str(examined(alias or "default")[alias, check].verdict)


def run(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and all that it prints."""
    out = io.StringIO()
    try:
        call_command("resumable_streams", "doctor", *arguments, stdout=out, stderr=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def test_a_memory_store_has_a_short_list_without_a_fault(configured: Configure) -> None:
    found = examined()
    assert {check for alias, check in found if alias == "default"} == {"settings", "store"}
    assert "memory of this process" in found["default", "store"].message
    assert found["", "W001"].verdict is Verdict.WARNING
    code, printed = run()
    assert code == 0
    assert "0 faults" in printed


async def test_the_verb_and_its_twin_return_the_same(configured: Configure) -> None:
    values = await streams.adoctor()
    assert values == await asyncio.to_thread(streams.doctor)
    assert all(isinstance(one, Observation) for one in values)


def test_all_that_is_set_is_told_and_no_secret(configured: Configure) -> None:
    configured(chat={**NOWHERE, "TTL": 60, "OPTIONS": {"service": "very-secret"}})
    code, printed = run()
    assert code == 1
    assert "very-secret" not in printed
    told = examined("chat")["chat", "settings"].message
    assert told.startswith("RedisStore, ")
    assert "TTL 60" in told
    assert "OPTIONS service" in told
    assert "LEASE" not in told


def test_json_is_one_object_with_all_aliases_and_the_exit_code_tells_a_fault(
    configured: Configure,
) -> None:
    configured(chat=NOWHERE)
    code, printed = run("--json")
    assert code == 1
    outcome, _ = json.JSONDecoder().raw_decode(printed)
    assert outcome["aliases"] == ["default", "chat"]
    faults = [one for one in outcome["observations"] if one["verdict"] == "fault"]
    assert outcome["counts"]["fault"] == len(faults)
    (one,) = [one for one in faults if one["alias"] == "chat"]
    assert one["check"] == "reach"
    assert one["remedy"]
    code, printed = run("--json", "--using", "default")
    assert json.JSONDecoder().raw_decode(printed)[0]["aliases"] == ["default"]


def test_people_read_the_remedy_below_its_fault_and_no_log_says_it_again(
    configured: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configured(chat=NOWHERE)
    _, printed = run()
    lines = printed.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "127.0.0.1:1" in line]
    assert lines[at].startswith("fault")
    assert "-> Nothing listens there" in lines[at + 1]
    assert not caplog.records


def test_wrong_settings_of_one_alias_are_told_and_the_others_are_examined(
    configured: Configure,
) -> None:
    configured(chat={"BACKEND": "no.such.Store"})
    code, printed = run()
    assert code == 1
    assert "no.such.Store" in printed
    assert verdict("store", "default") == "fine"
    assert verdict("settings", "chat") == "fault"


def test_system_checks_are_a_part_of_it(configured: Configure) -> None:
    configured(default={"LEASE": 10, "SWEEP": 11, "STORE_TIMEOUT": 10})
    assert (verdict("W004"), verdict("W005")) == ("warning", "warning")


def test_a_cache_that_empties_the_streams_is_a_warning(
    configured: Configure, settings: Settings
) -> None:
    cache = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": cache, "LOCATION": "redis://localhost:1/0"}}
    configured(chat=NOWHERE)
    assert verdict("W013") == "warning"


def test_forgotten_migrations_are_a_fault(configured: Configure, ledger: Ledger) -> None:
    assert verdict("migrations") == "fine"  # of no use to a memory store
    configured(default={"RECORDS": True})
    assert verdict("migrations") == "fine"
    call_command("migrate", "resumable_streams", "zero", database="ledger", verbosity=0)
    found = examined()["", "migrations"]
    assert found.verdict is Verdict.FAULT
    assert "0001_initial" in found.message
    assert "manage.py migrate" in found.remedy


def test_a_database_that_is_away_is_a_fault(configured: Configure, ledger: Ledger) -> None:
    configured(default={"RECORDS": True})
    ledger.take_away()
    assert verdict("migrations") == "fault"
    ledger.give_back()


class OurSessions(SessionMiddleware):
    """Sessions of a project's own."""


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([SESSIONS, USERS], "fine"),
        ([f"{__name__}.OurSessions", USERS], "fine"),
        ([SESSIONS], "warning"),
        (["no.such.Middleware"], "unknown"),
    ],
)
def test_the_default_owner_needs_users(
    configured: Configure, settings: Settings, middleware: list[str], expected: str
) -> None:
    settings.MIDDLEWARE = middleware
    assert verdict("middleware") == expected
    configured(default={"OWNER": f"{__name__}.verdict"})
    assert verdict("middleware") == "fine"


def test_the_default_owner_needs_sessions(configured: Configure, settings: Settings) -> None:
    settings.MIDDLEWARE = [USERS]
    found = examined()
    assert found["", "W014"].verdict is Verdict.WARNING
    assert ("", "middleware") not in found


@pytest.mark.parametrize(
    ("asgi", "wsgi", "expected"),
    [
        ("from resumable_streams.asgi import get_asgi_application", "", "fine"),
        ("from django.core.asgi import get_asgi_application", "", "warning"),
        ("", "from resumable_streams.wsgi import get_wsgi_application", "fine"),
        ("", "from django.core.wsgi import get_wsgi_application", "warning"),
    ],
)
def test_the_entry_point_of_a_project_should_drain(
    configured: Configure,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asgi: str,
    wsgi: str,
    expected: str,
) -> None:
    """The modules are read and not run."""
    site = f"site_{tmp_path.name.replace('-', '_')}"
    (tmp_path / site).mkdir()
    for kind, source in (("asgi", asgi), ("wsgi", wsgi)):
        if source:
            (tmp_path / site / f"{kind}.py").write_text(f"{source}\nraise SystemExit")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.WSGI_APPLICATION = f"{site}.wsgi.application"  # as startproject has it
    assert verdict("drain") == expected


class Broken(MemoryStore):
    """A store whose examination fails."""

    async def examine(self) -> list[Observation]:
        raise ZeroDivisionError


class Endless(MemoryStore):
    """A store whose examination never ends."""

    async def examine(self) -> list[Observation]:
        await asyncio.Event().wait()
        return []


class Plain(MemoryStore):
    """A store that says nothing more of itself than any."""

    examine = BaseStore.examine


@pytest.mark.parametrize("store", [Broken, Endless])
def test_a_part_that_fails_or_hangs_is_unknown_and_ends_no_other(
    configured: Configure, monkeypatch: pytest.MonkeyPatch, store: type[BaseStore]
) -> None:
    monkeypatch.setattr(doctor, "PART_SECONDS", 0.2)
    configured(chat={"BACKEND": f"{__name__}.{store.__name__}"})
    assert verdict("store", "chat") == "unknown"
    assert run()[0] == 0


def test_a_database_that_hangs_is_unknown_and_keeps_no_process_alive(
    configured: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang() -> list[Observation]:
        released.wait()
        return []

    monkeypatch.setattr(doctor, "PART_SECONDS", 0.2)
    monkeypatch.setitem(doctor.PROJECT, "migrations", hang)
    assert verdict("migrations") == "unknown"
    (thread,) = [one for one in threading.enumerate() if one.name == "resumable_streams.doctor"]
    assert thread.daemon
    released.set()
    thread.join()


def test_a_store_of_ones_own_is_asked_whether_it_answers(configured: Configure) -> None:
    configured(chat={"BACKEND": f"{__name__}.Plain"})
    assert verdict("reach", "chat") == "fine"


def test_the_command_leaves_nothing_open(configured: Configure) -> None:
    configured(chat=NOWHERE)
    run()
    assert not runtime.resources
