"""The admin: who may see and do what, that it asks, acts, and writes down what it did."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import AsyncClient, Client
from django.urls import path, reverse
from django.utils import timezone

from resumable_streams import PUBLIC, StreamManager
from resumable_streams.identifiers import owner_digest
from resumable_streams.models import IncidentAction, StreamNamespace, StreamRecord
from tests.tools.streams import MEMORY, REDIS

urlpatterns = [path("admin/", admin.site.urls)]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]

PAGES = ("streamnamespace", "streamrecord", "incidentaction")
SECRET = b"the payload of a stream"


@pytest.fixture(params=["memory", "redis"])
def streams(request, settings, key_prefix) -> StreamManager:
    entry = {"BACKEND": MEMORY, "LOCATION": key_prefix, "KEY_PREFIX": key_prefix}
    if request.param == "redis":
        entry |= {"BACKEND": REDIS, "LOCATION": request.getfixturevalue("redis_url")}
    settings.RESUMABLE_STREAMS = {"default": entry}
    return StreamManager()


@pytest.fixture
def no_streams(settings) -> None:
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY}}


@pytest.fixture
def dead_store(settings) -> None:
    settings.RESUMABLE_STREAMS = {
        "default": {
            "BACKEND": REDIS,
            "LOCATION": "redis://127.0.0.1:1/0",
            "STORE_TIMEOUT": 0.2,
        }
    }


@pytest.fixture
def staff(client: Client) -> Callable[..., Client]:
    """Log somebody in who has the permissions given, and no other."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("jane", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return log_in


VIEWS = tuple(f"view_{page}" for page in PAGES)


def page_of(model: str) -> str:
    return reverse(f"admin:resumable_streams_{model}_changelist")


def act(client: Client, model: str, action: str, rows, **form: object):
    return client.post(
        page_of(model),
        {"action": action, ACTION_CHECKBOX_NAME: [row.pk for row in rows], **form},
    )


def told(response) -> str:
    return "\n".join(str(message) for message in get_messages(response.wsgi_request))


def record(stream_id: str = "s1", owner: str = "user:42", **fields: object) -> StreamRecord:
    given = {"alias": "default", "tenant": "default", "acquired": timezone.now(), **fields}
    return StreamRecord.objects.create(
        stream_id=stream_id, owner=owner, owner_digest=owner_digest(owner or PUBLIC), **given
    )


async def endless() -> AsyncIterator[bytes]:
    yield SECRET
    await asyncio.Event().wait()


# Who may see.


@pytest.mark.parametrize("page", PAGES)
def test_nobody_sees_a_page_without_its_permission(staff, page):
    client = staff(*(f"view_{other}" for other in PAGES if other != page))
    assert client.get(page_of(page)).status_code == 403


def test_who_may_only_view_sees_no_action_and_can_do_none(staff, streams):
    client = staff(*VIEWS)
    streams.run("s1", endless, owner="user:42")
    rows = {
        "streamrecord": ("cancel", "erase", "revoke", "delete_selected"),
        "streamnamespace": ("rotate", "retire", "delete_selected"),
        "incidentaction": ("delete_selected",),
    }
    record()
    StreamNamespace.objects.create(alias="default", tenant="default")
    IncidentAction.objects.create(alias="default", action="purge", who="os:root")
    for page, actions in rows.items():
        response = client.get(page_of(page))
        assert response.status_code == 200
        assert b'name="action"' not in response.content
        (row,) = response.context["cl"].result_list
        for action in actions:
            assert act(client, page, action, [row], confirmed="yes").status_code in (200, 302, 403)
    info = streams.status("s1", owner="user:42")
    assert info is not None
    assert info.is_streaming
    assert IncidentAction.objects.count() == 1
    assert StreamNamespace.objects.get().generation == 1


@pytest.mark.parametrize("page", PAGES)
def test_a_row_can_be_seen_but_neither_changed_nor_deleted(staff, no_streams, page):
    client = staff(*VIEWS)
    rows = {
        "streamrecord": record(),
        "streamnamespace": StreamNamespace.objects.create(alias="default", tenant="acme"),
        "incidentaction": IncidentAction.objects.create(alias="default", who="os:root"),
    }
    where = (rows[page].pk,)
    change = reverse(f"admin:resumable_streams_{page}_change", args=where)
    delete = reverse(f"admin:resumable_streams_{page}_delete", args=where)
    seen = client.get(change)
    assert seen.status_code == 200
    assert b'type="text"' not in seen.content
    assert client.post(change, {"alias": "other"}).status_code == 403
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert client.get(reverse(f"admin:resumable_streams_{page}_add")).status_code == 403


# Records.


def test_the_page_shows_what_streams_are_now_and_no_payload(staff, streams):
    list(streams.run("ended", [SECRET], owner="user:42"))
    streams.run("live", endless, owner="user:42")
    list(streams.run("taken", [SECRET], owner="user:43"))
    for name in ("ended", "live", "taken", "never"):
        record(name)
    response = staff(*VIEWS).get(page_of("streamrecord"))
    shown = {row.stream_id: row.status_now for row in response.context["cl"].result_list}
    assert shown == {"ended": "done", "live": "streaming", "taken": "gone", "never": "gone"}
    assert SECRET not in response.content


def test_the_states_of_a_page_are_one_batch(staff, no_streams, monkeypatch):
    for number in range(30):
        record(f"s{number}")
    from resumable_streams.operating import settling

    calls = []
    status = settling._status

    async def spy(alias, keys):
        calls.append(len(keys))
        return await status(alias, keys)

    monkeypatch.setattr(settling, "_status", spy)
    staff(*VIEWS).get(page_of("streamrecord"))
    assert calls == [30]


def test_one_record_shows_what_its_stream_is_now(staff, streams):
    list(streams.run("s1", [SECRET], owner="user:42"))
    where = reverse("admin:resumable_streams_streamrecord_change", args=[record().pk])
    response = staff(*VIEWS).get(where)
    assert b"done" in response.content
    assert SECRET not in response.content


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("user:42", {"a"}),
        (owner_digest("user:42"), {"a"}),
        ("user:4", {"c"}),
        ("7", {"b"}),
        ("198.51.100.7", {"b"}),
        ("2001:DB8:0::1", {"c"}),
        ("r-1", {"c"}),
        (" a ", {"a"}),
        ("s", set()),
        ("%", set()),
        ("'; --", set()),
        ("", {"a", "b", "c"}),
    ],
)
def test_records_are_found_by_a_whole_owner_user_address_request_or_stream(
    staff, no_streams, term, found
):
    record("a")
    record("b", owner="session:x", ip="198.51.100.7", user="7")
    record("c", owner="user:4", ip="2001:db8::1", request_id="r-1")
    response = staff(*VIEWS).get(page_of("streamrecord"), {"q": term})
    assert {row.stream_id for row in response.context["cl"].result_list} == found


def test_records_are_narrowed_by_status_alias_tenant_and_day(staff, no_streams):
    client = staff(*VIEWS)
    now = timezone.now()
    record("a", status="done")
    record("b", tenant="acme")
    for query, found in [
        ({"status__exact": "done"}, {"a"}),
        ({"tenant": "acme"}, {"b"}),
        ({"alias": "default"}, {"a", "b"}),
        ({"acquired__year": now.year, "acquired__month": now.month}, {"a", "b"}),
        ({"acquired__year": now.year - 1}, set()),
    ]:
        response = client.get(page_of("streamrecord"), query)
        assert response.status_code == 200
        assert {row.stream_id for row in response.context["cl"].result_list} == found


def test_cancelling_asks_first_then_ends_the_stream_and_writes_it_down(staff, streams):
    client = staff(*VIEWS, "cancel_streamrecord")
    streams.run("s1", endless, owner="user:42")
    rows = [record(), record("never")]
    asked = act(client, "streamrecord", "cancel", rows)
    assert asked.status_code == 200
    assert "default/default/s1" in asked.content.decode()
    info = streams.status("s1", owner="user:42")
    assert info is not None
    assert info.is_streaming
    assert not IncidentAction.objects.exists()
    reason = {"reason": "ticket 7"}
    done = act(client, "streamrecord", "cancel", rows, confirmed="yes", **reason)
    assert done.status_code == 302
    assert "1 of 2 done. 1 gone already" in told(done)
    info = streams.status("s1", owner="user:42")
    assert info is not None
    assert info.status == "cancelled"
    acts = {a.arguments["stream_id"]: a for a in IncidentAction.objects.all()}
    assert {name: a.counts for name, a in acts.items()} == {
        "s1": {"cancelled": 1},
        "never": {"cancelled": 0, "gone": 1},
    }
    assert acts["s1"].action == "cancel"
    assert acts["s1"].who == "admin:jane"
    assert (acts["s1"].reason, acts["s1"].host) == ("ticket 7", socket.gethostname())
    assert "reason" not in acts["s1"].arguments
    assert acts["s1"].outcome == "done"
    assert "user:42" not in str(acts["s1"].arguments)


def test_deleting_removes_the_stream_and_keeps_the_record(staff, streams):
    client = staff(*VIEWS, "erase_streamrecord")
    list(streams.run("s1", [SECRET], owner="user:42"))
    list(streams.run("s2", [SECRET], owner=PUBLIC))
    rows = [record(), record("s2", owner="")]
    assert act(client, "streamrecord", "erase", rows, confirmed="yes").status_code == 302
    assert streams.status("s1", owner="user:42") is None
    assert streams.status("s2", owner=PUBLIC) is None
    assert StreamRecord.objects.count() == 2
    assert [a.counts for a in IncidentAction.objects.all()] == [{"deleted": 1}] * 2


def test_a_stream_that_has_another_owner_by_now_is_not_touched(staff, streams):
    client = staff(*VIEWS, "erase_streamrecord")
    list(streams.run("s1", [SECRET], owner="user:43"))
    act(client, "streamrecord", "erase", [record()], confirmed="yes")
    assert streams.status("s1", owner="user:43") is not None
    assert IncidentAction.objects.get().counts == {"deleted": 0, "gone": 1}


def test_revoking_bars_all_streams_of_an_owner_once_and_nobody_elses(staff, streams):
    client = staff(*VIEWS, "revoke_streamrecord")
    for name in ("s1", "s2", "unrecorded"):
        list(streams.run(name, [SECRET], owner="user:42"))
    list(streams.run("s3", [SECRET], owner="user:4"))
    list(streams.run("s4", [SECRET], owner=PUBLIC))
    rows = [record(), record("s2"), record("s4", owner="")]
    asked = act(client, "streamrecord", "revoke", rows)
    assert asked.content.count(b"<li>default/default: user:42</li>") == 1
    done = act(client, "streamrecord", "revoke", rows, confirmed="yes")
    assert "1 of 1 done" in told(done)
    assert "Public and forgotten streams" in told(done)
    assert all(streams.status(name, owner="user:42") is None for name in ("s1", "s2", "unrecorded"))
    assert streams.status("s3", owner="user:4") is not None
    assert streams.status("s4", owner=PUBLIC) is not None
    (one,) = IncidentAction.objects.all()
    assert (one.action, one.counts) == ("revoke", {"owners": 1})
    assert one.arguments == {"owner_digest": owner_digest("user:42")}


def test_one_permission_is_not_the_other(staff, streams):
    client = staff(*VIEWS, "cancel_streamrecord")
    list(streams.run("s1", [SECRET], owner="user:42"))
    row = record()
    act(client, "streamrecord", "erase", [row], confirmed="yes")
    act(client, "streamrecord", "revoke", [row], confirmed="yes")
    assert streams.status("s1", owner="user:42") is not None
    assert not IncidentAction.objects.exists()


def test_too_many_at_once_are_refused(staff, no_streams, monkeypatch):
    monkeypatch.setattr("resumable_streams.admin.acting.MOST_SELECTED", 2)
    rows = [record(f"s{number}") for number in range(3)]
    client = staff(*VIEWS, "cancel_streamrecord")
    refused = act(client, "streamrecord", "cancel", rows, confirmed="yes")
    assert "at most 2" in told(refused)
    assert not IncidentAction.objects.exists()


def test_markup_in_an_owner_is_text(staff, no_streams):
    client = staff(*VIEWS, "revoke_streamrecord")
    row = record(owner="<script>alert(1)</script>")
    listed = client.get(page_of("streamrecord"))
    asked = act(client, "streamrecord", "revoke", [row])
    for response in (listed, asked):
        assert b"<script>alert" not in response.content
        assert b"&lt;script&gt;alert" in response.content


# Namespaces.


def test_rotating_asks_first_then_makes_old_streams_unreachable(staff, streams):
    client = staff(*VIEWS, "rotate_streamnamespace")
    list(streams.run("s1", [SECRET], owner="user:42", tenant="acme"))
    list(streams.run("s1", [SECRET], owner="user:42", tenant="other"))
    row = StreamNamespace.objects.create(alias="default", tenant="acme")
    asked = act(client, "streamnamespace", "rotate", [row])
    assert b"purge_old" in asked.content
    assert streams.status("s1", owner="user:42", tenant="acme") is not None
    done = act(client, "streamnamespace", "rotate", [row], confirmed="yes", purge_old="on")
    assert "1 of 1 done" in told(done)
    row.refresh_from_db()
    assert row.generation == 2
    assert streams.status("s1", owner="user:42", tenant="acme") is None
    assert streams.status("s1", owner="user:42", tenant="other") is not None
    one = IncidentAction.objects.get()
    assert (one.action, one.tenant, one.outcome) == ("rotate", "acme", "done")
    assert (one.arguments, one.counts) == ({"purge_old": True}, {"generation": 2})


def test_retiring_wants_a_time_and_shortens_what_is_there(staff, streams):
    client = staff(*VIEWS, "retire_streamnamespace")
    list(streams.run("s1", [SECRET], owner="user:42", tenant="acme"))
    row = StreamNamespace.objects.create(alias="default", tenant="acme")
    for ttl in ("", "-1", "soon", "nan", "1e99"):
        asked = act(client, "streamnamespace", "retire", [row], confirmed="yes", ttl=ttl)
        assert b"errorlist" in asked.content
    assert not IncidentAction.objects.exists()
    refused = act(client, "streamnamespace", "retire", [row], confirmed="yes", ttl="1")
    assert "longer than the lease" in told(refused)
    assert IncidentAction.objects.get().outcome == "failed"
    IncidentAction.objects.all().delete()
    act(client, "streamnamespace", "retire", [row], confirmed="yes", ttl="300", existing="on")
    row.refresh_from_db()
    assert row.ttl == 300
    info = streams.status("s1", owner="user:42", tenant="acme")
    assert info is not None
    assert info.expires - timezone.now().timestamp() <= 301
    assert IncidentAction.objects.get().counts == {"shortened": 1}


def test_a_tenant_that_was_never_rotated_can_be_named_to_be(staff, no_streams):
    client = staff(*VIEWS, "add_streamnamespace")
    where = reverse("admin:resumable_streams_streamnamespace_add")
    for bad in ({"tenant": "a:b"}, {"tenant": "*"}, {"tenant": "x" * 65}, {"alias": "nope"}):
        response = client.post(where, {"alias": "default", "tenant": "acme", **bad})
        assert b"errorlist" in response.content
    response = client.post(where, {"alias": "default", "tenant": "acme"})
    assert response.status_code == 302
    row = StreamNamespace.objects.get()
    assert (row.alias, row.tenant, row.generation, row.ttl) == ("default", "acme", 1, None)
    again = client.post(where, {"alias": "default", "tenant": "acme"})
    assert b"errorlist" in again.content


# Trouble.


def test_a_dead_store_is_a_message_on_the_page(staff, dead_store):
    record()
    response = staff(*VIEWS).get(page_of("streamrecord"))
    assert response.status_code == 200
    assert "is unavailable" in told(response)
    (row,) = response.context["cl"].result_list
    assert row.status_now == "?"
    change = reverse("admin:resumable_streams_streamrecord_change", args=[row.pk])
    assert response.wsgi_request.user.is_staff
    client = Client()
    client.force_login(User.objects.get())
    assert client.get(change).status_code == 200


def test_an_act_on_a_dead_store_fails_once_and_says_so(staff, dead_store):
    client = staff(*VIEWS, "cancel_streamrecord", "rotate_streamnamespace")
    rows = [record(), record("s2")]
    done = act(client, "streamrecord", "cancel", rows, confirmed="yes")
    assert done.status_code == 302
    assert "is unavailable" in told(done)
    assert "not tried" in told(done)
    assert IncidentAction.objects.get().outcome == "failed"
    row = StreamNamespace.objects.create(alias="default", tenant="acme")
    done = act(client, "streamnamespace", "rotate", [row], confirmed="yes")
    assert "0 of 1 done" in told(done)
    row.refresh_from_db()
    assert row.generation == 1


def test_a_record_of_an_alias_that_is_gone_is_a_message(staff, no_streams):
    row = record(alias="removed")
    client = staff(*VIEWS, "erase_streamrecord")
    response = client.get(page_of("streamrecord"))
    assert "no alias 'removed'" in told(response)
    done = act(client, "streamrecord", "erase", [row], confirmed="yes")
    assert "no alias 'removed'" in told(done)


def test_an_act_is_no_part_of_a_transaction_of_the_request(staff, no_streams):
    from django.db import connections

    model_admin = admin.site._registry[StreamNamespace]
    view = model_admin.changelist_view
    assert view._non_atomic_requests >= set(connections)  # type: ignore[attr-defined]


async def test_the_admin_works_under_asgi(settings, key_prefix):
    settings.RESUMABLE_STREAMS = {"default": {"BACKEND": MEMORY, "KEY_PREFIX": key_prefix}}
    streams = StreamManager()
    reader = await streams.arun("s1", endless, owner="user:42")
    assert await anext(reader) == SECRET
    user = await User.objects.acreate(username="jane", is_staff=True, is_superuser=True)
    client = AsyncClient()
    await client.aforce_login(user)
    row = await StreamRecord.objects.acreate(
        alias="default",
        tenant="default",
        stream_id="s1",
        owner="user:42",
        owner_digest=owner_digest("user:42"),
        acquired=timezone.now(),
    )
    listed = await client.get(page_of("streamrecord"))
    assert [r.status_now for r in listed.context["cl"].result_list] == ["streaming"]
    done = await client.post(
        page_of("streamrecord"),
        {"action": "cancel", ACTION_CHECKBOX_NAME: [row.pk], "confirmed": "yes"},
    )
    assert done.status_code == 302
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
    assert reader.info.status == "cancelled"
