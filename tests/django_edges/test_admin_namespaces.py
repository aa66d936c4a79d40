"""The page of tenants: row and store side by side, and a time to live that can be edited."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import connections
from django.test import Client
from django.urls import reverse

from resumable_streams import StreamManager
from resumable_streams.models import IncidentAction, StreamNamespace
from resumable_streams.operating import rows as rows_in_force

from .test_admin import VIEWS, act, page_of, told
from .test_admin import dead_store as dead_store  # fixtures
from .test_admin import staff as staff
from .test_admin import streams as streams
from .test_admin import unhurried as unhurried
from .test_namespace_rows import OWNER, TENANT, in_force, saved, set_store

pytestmark = [
    pytest.mark.urls(f"{__package__}.test_admin"),
    pytest.mark.django_db(transaction=True),
]

EDITOR = (*VIEWS, "retire_streamnamespace")


def new_row(**says: Any) -> StreamNamespace:
    """Write a row down, and put nothing in force."""
    row = StreamNamespace(alias="default", tenant=TENANT, **says)
    row.write()
    return row


def address(row: StreamNamespace) -> str:
    return reverse("admin:resumable_streams_streamnamespace_change", args=[row.pk])


def listed(client: Client) -> dict[str, Any]:
    """Return what the list says of its one row, by column."""
    page = client.get(page_of("streamnamespace"))
    (row,) = page.context["cl"].result_list
    shown = admin.site._registry[StreamNamespace]
    columns = ("generation_in_store", "ttl_in_store", "agrees")
    return {column: getattr(shown, column)(row) for column in columns}


def test_row_and_store_are_side_by_side_with_a_mark_where_they_differ(
    staff: Any, streams: StreamManager
):
    client = staff(*VIEWS)
    new_row(generation=2, ttl=300)
    unknown = {"generation_in_store": "-", "ttl_in_store": "-", "agrees": True}
    assert listed(client) == unknown
    set_store(generation=2, ttl=300)
    assert listed(client) == {"generation_in_store": "2", "ttl_in_store": "300.0", "agrees": True}
    set_store(generation=3, ttl=0)
    assert listed(client) == {"generation_in_store": "3", "ttl_in_store": "-", "agrees": False}
    assert b"icon-no" in client.get(page_of("streamnamespace")).content


def test_the_page_of_a_tenant_says_what_is_in_force_and_the_whole_prefix_of_its_keys(
    staff: Any, streams: StreamManager, key_prefix: str
):
    client = staff(*VIEWS)
    row = new_row()
    assert "does not know this tenant" in client.get(address(row)).content.decode()
    set_store(generation=1)
    assert "The same is in force." in client.get(address(row)).content.decode()
    set_store(generation=7)
    page = client.get(address(row)).content.decode()
    assert "They differ" in page
    assert "Generation: 7. Time to live: that of the alias." in page
    assert f"{key_prefix}:{TENANT}:g7:" in page
    list(streams.run("s", [b"x"], owner=OWNER, tenant=TENANT))
    assert f"{key_prefix}:{TENANT}:g7:" in client.get(address(row)).content.decode()


@pytest.mark.parametrize(("typed", "ttl"), [("90000", 90_000), ("60", 60), ("", None)])
def test_a_time_to_live_that_is_edited_is_in_force_and_written_down(
    staff: Any, streams: StreamManager, typed: str, ttl: float | None
):
    client = staff(*EDITOR)
    row = new_row()
    set_store(ttl=300)
    done = client.post(address(row), {"ttl": typed})
    assert done.status_code == 302
    assert "was changed successfully" in told(done)
    assert saved() == in_force() == (1, ttl)
    one = IncidentAction.objects.get()
    assert (one.action, one.tenant, one.who, one.outcome) == (
        "retire",
        TENANT,
        "admin:jane",
        "done",
    )
    assert (one.arguments, one.counts["ttl"]) == ({"ttl": ttl or 0}, ttl)
    assert LogEntry.objects.count() == 1


def test_saving_a_page_that_shows_a_difference_heals_it(staff: Any, streams: StreamManager):
    client = staff(*EDITOR)
    row = new_row(ttl=300)
    set_store(generation=4, ttl=60)
    client.post(address(row), {"ttl": "300"})
    assert saved() == in_force() == (4, 300)
    assert "The same is in force." in client.get(address(row)).content.decode()


@pytest.mark.parametrize("typed", ["1", "0", "-1", "nan", "inf", "1e400", "soon"])
def test_a_time_that_cannot_be_is_an_error_of_the_form(
    staff: Any, streams: StreamManager, typed: str
):
    client = staff(*EDITOR)
    row = new_row()
    refused = client.post(address(row), {"ttl": typed})
    assert b"errorlist" in refused.content
    assert saved() == (1, None)
    assert not IncidentAction.objects.exists()


def test_only_the_time_to_live_can_be_edited(staff: Any, streams: StreamManager):
    client = staff(*EDITOR)
    row = new_row()
    forged = {"ttl": "300", "tenant": "other", "alias": "other", "generation": "9"}
    client.post(address(row), forged)
    assert saved() == in_force() == (1, 300)


def test_who_may_only_look_or_rotate_edits_nothing(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, "rotate_streamnamespace")
    row = new_row()
    assert b'name="ttl"' not in client.get(address(row)).content
    assert client.post(address(row), {"ttl": "300"}).status_code == 403
    assert saved() == (1, None)


def test_a_store_that_is_away_is_told_and_nothing_is_half_done(staff: Any, dead_store: None):
    client = staff(*EDITOR)
    row = new_row()
    assert listed(client) == {"generation_in_store": "?", "ttl_in_store": "?", "agrees": None}
    page = client.get(address(row))
    assert "is unavailable" in told(page)
    assert "The store did not answer." in page.content.decode()
    failed = client.post(address(row), {"ttl": "300"})
    assert failed.status_code == 302
    last = told(failed).splitlines()[-1]
    assert "is unavailable" in last
    assert last.endswith("The row is what it was.")
    assert "successfully" not in told(failed)
    assert saved() == (1, None)
    one = IncidentAction.objects.get()
    assert (one.action, one.outcome) == ("retire", "failed")
    assert not LogEntry.objects.exists()


def test_a_tenant_of_an_alias_that_is_gone_is_a_message(staff: Any, streams: StreamManager):
    client = staff(*EDITOR)
    row = StreamNamespace(alias="removed", tenant=TENANT)
    row.write()
    for page in (page_of("streamnamespace"), address(row)):
        assert "no alias 'removed'" in told(client.get(page))
    failed = client.post(address(row), {"ttl": ""})
    assert "no alias 'removed'" in told(failed)


def test_an_edit_is_no_part_of_a_transaction_of_the_request():
    view = admin.site._registry[StreamNamespace].change_view
    assert view._non_atomic_requests >= set(connections)  # type: ignore[attr-defined]


def test_the_stores_word_is_asked_for_once_a_page(
    staff: Any, streams: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    for number in range(30):
        StreamNamespace.objects.create(alias="default", tenant=f"t{number}")
    asked: list[int] = []
    found = rows_in_force.in_force

    def count(alias: str, rows: Any) -> Any:
        asked.append(len(rows))
        return found(alias, rows)

    monkeypatch.setattr(rows_in_force, "in_force", count)
    staff(*VIEWS).get(page_of("streamnamespace"))
    assert asked == [30]


def test_several_are_given_a_time_to_live_at_once(staff: Any, streams: StreamManager):
    client = staff(*EDITOR)
    rows = [StreamNamespace.objects.create(alias="default", tenant=f"t{n}") for n in range(2)]
    asked = act(client, "streamnamespace", "retire", rows)
    assert "Set the time to live" in asked.content.decode()
    act(client, "streamnamespace", "retire", rows, confirmed="yes", ttl="300")
    assert set(StreamNamespace.objects.values_list("ttl", flat=True)) == {300}
