"""The models: what they may hold, what they say of themselves, and that migrations match."""

import os
import pwd
import re

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import IntegrityError, connection, models
from django.utils import timezone

from resumable_streams import PUBLIC
from resumable_streams.admin.records import _meanings
from resumable_streams.models import IncidentAction, StreamNamespace, StreamRecord
from resumable_streams.operating.incidents import Operator, incident, operator_of_process

MODELS = (StreamNamespace, StreamRecord, IncidentAction)
SECRET = "session:very-secret"
ME = Operator(who="os:me", host="web-1")


def record(**fields: object) -> StreamRecord:
    given = {"alias": "default", "tenant": "acme", "stream_id": "s1", "owner": SECRET}
    return StreamRecord(**{"acquired": timezone.now(), "owner_digest": "d", **given, **fields})


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "resumable_streams", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_outlives_the_account_it_is_about(model):
    assert not [field for field in model._meta.get_fields() if field.is_relation]
    assert isinstance(model._meta.pk, models.BigAutoField)


def test_a_row_names_itself_without_its_owner():
    assert str(record()) == "default/acme/s1"
    namespace = StreamNamespace(alias="default", tenant="acme", generation=7)
    assert str(namespace) == "default/acme (generation 7)"
    act = IncidentAction(action="purge", alias="default", who="os:root")
    assert str(act) == "purge default/* by os:root"


def test_an_empty_owner_is_the_public():
    assert record(owner="").stream_owner is PUBLIC
    assert record().stream_owner == SECRET


@pytest.mark.django_db
def test_a_tenant_has_one_generation_and_an_election_one_record():
    StreamNamespace.objects.create(alias="default", tenant="acme")
    StreamNamespace.objects.create(alias="other", tenant="acme")
    now = timezone.now()
    record(acquired=now).save()
    record(acquired=now, tenant="other").save()
    with pytest.raises(IntegrityError):
        record(acquired=now).save()


@pytest.mark.django_db
def test_what_can_be_permitted_is_what_can_be_done():
    given = Permission.objects.filter(content_type__app_label="resumable_streams")
    assert sorted(given.values_list("codename", flat=True)) == [
        "add_streamnamespace",
        "cancel_streamrecord",
        "erase_streamrecord",
        "retire_streamnamespace",
        "revoke_streamrecord",
        "rotate_streamnamespace",
        "view_incidentaction",
        "view_streamnamespace",
        "view_streamrecord",
    ]


# Incidents.


@pytest.mark.django_db
def test_an_act_is_written_before_it_begins_and_after_it_ended():
    with incident(
        IncidentAction.Action.PURGE, alias="default", tenant="acme", by=ME, arguments={"b": 1}
    ) as act:
        before = IncidentAction.objects.get()
        act.counts = {"streams": 3}
    assert (before.outcome, before.finished) == ("interrupted", None)
    after = IncidentAction.objects.get()
    assert (after.outcome, after.arguments, after.counts) == ("done", {"b": 1}, {"streams": 3})
    assert after.finished is not None
    assert after.finished >= after.started


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_an_act_that_ends_badly_says_how(error, outcome):
    def act() -> None:
        with incident(IncidentAction.Action.PURGE, alias="default", by=ME):
            raise error

    with pytest.raises(type(error)):
        act()
    row = IncidentAction.objects.get()
    assert (row.outcome, row.tenant) == (outcome, "")
    assert row.error.startswith(type(error).__name__)
    assert row.finished is not None


def test_a_dead_database_keeps_nobody_from_acting(monkeypatch, caplog):
    from django.db import OperationalError

    def refuse(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(IncidentAction, "save", refuse)
    caplog.set_level("INFO")
    with incident(IncidentAction.Action.PURGE, alias="default", by=ME) as act:
        act.counts = {"streams": 3}
    assert "could not be written to the database" in caplog.text
    line = next(r for r in caplog.records if r.levelname == "INFO")
    assert line.getMessage() == (
        'incident.purge outcome=done alias=default who=os:me host=web-1 counts={"streams":3}'
    )
    assert line.__dict__["counts"] == {"streams": 3}


def test_a_command_is_run_by_a_user_id_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("LOGNAME", "jane")
    monkeypatch.delenv("SUDO_USER", raising=False)
    me = operator_of_process()
    assert me.who == f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    assert (me.uid, me.sudo_user) == (os.getuid(), "")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)  # as in a container without a name
    assert operator_of_process().who == "os:4000000001"


# What is asked for often or in a hurry finds an index, however long the table.

ELECTION = "resumable_record_unique_election"


@pytest.fixture
def long_table(db) -> None:
    """Fill the table, so that a scan is worth avoiding, and tell the database what is in it."""
    StreamRecord.objects.bulk_create(
        record(
            tenant=f"tenant-{number % 3}",
            stream_id=f"s{number}",
            owner_digest=f"d{number % 100}",
            user=str(number % 100),
            request_id=f"r{number}",
            ip=f"10.0.0.{number % 250}",
            status="done" if number % 10 else "streaming",
        )
        for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def indexes(plan: str) -> set[str]:
    """Return the indexes that a plan of any database uses; it may scan nothing."""
    assert not re.search(r"\bseq scan\b|\bscan resumable", plan, re.IGNORECASE), plan
    automatic = "sqlite_autoindex_resumable_streams_streamrecord_1"  # SQLite's name of it
    return set(re.findall(r"resumable_record_\w+", plan.replace(automatic, ELECTION)))


@pytest.mark.usefixtures("long_table")
def test_the_end_of_a_stream_finds_its_row_by_an_index():
    found = StreamRecord.objects.filter(
        alias="default", tenant="tenant-1", stream_id="s1", status="streaming"
    )
    assert indexes(found.order_by().explain()) == {ELECTION}


@pytest.mark.usefixtures("long_table")
def test_every_meaning_of_a_search_in_the_admin_has_an_index():
    used = [
        indexes(StreamRecord.objects.filter(meaning).order_by().explain())
        for meaning in _meanings("198.51.100.7")
    ]
    names = ("owner", "owner", "user", "request")
    assert used == [
        *({f"resumable_record_{name}"} for name in names),
        {ELECTION},
        {"resumable_record_ip"},
    ]


@pytest.mark.usefixtures("long_table")
def test_a_scan_would_be_noticed():
    with pytest.raises(AssertionError):
        indexes(StreamRecord.objects.filter(error_code="expired").order_by().explain())
