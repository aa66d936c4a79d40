"""The admin: who may see and do what, that it asks, acts, and writes down what it did."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
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


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an action of many rows take one request, however slow the machine."""
    monkeypatch.setattr("resumable_streams.admin.acting.STEP_SECONDS", 3_600.0)


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
    now = timezone.localtime()
    today, yesterday = (f"{day:%Y-%m-%d}" for day in (now, now - timedelta(days=1)))
    record("a", status="done")
    record("b", tenant="acme")
    for query, found in [
        ({"status__exact": "done"}, {"a"}),
        ({"tenant": "acme"}, {"b"}),
        ({"alias": "default"}, {"a", "b"}),
        ({"tenant": " acme ", "alias": "default"}, {"b"}),
        ({"tenant": "acm"}, set()),
        ({"from": today, "until": today}, {"a", "b"}),
        ({"from": today, "tenant": "acme"}, {"b"}),
        ({"until": yesterday}, set()),
        ({"until": yesterday, "q": "a"}, set()),
    ]:
        response = client.get(page_of("streamrecord"), query)
        assert response.status_code == 200
        assert {row.stream_id for row in response.context["cl"].result_list} == found


@pytest.mark.parametrize("query", [{"from": "soon"}, {"until": "2026-13-99"}])
def test_a_date_that_is_none_leads_back_to_the_whole_list(staff, no_streams, query):
    refused = staff(*VIEWS).get(page_of("streamrecord"), query)
    assert (refused.status_code, refused["Location"].endswith("?e=1")) == (302, True)


def test_seven_columns_the_state_first_and_what_is_long_is_short(staff, no_streams):
    record("a-very-long-stream-id-of-somebody", status="error", error_code="source_failed")
    page = staff(*VIEWS).get(page_of("streamrecord"))
    columns = page.context["cl"].list_display
    assert columns[:2] == ["state", "error"]
    assert len(columns) == 7
    shown = page.content.decode()
    assert "a-very-lon…" in shown
    assert "rs-error" in shown
    assert ">source_<wbr>failed<" in shown
    assert f"{owner_digest('user:42')[:7]}…" in shown
    assert "user:42" not in shown


def test_an_owner_leads_to_all_records_of_that_owner(staff, no_streams):
    client = staff(*VIEWS)
    record("a")
    record("b", tenant="acme")
    record("c", owner="user:7")
    first = client.get(page_of("streamrecord"))
    (where,) = set(re.findall(r'href="([^"]*owner_digest=[^"]*)"', first.content.decode())) - set(
        re.findall(rf'href="([^"]*{owner_digest("user:7")}[^"]*)"', first.content.decode())
    )
    page = client.get(where)
    assert {row.stream_id for row in page.context["cl"].result_list} == {"a", "b"}
    assert "2 records" in page.content.decode()
    assert owner_digest("user:42") in page.content.decode()


def test_a_long_list_is_counted_as_far_as_it_is_shown(staff, no_streams, monkeypatch):
    monkeypatch.setattr("resumable_streams.admin.narrowing.MOST_COUNTED", 40)
    for number in range(45):
        record(f"s{number}")
    client = staff(*VIEWS)
    with CaptureQueriesContext(connection) as captured:
        page = client.get(page_of("streamrecord"), {"p": 2})
    assert "More than 40 records; these are the newest." in page.content.decode()
    assert len(page.context["cl"].result_list) == 10
    counting = [one["sql"] for one in captured.captured_queries if "COUNT" in one["sql"]]
    assert counting
    assert all("LIMIT 41" in sql for sql in counting)
    some = client.get(page_of("streamrecord"), {"q": "s7"}).content.decode()
    assert "1 record<" in some.replace("\n", "<")
    assert "No records" in client.get(page_of("streamrecord"), {"q": "s77"}).content.decode()


def test_the_queries_of_a_list_do_not_depend_on_its_length(staff, no_streams):
    client = staff(*VIEWS)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(page_of("streamrecord"), {"tenant": "default"}).status_code == 200
        return len(captured.captured_queries)

    record()
    client.get(page_of("streamrecord"))
    few = queries()
    for number in range(40):
        record(f"s{number}")
    assert queries() == few


def test_counts_of_an_act_are_words(staff, no_streams):
    counts = {"streams": 3, "left_over": 1}
    IncidentAction.objects.create(alias="default", who="os:root", action="purge", counts=counts)
    shown = staff(*VIEWS).get(page_of("incidentaction")).content.decode()
    assert "3 streams, 1 left over" in shown
    assert "{" not in shown.split('id="result_list"')[1].split("</table>")[0]


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
    seen = client.get(reverse("admin:resumable_streams_streamrecord_change", args=[row.pk]))
    asked = act(client, "streamrecord", "revoke", [row])
    for response in (seen, asked):
        assert b"<script>alert" not in response.content
        assert b"&lt;script&gt;alert" in response.content


@pytest.mark.parametrize("field", ["stream_id", "tenant", "alias", "status", "error_code"])
def test_markup_in_a_row_is_text(staff, no_streams, field):
    client = staff(*VIEWS)
    row = record()
    hostile = "<b onx='" if field == "status" else '"><script>alert(1)</script>'
    StreamRecord.objects.filter(pk=row.pk).update(**{field: hostile})
    where = reverse("admin:resumable_streams_streamrecord_change", args=[row.pk])
    shown = [client.get(page_of("streamrecord")), client.get(where)]
    query = {"q": hostile, "tenant": hostile, "from": hostile, "owner_digest": hostile}
    shown += [client.get(page_of("streamrecord"), {name: hostile}) for name in query]
    for response in shown:
        assert hostile.encode() not in response.content


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
