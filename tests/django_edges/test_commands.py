"""`manage.py resumable_streams`: a real server and database, in this process and in others."""

import io
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import CommandError, call_command
from django.utils import timezone
from redis import Redis

from resumable_streams import PUBLIC, StreamManager
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import holding_of, owner_digest
from resumable_streams.management.arguments import age
from resumable_streams.management.commands.resumable_streams import Command
from resumable_streams.management.verbs import VERBS
from resumable_streams.management.verbs.tail import printable
from resumable_streams.models import (
    IncidentAction,
    NamespaceQuerySet,
    StreamNamespace,
    StreamRecord,
)
from resumable_streams.owners import SESSION_KEY, derived_token
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_finalized
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import Claim, Owner, StreamKey, StreamStatus, Terms
from tests.ledger import Ledger, open_ledger
from tests.tools.lengthy import starts_a_process
from tests.tools.processes import die_producing
from tests.tools.streams import MEMORY, REDIS
from tests.tools.waiting import pass_time_sync, until

ROOT = Path(__file__).resolve().parent.parent.parent

Run = Callable[..., str]


@pytest.fixture
def ledger(tmp_path, settings, django_db_blocker) -> Iterator[Ledger]:
    with django_db_blocker.unblock(), open_ledger(tmp_path / "ledger.sqlite3", settings) as ledger:
        yield ledger


@pytest.fixture
def site(settings, redis_url, key_prefix, ledger) -> StreamManager:
    """Configure an alias on the server."""
    entry = {"BACKEND": REDIS, "LOCATION": redis_url, "KEY_PREFIX": key_prefix}
    settings.RESUMABLE_STREAMS = {"default": entry}
    return StreamManager()


@pytest.fixture
def run() -> Run:
    """Return a function that runs a verb and returns what it prints."""

    def run(verb: str, *arguments: str) -> str:
        output = io.StringIO()
        call_command("resumable_streams", verb, *arguments, stdout=output, stderr=io.StringIO())
        return output.getvalue()

    return run


def counts(output: str) -> dict[str, Any]:
    counted: dict[str, Any] = json.loads(output)["counts"]
    return counted


def fill(
    *keys: tuple[str, str, Owner],
    generation: int = 1,
    process: str = "",
    status: StreamStatus | None = StreamStatus.DONE,
) -> None:
    """Store five bytes for each (tenant, id, owner); `status=None` leaves the streams running."""

    async def write() -> None:
        engine = get_engine("default")
        for tenant, stream_id, owner in keys:
            key = StreamKey(tenant=tenant, generation=generation, stream_id=stream_id)
            claim = Claim(holder=process)
            terms = Terms(owner=owner, ttl=900, finished_ttl=900, pending=900)
            await engine.store.acquire(key, claim, terms)
            await engine.store.append(key, claim, 0, b"12345")
            if status:
                await engine.store.finalize(key, claim, status)

    runtime.call_sync(write)


def names(redis_server: Redis, prefix: str) -> set[str]:
    """Return the keys of tenants, without what all processes share."""
    found = {name.decode() for name in redis_server.scan_iter(f"{prefix}:*")}
    return {name for name in found if not re.match(r"(.+):\{\1\}:", name)}


def last_action() -> IncidentAction:
    return IncidentAction.objects.latest()


# What is meant.


def test_audit_counts_streams_bytes_owners_states_and_ages(site, run):
    fill(("acme", "1", "a"), ("acme", "2", "a"), ("acme", "3", PUBLIC), ("other", "4", "a"))
    fill(("acme", "5", "b"), status=None)
    output = counts(run("audit", "--tenant", "acme", "--json", "--owners"))
    found = output["tenants"]["acme"]
    assert output["streams"] == found["streams"] == found["reachable"] == 4
    assert (found["bytes"], found["owners"]) == (20, 3)
    assert found["statuses"] == {"done": 3, "streaming": 1}
    assert found["ages"] == {"under 1 minute": 4}
    assert found["streams_by_owner"][owner_digest("a")] == 2
    assert found["oldest"] <= found["newest"] <= time.time() + 1
    assert set(counts(run("audit", "--all-tenants", "--json"))["tenants"]) == {"acme", "other"}
    assert "reachable    4" in run("audit", "--tenant", "acme")


def test_audit_of_an_owner_says_what_is_still_reachable(site, run):
    fill(("acme", "1", "a"), ("acme", "2", "b"))
    run("revoke", "--tenant", "acme", "--owner", "a", "--yes")
    found = counts(run("audit", "--tenant", "acme", "--json"))["tenants"]["acme"]
    assert (found["streams"], found["reachable"]) == (2, 1)
    run("rotate", "--tenant", "acme", "--yes")
    found = counts(run("audit", "--tenant", "acme", "--json"))["tenants"]["acme"]
    assert (found["streams"], found["reachable"]) == (2, 0)
    assert (found["generation"], found["saved_generation"]) == (2, 2)


def test_audit_tells_when_the_store_has_lost_a_rotation(site, run):
    StreamNamespace(alias="default", tenant="acme", generation=7).write()
    fill(("acme", "1", "a"))
    assert "rotate this tenant" in run("audit", "--tenant", "acme")
    assert counts(run("rotate", "--tenant", "acme", "--yes", "--json"))["generation"] == 8
    assert "rotate this tenant" not in run("audit", "--tenant", "acme")


def test_purge_of_tenant_4_leaves_tenant_42_alone(site, run, redis_server, key_prefix):
    fill(("4", "1", "a"), ("4", "g1", "a"), ("42", "1", "a"), ("4-2", "1", "a"), ("g4", "4", "a"))
    assert counts(run("purge", "--tenant", "4", "--yes", "--json")) == {"purged": 2}
    assert {name.split(":")[1] for name in names(redis_server, key_prefix)} == {"42", "4-2", "g4"}
    assert counts(run("purge", "--tenant", "4", "--yes", "--json")) == {"purged": 0}


def test_purge_spares_the_control_key_and_the_marks_of_revocations(
    site, run, redis_server, key_prefix
):
    fill(("acme", "1", "a"))
    run("rotate", "--tenant", "acme", "--yes")
    run("revoke", "--tenant", "acme", "--owner", "a", "--yes")
    assert counts(run("purge", "--tenant", "acme", "--yes", "--json")) == {"purged": 1}
    left = names(redis_server, key_prefix)
    digest = owner_digest("a")
    assert left == {f"{key_prefix}:acme:control", f"{key_prefix}:acme:revoked:{{{digest}}}"}


def test_purge_takes_what_fits_everything_that_is_given(site, run):
    fill(("t", "1", "a"), ("t", "2", "ab"), ("t", "3", "a"))
    fill(("t", "4", "a"), status=StreamStatus.CANCELLED)
    fill(("t", "5", "a"), generation=2)

    def purged(*arguments: str) -> int:
        count: int = counts(run("purge", "--tenant", "t", "--yes", "--json", *arguments))["purged"]
        return count

    assert purged("--owner", "a", "--older-than", "1h") == 0
    assert purged("--owner", "a", "--status", "cancelled", "error") == 1
    assert purged("--owner", "a", "--generation", "2", "--older-than", "0s") == 1
    assert purged("--owner", "a", "--id", "1") == 1
    assert purged("--owner", "a") == 1
    assert purged() == 1


@pytest.mark.parametrize(
    "owner",
    ["*", "?", "[ab]", "a:b", "{a}", "a\nb", "🙂", "a" * 1024, "user:1", "user:12", "=", "\\"],
)
def test_an_owner_of_any_text_is_meant_and_nobody_else(site, run, owner):
    others = [owner[:-1] or "x", owner + "x", "user:123", "a", "ab"]
    others = [other for other in others if other != owner and len(other.encode()) <= 1024]
    fill(("t", "mine", owner), *((("t", f"theirs{n}", other)) for n, other in enumerate(others)))
    assert counts(run("purge", "--tenant", "t", "--owner", owner, "--yes", "--json"))["purged"] == 1
    left = counts(run("audit", "--tenant", "t", "--json"))
    assert left["streams"] == len(others)
    run("revoke", "--tenant", "t", "--owner", owner, "--yes")
    found = counts(run("audit", "--tenant", "t", "--json"))["tenants"]["t"]
    assert found["reachable"] == len(others)


@pytest.mark.parametrize("owner", ["", "a" * 10_240, "\udcff"])
def test_an_owner_that_cannot_be_is_refused(site, run, owner):
    with pytest.raises(CommandError, match="An owner is"):
        run("revoke", "--tenant", "t", "--owner", owner, "--yes")


@pytest.mark.parametrize(
    "tenant", ["*", "4*", "?", "[4]", "a:b", "{a}", "a\n", "", "🙂", "a" * 65, "a" * 10_240, "../x"]
)
@pytest.mark.parametrize("verb", ["audit", "purge", "rotate"])
def test_a_tenant_that_cannot_be_is_refused_before_any_key_is_built(
    site, run, redis_server, verb, tenant
):
    before = redis_server.info("stats")["total_commands_processed"]
    with pytest.raises(CommandError, match="A tenant is 1 to 64 characters"):
        run(verb, "--tenant", tenant, "--yes")
    assert redis_server.info("stats")["total_commands_processed"] == before + 1


def test_a_user_and_a_visitor_are_named_as_the_default_owner_names_them(
    site, run, settings, monkeypatch
):
    monkeypatch.setattr(SessionStore, "get", lambda self, name, default=None: f"token-{name}")
    fill(("t", "1", "user:5"), ("t", "2", "user:50"), ("t", "3", f"session:token-{SESSION_KEY}"))
    fill(("t", "4", PUBLIC))
    for who, left in [("--user=5", 3), ("--session=key", 2), ("--public", 1)]:
        run("purge", "--tenant", "t", who, "--yes")
        assert counts(run("audit", "--tenant", "t", "--json"))["streams"] == left


def test_a_session_that_is_gone_names_nobody(site, run, monkeypatch):
    def load(session: SessionStore) -> dict[str, Any]:
        session._session_key = None
        return {}

    monkeypatch.setattr(SessionStore, "load", load)
    with pytest.raises(CommandError, match="This session does not exist"):
        run("revoke", "--tenant", "t", "--session", "k" * 32, "--yes")


def test_a_session_that_has_lost_its_token_is_still_its_visitor(site, run, monkeypatch):
    """As after another request has saved the session without it, at the same time."""
    monkeypatch.setattr(SessionStore, "load", lambda session: {"cart": "tea"})
    token = derived_token(SessionStore("k" * 32))
    fill(("t", "1", f"session:{token}"), ("t", "2", "session:other"))
    run("purge", "--tenant", "t", "--session", "k" * 32, "--yes")
    assert counts(run("audit", "--tenant", "t", "--json"))["streams"] == 1


# What is touched.


def test_a_dry_run_touches_nothing_and_counts_the_same(site, run, redis_server, key_prefix):
    fill(*(("t", str(number), "a" if number % 3 else "b") for number in range(50)))
    fill(("t", "running", "a"), status=None)

    def contents() -> dict[bytes, bytes]:
        return {name: redis_server.dump(name) for name in redis_server.scan_iter(f"{key_prefix}:*")}

    before = contents()
    verbs = [
        ("purge", "--owner", "a"),
        ("cancel",),
        ("retire", "--ttl", "300", "--existing"),
        ("rotate", "--purge-old"),
        ("revoke", "--owner", "a"),
        ("reap",),
        ("audit",),
    ]
    dry = [
        counts(run(verb, "--tenant", "t", *rest, "--dry-run", "--json", "--batch", "7"))
        for verb, *rest in verbs
    ]
    assert contents() == before
    assert not StreamNamespace.objects.exists()
    order = [1, 2, 0, 3]  # the purge of an owner leaves less for the others
    for index in order[:2]:
        verb, *rest = verbs[index]
        assert counts(run(verb, "--tenant", "t", *rest, "--yes", "--json")) == dry[index]
    assert dry[0] == {"purged": 34}
    assert dry[3] == {"generation": 2, "streams": 51, "running": 1, "purged": 51}
    assert dry[4] == {
        "owner": owner_digest("a"),
        "revoked_at": None,
        "streams": 34,
        "running": 1,
    }
    del dry[3]["running"]
    assert counts(run("rotate", "--tenant", "t", "--purge-old", "--yes", "--json")) == dry[3]


def test_cancel_ends_the_running_streams_of_an_owner_and_keeps_their_bytes(site, run):
    fill(("t", "1", "a"), ("t", "2", "b"), status=None)
    assert counts(run("cancel", "--tenant", "t", "--owner", "a", "--yes", "--json")) == {
        "looked_at": 1,
        "cancelled": 1,
    }
    info = site.status("1", owner="a", tenant="t")
    assert (info.status, info.size) == ("cancelled", 5)
    assert site.status("2", owner="b", tenant="t").status == "streaming"
    assert (
        counts(run("cancel", "--tenant", "t", "--owner", "a", "--yes", "--json"))["cancelled"] == 0
    )


def test_retire_shortens_what_comes_and_what_is_there(site, run):
    fill(("t", "1", "a"), ("u", "1", "a"))
    output = run("retire", "--tenant", "t", "--ttl", "5m", "--existing", "--yes", "--json")
    assert counts(output) == {"ttl": 300, "shortened": 1}
    assert site.status("1", owner="a", tenant="t").ttl <= 300
    assert site.status("1", owner="a", tenant="u").ttl > 300
    reader = site.run("2", [b"x"], owner="a", tenant="t")
    assert b"".join(reader) == b"x"
    assert reader.info.ttl <= 300
    output = run("retire", "--tenant", "t", "--ttl", "0", "--yes", "--json")
    assert counts(output)["ttl"] is None
    reader = site.run("3", [b"x"], owner="a", tenant="t")
    assert b"".join(reader) == b"x"
    assert reader.info.ttl > 300


def test_a_ttl_not_longer_than_the_lease_is_refused(site, run):
    with pytest.raises(CommandError, match="longer than the lease"):
        run("retire", "--tenant", "t", "--ttl", "15", "--yes")
    assert not StreamNamespace.objects.exists()


def test_reap_ends_what_dead_processes_left_and_tells_it(
    site, run, redis_server, key_prefix, settings, hear
):
    entry = settings.RESUMABLE_STREAMS["default"]
    settings.RESUMABLE_STREAMS = {"default": {**entry, "LEASE": 0.4, "STORE_TIMEOUT": 0.2}}
    ends = hear(stream_finalized)
    key = StreamKey(tenant="t", generation=1, stream_id="dead")
    runtime.call_sync(die_producing, site, key, b"12345", lease=0.05)
    runtime.call_sync(
        lambda: get_engine("default").store.processes.beat("p", lease=60, position="")
    )
    fill(("t", "orphan", "a"), process="unknown", status=None)
    fill(("t", "alive", "a"), process="p", status=None)
    until(lambda: counts(run("reap", "--tenant", "t", "--dry-run", "--json"))["lost"] == 2)
    assert ends == []
    assert counts(run("reap", "--tenant", "t", "--json")) == {"looked_at": 3, "lost": 2}
    for name in ("dead", "orphan"):
        meta = f"{key_prefix}:t:g1:{{{name}}}:meta"
        assert redis_server.hget(meta, "error_code") == b"producer_lost"
    told = {end["stream_id"]: (end["error_code"], end["size"], end["owner"]) for end in ends}
    assert told == dict.fromkeys(("dead", "orphan"), ("producer_lost", 5, "a"))
    assert len(ends) == 2


def test_reap_settles_the_records_of_the_alias(site, run, settings):
    entry = settings.RESUMABLE_STREAMS["default"]
    settings.RESUMABLE_STREAMS = {
        "default": {**entry, "LEASE": 0.4, "STORE_TIMEOUT": 0.2, "RECORDS": True}
    }
    StreamRecord.objects.create(
        alias="default",
        tenant="t",
        stream_id="gone",
        owner_digest="d",
        acquired=timezone.now() - timedelta(days=1),
    )
    assert "settled" not in counts(run("reap", "--tenant", "t", "--dry-run", "--json"))
    assert StreamRecord.objects.get().status == "streaming"
    assert counts(run("reap", "--tenant", "t", "--json"))["settled"] == 1
    assert StreamRecord.objects.get().status == "lost"


# How it is answered.


def test_without_a_terminal_and_without_yes_nothing_is_done(site, run):
    fill(("t", "1", "a"))
    for verb in (
        ["purge"],
        ["rotate"],
        ["revoke", "--owner=a"],
        ["cancel"],
        ["retire", "--ttl=60"],
    ):
        with pytest.raises(CommandError, match="confirm with --yes"):
            run(verb[0], "--tenant", "t", *verb[1:])
    assert counts(run("audit", "--tenant", "t", "--json"))["tenants"]["t"]["reachable"] == 1


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("no\n", 1)])
def test_a_question_on_the_terminal_is_answered_with_yes_or_nothing_is_done(
    site, run, monkeypatch, answer, left
):
    fill(("t", "1", "a"))
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    if left:
        with pytest.raises(CommandError, match="Nothing was done"):
            run("purge", "--tenant", "t")
    else:
        run("purge", "--tenant", "t")
    assert counts(run("audit", "--tenant", "t", "--json"))["streams"] == left


@pytest.mark.parametrize("verb", ["rotate", "revoke", "retire"])
def test_what_governs_a_tenant_is_never_done_to_all_at_once(site, run, verb):
    with pytest.raises(CommandError, match="unrecognized arguments: --all-tenants"):
        run(verb, "--all-tenants", "--yes")
    with pytest.raises(CommandError, match="has no option all_tenants"):
        call_command("resumable_streams", verb, all_tenants=True, yes=True)


def test_an_alias_that_is_not_there_is_refused(site, run):
    with pytest.raises(CommandError, match="no alias 'nope'"):
        run("audit", "--tenant", "t", "--using", "nope")


def test_a_store_that_cannot_be_made_is_refused_by_its_reason(ledger, run, settings):
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": REDIS, "OPTIONS": {"nonsense": 5}}}
    with pytest.raises(CommandError, match="do not fit RedisStore"):
        run("purge", "--tenant", "t", "--yes")
    with pytest.raises(CommandError, match="do not fit RedisStore"):
        run("records", "settle", "--using", "default")


def test_a_store_inside_another_process_is_out_of_reach_and_says_so(ledger, run, settings):
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY}}
    with pytest.raises(CommandError, match="lives in the process that serves it"):
        run("purge", "--tenant", "t", "--yes")
    assert last_action().outcome == "failed"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800)]
)
def test_an_age_has_a_unit_or_is_in_seconds(text, seconds):
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "1.5h", "1y", "10 m", "\u0661", "1" * 20])
def test_an_age_that_cannot_be_is_refused(site, run, text):
    with pytest.raises(CommandError, match="is not an age"):
        run("purge", "--tenant", "t", "--older-than", text, "--yes")


# As code calls it.


def test_each_verb_takes_its_options_as_keywords(site, run):
    def call(*verb: str, **keywords: Any) -> dict[str, Any]:
        output = io.StringIO()
        call_command("resumable_streams", *verb, json=True, stdout=output, **keywords)
        return counts(output.getvalue())

    fill(("t", "1", "a"), ("t", "2", "b"), status=None)
    assert call("audit", tenant="t", owners=True)["streams"] == 2
    assert call("audit", all_tenants=True, status="done")["streams"] == 0
    assert call("audit", tenant="t", status=["done", "streaming"])["streams"] == 2
    assert call("cancel", tenant="t", owner="a", yes=True)["cancelled"] == 1
    assert call("reap", tenant="t", dry_run=True)["looked_at"] == 2
    for old in ("1h", 3_600, 3_600.0, timedelta(hours=1)):
        assert call("purge", tenant="t", older_than=old, yes=True) == {"purged": 0}
    assert call("purge", tenant="t", id="1", batch=1, pause=0.00001, yes=True) == {"purged": 1}
    assert call("revoke", tenant="t", owner="a", yes=True)["owner"] == owner_digest("a")
    retired = call("retire", tenant="t", ttl=300, existing=True, yes=True)
    assert retired == {"ttl": 300, "shortened": 1}
    assert call("retire", tenant="t", ttl=0, yes=True)["ttl"] is None
    rotated = call("rotate", tenant="t", purge_old=True, yes=True)
    assert rotated == {"generation": 2, "streams": 1, "purged": 1}
    assert call("rotate", tenant="t", no_count=True, yes=True) == {"generation": 3}
    assert call("records", "clear", older_than="1d") == {"deleted": 0}
    assert call("records", "settle") == {"looked_at": 0, "settled": 0}
    assert call("records", "forget", owner="a", yes=True) == {"forgotten": 0}
    assert call("incidents", "clear", older_than="1d", dry_run=True) == {"deleted": 0}


def test_a_worker_takes_its_options_as_keywords(ledger, settings):
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY}}
    with pytest.raises(CommandError, match="need no worker"):
        call_command("resumable_streams", "worker", concurrency=5, grace=1.5, name="w")


@pytest.mark.parametrize(
    ("verb", "keywords", "message"),
    [
        ("audit", {}, "name a tenant with --tenant, or all of them with --all-tenants"),
        ("audit", {"tenant": "t", "all_tenants": True}, "not allowed with argument"),
        ("purge", {"tenant": "t", "older_than": "1y"}, "'1y' is not an age"),
        ("purge", {"tenant": "t", "status": ["over"]}, "invalid choice: 'over'"),
        ("purge", {"tenant": "t", "ttl": 300}, "purge has no option ttl"),
        ("retire", {"tenant": "t"}, "required: --ttl"),
        ("worker", {"concurrency": 0}, "'0' is not a whole number from 1"),
    ],
)
def test_keywords_are_held_to_the_rules_of_the_command_line(verb, keywords, message):
    with pytest.raises(CommandError, match=message):
        call_command("resumable_streams", verb, **keywords)


def test_a_keyword_that_no_verb_knows_is_a_type_error():
    with pytest.raises(TypeError, match="tenants"):
        call_command("resumable_streams", "audit", tenants="t")


@pytest.mark.parametrize(
    "arguments", [["audit"], ["records"], ["records", "clear"], ["retire", "--tenant=t"], []]
)
def test_wrong_usage_on_the_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "resumable_streams", *arguments])
    assert ended.value.code == 2
    assert re.search("required|error: name a tenant with", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rotate", "error: name a tenant with --tenant\n"),
        ("revoke --tenant=t", "error: name an owner with --owner, --user, --session or --public\n"),
        ("records forget", "error: name a person with --owner or --user\n"),
        (
            "rotate --tenat acme",
            "error: unrecognized arguments: --tenat (did you mean --tenant?)\n",
        ),
        (
            "records clear --older-then=3d",
            "error: unrecognized arguments: --older-then (did you mean --older-than?)\n",
        ),
        ("audit --qqq", "error: unrecognized arguments: --qqq\n"),
        ("audit --ten=t --reason=--tenat --using nope", "no alias 'nope'"),
        ("rotate --tenant=t --reason -- --tenat", "error: argument --reason: expected"),
    ],
)
def test_a_missing_option_and_a_misspelt_one_are_told_apart(arguments, message, capsys):
    with pytest.raises(SystemExit):
        Command().run_from_argv(["manage.py", "resumable_streams", *arguments.split()])
    assert message in capsys.readouterr().err


def test_a_misspelt_option_in_code_is_told_as_well():
    with pytest.raises(CommandError, match=r"--tenat \(did you mean --tenant\?\)"):
        call_command("resumable_streams", "rotate", "--tenat", "acme")


def test_the_command_alone_lists_its_verbs(capsys):
    with pytest.raises(SystemExit):
        Command().run_from_argv(["manage.py", "resumable_streams"])
    usage = "".join(capsys.readouterr().err.split())  # wrapped to the terminal
    assert "{" + ",".join(VERBS) + "}" in usage


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["purge", "--tenant=t", "--json"], 1, "confirm with --yes"),
        (["purge", "--tenant=t t", "--json", "--yes"], 1, "tenant"),
        (["audit", "--tenant=t", "--using=nope", "--json"], 1, "no alias 'nope'"),
        (["records", "settle", "--using=nope", "--json"], 1, "no alias 'nope'"),
        (["records", "forget", "--owner=a", "--json"], 1, "confirm with --yes"),
        (["purge", "--json"], 2, "name a tenant with --tenant"),
        (["purge", "--tenant=t", "--json", "--nonsense"], 2, "unrecognized arguments: --nonsense"),
        (["retire", "--tenant=t", "--ttl=1y", "--json"], 2, "is not an age"),
        (["records", "clear", "--json"], 2, "--older-than"),
    ],
)
def test_json_is_one_object_also_where_nothing_is_done(site, capsys, arguments, code, error):
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "resumable_streams", *arguments])
    assert ended.value.code == code
    output, errors = capsys.readouterr()
    outcome = json.loads(output)
    assert error in outcome["error"]
    assert outcome["action"] in (arguments[0], " ".join(arguments[:2]))
    assert error in errors


def test_ctrl_c_at_a_question_does_nothing_and_says_so(site, capsys, monkeypatch):
    fill(("t", "1", "a"))

    class Interrupted(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, *size: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    with pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "resumable_streams", "purge", "--tenant=t", "--json"])
    assert ended.value.code == 130
    output, errors = capsys.readouterr()
    assert json.loads(output)["error"] == "Interrupted. Nothing was done."
    assert "Interrupted. Nothing was done." in errors
    assert not IncidentAction.objects.exists()


def below(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Return the subparsers of a parser."""
    found = [one for one in parser._actions if isinstance(one, _SubParsersAction)]
    return dict(found[0].choices) if found else {}


def test_every_option_of_every_verb_is_explained():
    parser = Command().create_parser("manage.py", "resumable_streams")
    assert set(below(parser)) == set(VERBS)
    for verb in below(parser).values():
        for one in (verb, *below(verb).values()):
            assert one.description
            assert all(action.help for action in one._actions if action.option_strings)


def test_verbosity_0_prints_errors_and_json_only(site, run):
    fill(("t", "1", "a"))
    for verb, *rest in (["audit"], ["purge", "--yes"]):
        assert run(verb, "--tenant", "t", *rest, "--verbosity", "0") == ""
    assert counts(run("audit", "--tenant", "t", "--json", "-v0"))["streams"] == 0
    assert run("records", "clear", "--older-than", "1d", "-v0") == ""
    with pytest.raises(CommandError, match="longer than the lease"):
        run("retire", "--tenant", "t", "--ttl", "15", "--yes", "-v0")


def test_verbosity_2_prints_how_long_it_took_and_each_unreadable_stream(
    site, run, redis_server, key_prefix
):
    fill(*(("t", str(number), "a") for number in range(12)))
    for number in range(11):
        redis_server.hset(f"{key_prefix}:t:g1:{{{number}}}:meta", "status", "nonsense")
    output = run("audit", "--tenant", "t")
    assert ", …" in output
    assert "seconds." not in output
    output = run("audit", "--tenant", "t", "-v", "2")
    assert all(f"{{{number}}}" in output for number in range(11))
    assert re.search(r"^1 streams met, [0-9.]+ seconds\.$", output, re.MULTILINE)


# What is written down.


def test_every_run_is_written_down_without_an_owner_in_clear(site, run):
    fill(("t", "1", "secret-owner"))
    run("purge", "--tenant", "t", "--owner", "secret-owner", "--yes")
    act = last_action()
    assert (act.action, act.alias, act.tenant, act.outcome) == ("purge", "default", "t", "done")
    assert act.arguments == {"owner": owner_digest("secret-owner")}
    assert act.counts == {"purged": 1}
    assert act.finished is not None
    assert act.finished >= act.started
    run("audit", "--all-tenants")
    assert (last_action().action, last_action().tenant) == ("audit", "")


@pytest.mark.parametrize(
    "verb",
    [["purge"], ["cancel"], ["rotate"], ["revoke", "--owner=a"], ["retire", "--ttl=60"]],
    ids=lambda verb: verb[0],
)
def test_a_dry_run_has_an_outcome_of_its_own(site, run, caplog, verb):
    caplog.set_level("INFO", "resumable_streams.incidents")
    outcome = json.loads(run(verb[0], "--tenant", "t", *verb[1:], "--dry-run", "--json"))
    assert outcome["dry_run"] is True
    assert last_action().outcome == "dry_run"
    assert f"incident.{verb[0]} outcome=dry_run " in caplog.text
    outcome = json.loads(run(verb[0], "--tenant", "t", *verb[1:], "--yes", "--json"))
    assert outcome["dry_run"] is False
    assert last_action().outcome == "done"
    assert f"incident.{verb[0]} outcome=done " in caplog.text


def test_a_dry_run_names_the_generation_that_a_rotation_starts(site, run):
    fill(("t", "1", "a"))
    run("rotate", "--tenant", "t", "--yes")
    # The database is ahead, as after the store was restored from a backup.
    super(NamespaceQuerySet, StreamNamespace.objects.all()).update(generation=9)
    dry = counts(run("rotate", "--tenant", "t", "--dry-run", "--json"))
    assert dry["generation"] == 10
    assert counts(run("rotate", "--tenant", "t", "--yes", "--json"))["generation"] == 10


def test_who_acted_is_told_by_the_user_id_and_with_a_reason(site, run, caplog, monkeypatch):
    caplog.set_level("INFO", "resumable_streams.incidents")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    monkeypatch.setenv("SUDO_USER", "alice")
    reason = "ticket 7:\nids in a log"
    outcome = json.loads(run("purge", "--tenant", "t", "--reason", reason, "--yes", "--json"))
    act = last_action()
    assert act.who == f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    assert (act.uid, act.sudo_user, act.host) == (os.getuid(), "alice", socket.gethostname())
    assert act.reason == outcome["reason"] == reason
    line = caplog.records[-1].getMessage()
    assert f"who={act.who} uid={act.uid} sudo_user=alice host={act.host} " in line
    assert r'reason="ticket 7:\nids in a log"' in line
    assert "\n" not in line
    assert caplog.records[-1].__dict__["counts"] == {"purged": 0}


# What is not there.


def test_a_tenant_that_never_was_is_a_warning_and_0_streams(site, run, capsys):
    fill(("acme", "1", "a"))
    run("rotate", "--tenant", "acme", "--yes")
    for verb in (["revoke", "--owner", "a"], ["rotate"], ["purge"], ["audit"]):
        arguments = [verb[0], "--tenant", "acmee", *verb[1:], "--dry-run", "--yes"]
        (warning,) = json.loads(run(*arguments, "--json"))["warnings"]
        assert "Tenant acmee (alias default) is not known" in warning
        assert "Did you mean acme?" in warning
        errors = io.StringIO()
        call_command("resumable_streams", *arguments, stdout=io.StringIO(), stderr=errors)
        assert errors.getvalue() == f"Warning: {warning}\n"
        known = ["acme" if one == "acmee" else one for one in arguments]
        assert json.loads(run(*known, "--json"))["warnings"] == []


@pytest.mark.django_db
def test_a_user_who_never_was_is_a_warning_and_0_streams(site, run):
    run("rotate", "--tenant", "t", "--yes")
    fill(("t", "1", "user:nosuch"), generation=2)
    jane = User.objects.create_user("jane")
    for pk in ("nosuch", str(jane.pk + 1)):
        outcome = json.loads(run("revoke", "--tenant", "t", "--user", pk, "--yes", "--json"))
        assert outcome["warnings"][0].startswith(f"No user has the primary key '{pk}'")
        assert outcome["counts"]["streams"] == (pk == "nosuch")
    output = run("revoke", "--tenant", "t", "--user", str(jane.pk), "--dry-run")
    assert "would be revoked: 0 streams, 0 of them running." in output
    outcome = json.loads(run("audit", "--tenant", "t", "--user", str(jane.pk), "--json"))
    assert outcome["warnings"] == []


@pytest.mark.django_db
def test_an_owner_of_the_projects_own_makes_user_a_warning(site, run, settings):
    entry = settings.RESUMABLE_STREAMS["default"]
    settings.RESUMABLE_STREAMS = {"default": {**entry, "OWNER": "tests.urls.owner"}}
    run("rotate", "--tenant", "t", "--yes")
    jane = User.objects.create_user("jane")
    arguments = ["revoke", "--tenant", "t", "--user", str(jane.pk), "--yes", "--json"]
    (warning,) = json.loads(run(*arguments))["warnings"]
    assert f"--user means the owner 'user:{jane.pk}'" in warning


def test_a_revocation_counts_what_it_cuts_off_and_nothing_twice(site, run):
    fill(("t", "1", "a"), ("t", "2", "a"), ("t", "3", "b"))
    assert counts(run("revoke", "--tenant", "t", "--owner", "a", "--yes", "--json"))["streams"] == 2
    assert counts(run("revoke", "--tenant", "t", "--owner", "a", "--yes", "--json"))["streams"] == 0
    assert "No stream was cut off" in run("revoke", "--tenant", "t", "--owner", "a", "--yes")
    assert "are cut off: 1 stream." in run("rotate", "--tenant", "t", "--yes")
    output = run("revoke", "--tenant", "t", "--owner", "b", "--yes", "--no-count")
    assert "are revoked: not counted." in output


def test_a_database_that_is_down_does_not_keep_from_purging(site, run, ledger):
    fill(("t", "1", "a"))
    ledger.take_away()
    assert counts(run("audit", "--tenant", "t", "--json"))["streams"] == 1
    run("revoke", "--tenant", "t", "--owner", "a", "--yes")
    assert counts(run("purge", "--tenant", "t", "--yes", "--json")) == {"purged": 1}
    ledger.give_back()
    assert not IncidentAction.objects.exists()


@pytest.mark.parametrize("verb", [["rotate"], ["retire", "--ttl=60"]])
def test_a_database_that_is_down_keeps_the_store_as_it_is(
    site, run, ledger, redis_server, key_prefix, verb
):
    fill(("t", "1", "a"))
    before = names(redis_server, key_prefix)
    ledger.take_away()
    with pytest.raises(CommandError, match="Neither the database nor the store was changed"):
        run(verb[0], "--tenant", "t", *verb[1:], "--yes")
    assert names(redis_server, key_prefix) == before


# In processes of their own.


@pytest.fixture
@starts_a_process
def elsewhere(tmp_path, key_prefix, redis_url) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts the command in a process of its own."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.acceptance.site_settings",
        "DEMO_DB": str(tmp_path / "site.sqlite3"),
        "REDIS_URL": redis_url,
        "KEY_PREFIX": key_prefix,
    }
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    start("migrate", "-v0").communicate()
    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_dead_store_is_told_in_one_line_with_exit_code_1(elsewhere):
    for verb in (["audit"], ["purge", "--yes"], ["rotate", "--yes"]):
        process = elsewhere(
            "resumable_streams", *verb, "--tenant", "t", REDIS_URL="redis://:secret@127.0.0.1:1/0"
        )
        _, error = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "The stream store 'default' at redis://127.0.0.1:1/0 is unavailable: " in error
        assert "Nothing listens there: start the server" in error
        assert "Traceback" not in error
        assert "secret" not in error


def test_a_command_leaves_no_connection_and_can_be_repeated(elsewhere, redis_server):
    for _ in range(2):
        process = elsewhere("resumable_streams", "purge", "--tenant", "t", "--yes", "--json")
        output, _ = process.communicate(timeout=30)
        assert (process.returncode, counts(output)) == (0, {"purged": 0})
    assert [c for c in redis_server.client_list() if c["name"] != "suite"] == []


def test_a_command_that_looks_or_deletes_is_no_process_of_the_site(
    site, elsewhere, redis_server, key_prefix
):
    """It has one connection for commands; nobody listens, and nobody takes it for a producer."""
    fill(*(("t", str(number), "a") for number in range(30)))
    runtime.call_sync(runtime.aclose)
    before = len(names(redis_server, f"{key_prefix}:t:g1"))
    process = elsewhere(
        *("resumable_streams", "purge", "--tenant", "t", "--yes", "--batch", "10", "--pause", "60")
    )
    until(lambda: len(names(redis_server, f"{key_prefix}:t:g1")) < before)
    theirs = [client for client in redis_server.client_list() if client["name"] != "suite"]
    assert len(theirs) == 1
    assert (theirs[0]["sub"], theirs[0]["psub"]) == ("0", "0")
    assert redis_server.zcard(KeySpace(key_prefix).shared("processes")) == 0
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_purge_says_how_far_it_came_and_is_repeated_for_the_rest(
    site, elsewhere, redis_server, key_prefix, signum
):
    fill(*(("t", str(number), "a") for number in range(200)))
    runtime.call_sync(runtime.aclose)
    arguments = ["resumable_streams", "purge", "--tenant", "t", "--yes", "--json", "--batch", "10"]
    process = elsewhere(*arguments, "--pause", "1")
    until(lambda: len(names(redis_server, f"{key_prefix}:t:g1")) < 400)
    process.send_signal(signum)
    output, error = process.communicate(timeout=30)
    assert process.returncode == 128 + signum
    purged = counts(output)["purged"]
    left = len(names(redis_server, f"{key_prefix}:t:g1")) // 2
    assert 0 < purged < 200
    assert purged + left == 200
    assert "Interrupted" in error
    assert "Traceback" not in error
    output, _ = elsewhere(*arguments).communicate(timeout=30)
    assert counts(output)["purged"] == left


def test_an_interrupted_run_is_written_down_as_such(site, run, redis_server, key_prefix):
    fill(*(("t", str(number), "a") for number in range(20)))

    def interrupt() -> None:
        until(lambda: len(names(redis_server, f"{key_prefix}:t:g1")) == 30)
        pass_time_sync(0.1)  # until the first batch has been counted
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(CommandError, match="Interrupted") as stopped:
        run("purge", "--tenant", "t", "--yes", "--batch", "5", "--pause", "60")
    assert stopped.value.returncode == 130
    assert last_action().outcome == "interrupted"
    assert last_action().counts == {"purged": 5}


# What is running, and what is in it.


def list_running(*started: tuple[str, str, str]) -> None:
    """Have streams (tenant, id, owner) listed as live, as their producers do."""
    fill(*started, status=None)

    async def enter() -> None:
        store = get_engine("default").store
        for tenant, stream_id, _ in started:
            key = StreamKey(tenant=tenant, generation=1, stream_id=stream_id)
            info = await store.look(key)
            assert info is not None
            await store.reserve(holding_of(info), ttl=900)

    runtime.call_sync(enter)


def test_list_shows_what_is_running(site, run):
    list_running(("acme", "1", "a"), ("acme", "2", "b"), ("other", "3", "a"))
    output = run("list", "--tenant", "acme")
    assert output.startswith("2 streaming streams in tenant acme (alias default).")
    assert owner_digest("a") in output
    assert " owner a " not in output
    answer = json.loads(run("list", "--tenant", "acme", "--json"))
    assert {one["id"] for one in answer["streams"]} == {"1", "2"}
    assert answer["counts"] == {"streams": 2, "is_all": True}
    assert last_action().action == "list"
    assert last_action().counts == answer["counts"]  # no ids
    (mine,) = json.loads(run("list", "--tenant", "acme", "--owner", "a", "--json"))["streams"]
    assert (mine["id"], mine["size"], mine["owner_digest"]) == ("1", 5, owner_digest("a"))
    assert "There are more" in run("list", "--tenant", "acme", "--limit", "1")


def test_list_shows_ended_streams_of_an_owner(site, run):
    list_running(("acme", "1", "a"), ("acme", "2", "a"))

    async def end() -> None:
        store = get_engine("default").store
        await store.cancel(StreamKey(tenant="acme", generation=1, stream_id="1"))

    runtime.call_sync(end)
    found = json.loads(run("list", "--tenant=acme", "--owner=a", "--status=cancelled", "--json"))[
        "streams"
    ]
    assert [one["id"] for one in found] == ["1"]
    assert "1 streaming stream" in run("list", "--tenant", "acme", "--owner", "a")
    with pytest.raises(CommandError, match="name one"):
        run("list", "--tenant", "acme", "--status", "done")


def test_tail_reads_content_loudly_and_is_recorded(site, run, caplog):
    fill(("acme", "1", "a"))
    errors = io.StringIO()
    output = io.StringIO()
    arguments = ("tail", "1", "--tenant", "acme", "--yes", "--reason", "ticket 7")
    call_command("resumable_streams", *arguments, stdout=output, stderr=errors)
    assert output.getvalue().startswith("12345\n5 of 5 bytes of stream 1")
    assert "Reading CONTENT of stream 1" in errors.getvalue()
    action = last_action()
    assert (action.action, action.reason, action.counts) == ("tail", "ticket 7", {"bytes": 5})
    assert action.arguments["id"] == "1"
    assert "12345" not in caplog.text


def test_tail_does_nothing_without_a_yes(site, run):
    fill(("acme", "1", "a"))
    with pytest.raises(CommandError, match="CONTENT"):
        run("tail", "1", "--tenant", "acme")
    assert "12345" not in run("tail", "1", "--tenant", "acme", "--dry-run")
    assert not IncidentAction.objects.filter(outcome="done").exists()
    with pytest.raises(CommandError, match="STREAM"):
        call_command("resumable_streams", "tail", tenant="acme", yes=True)
    call_command("resumable_streams", "tail", id="1", tenant="acme", yes=True, verbosity=0)


def test_tail_of_the_last_bytes_as_json(site, run):
    fill(("acme", "1", "a"))
    arguments = ("--tenant=acme", "--owner=a", "--bytes=2", "--json", "--yes")
    answer = json.loads(run("tail", "1", *arguments))
    assert (answer["text"], answer["content"], answer["status"]) == ("45", "NDU=", "done")
    assert answer["counts"] == {"bytes": 2}
    for missing in (("1", "--tenant=acme", "--owner=b"), ("2", "--tenant=acme")):
        answer = json.loads(run("tail", *missing, "--json", "--yes"))
        assert "content" not in answer
        assert "no such stream" in answer["warnings"][0]


def test_tail_follows_a_stream_to_its_end(site, run):
    list_running(("acme", "1", "a"))

    def end_soon() -> None:
        async def end() -> None:
            store = get_engine("default").store
            await store.cancel(StreamKey(tenant="acme", generation=1, stream_id="1"))

        runtime.call_sync(end)

    ending = threading.Timer(0.2, end_soon)
    ending.start()
    assert "It is cancelled" in run("tail", "1", "--tenant", "acme", "--follow", "--yes")
    ending.join()


def test_tail_escapes_what_a_terminal_would_obey() -> None:
    assert printable(b"a\x1b[2Jb\xff\r\n\tc\xe2\x80\xae") == "a\\x1b[2Jb\\xff\\r\n\tc\\u202e"
