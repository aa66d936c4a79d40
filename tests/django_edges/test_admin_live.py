"""The operations page: who sees what, what it costs, and that its acts are those of the lists."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from resumable_streams import PUBLIC, StreamManager
from resumable_streams.admin.charts import charts_of_the_last_hour
from resumable_streams.engine import get_engine
from resumable_streams.identifiers import owner_digest
from resumable_streams.models import IncidentAction, StreamRecord
from resumable_streams.operating import live
from resumable_streams.process.runtime import runtime

from .test_admin import SECRET, VIEWS, endless, page_of, record, told
from .test_admin import dead_store as dead_store  # fixtures
from .test_admin import no_streams as no_streams
from .test_admin import staff as staff
from .test_admin import streams as streams
from .test_admin import unhurried as unhurried

pytestmark = [
    pytest.mark.urls(f"{__package__}.test_admin"),
    pytest.mark.django_db(transaction=True),
]

ACTS = ("cancel_streamrecord", "revoke_streamrecord", "rotate_streamnamespace")
HOSTILE = "\"'><script>alert(1)</script>"


def live_page() -> str:
    return reverse("admin:resumable_streams_live")


def page(client: Client, **query: str) -> str:
    response = client.get(live_page(), query)
    assert response.status_code == 200
    return response.content.decode()


def shown(text: str) -> list[str]:
    """Return the ids of the streams on a page, in their order."""
    return re.findall(r'<th scope="row">(?:<a [^>]*>)?<span class="rs-id" title="([^"]*)"', text)


def tickets(text: str) -> dict[str, str]:
    """Return the value of the box of each stream."""
    return {
        name: value
        for value, name in re.findall(r'value="([0-9]+\.[^"]+)" aria-label="([^"]*)"', text)
    }


def act(client: Client, action: str, selected: list[str], **form: str) -> Any:
    tenant = form.pop("tenant", "acme")
    query = {"alias": "default", "tenant": tenant}
    return client.post(
        f"{live_page()}?{urlencode(query)}",
        {"action": action, ACTION_CHECKBOX_NAME: selected, **form},
    )


def start(
    streams: StreamManager, *names: str, owner: Any = "user:42", tenant: str = "acme"
) -> None:
    for name in names:
        streams.run(name, endless, owner=owner, tenant=tenant)


def status(streams: StreamManager, name: str, tenant: str = "acme", owner: Any = "user:42") -> str:
    info = streams.status(name, owner=owner, tenant=tenant)
    return "" if info is None else str(info.status)


# Who may.


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_sees_anything_without_the_permission(
    staff: Any, streams: StreamManager, client: Client, method: str
):
    start(streams, "s1")
    ask = getattr(client, method)
    where = live_page()
    for who in ("anonymous", "not staff"):
        if who == "not staff":
            client.force_login(User.objects.create_user("bob"))
        response = ask(where)
        assert (response.status_code, "/login/" in response["Location"]) == (302, True)
        assert response.content == b""
    client.logout()
    others = [view for view in VIEWS if view != "view_streamrecord"]
    response = getattr(staff(*others, *ACTS), method)(where)
    assert response.status_code == 403
    assert b"s1" not in response.content


def test_who_may_only_view_sees_the_streams_and_no_act(staff: Any, streams: StreamManager):
    client = staff(*VIEWS)
    start(streams, "s1")
    text = page(client, tenant="acme")
    assert shown(text) == ["s1"]
    assert 'name="action"' not in text
    assert "checkbox" not in text
    for action in ("cancel", "revoke", "rotate", "delete_selected", ""):
        assert act(client, action, ["1.a.s1"], confirmed="yes").status_code == 403
    assert status(streams, "s1") == "streaming"
    assert not IncidentAction.objects.exists()


@pytest.mark.parametrize("allowed", ACTS)
def test_each_act_has_a_permission_of_its_own(staff: Any, streams: StreamManager, allowed: str):
    client = staff(*VIEWS, allowed)
    start(streams, "s1")
    may = allowed.split("_")[0]
    for action in {"cancel", "revoke", "rotate"} - {may}:
        assert act(client, action, ["1.a.s1"], confirmed="yes").status_code == 403
    assert act(client, may, list(tickets(page(client, tenant="acme")).values())).status_code == 200


def test_the_list_of_records_leads_to_the_page(staff: Any, no_streams: None):
    client = staff("view_streamrecord")
    assert f'href="{live_page()}"' in client.get(page_of("streamrecord")).content.decode()


# What it shows.


def test_live_streams_of_one_tenant_and_no_payload(staff: Any, streams: StreamManager):
    client = staff(*VIEWS)
    start(streams, "s1", "s2")
    start(streams, "s3", tenant="other")
    reader = streams.run("ended", [SECRET], owner="user:42", tenant="acme")
    list(reader)
    text = page(client, tenant="acme")
    assert sorted(shown(text)) == ["s1", "s2"]
    assert SECRET.decode() not in text
    assert "user:42" not in text
    assert owner_digest("user:42") in text
    assert shown(page(client, tenant="other")) == ["s3"]
    assert shown(page(client, tenant="nobody")) == []
    assert "3 live streams" in text
    assert re.search(r"default/other</a> <b>1</b>", text)


def test_without_a_choice_the_busiest_tenant_is_shown(staff: Any, streams: StreamManager):
    start(streams, "s1", "s2", tenant="busy")
    start(streams, "s3", tenant="calm")
    text = page(staff(*VIEWS, *ACTS))
    assert sorted(shown(text)) == ["s1", "s2"]
    assert text.count('<form method="post" action="?alias=default&amp;tenant=busy"') == 2


@pytest.mark.parametrize("query", ["", "?alias=default", "?tenant=acme", "?alias=x&tenant=acme"])
@pytest.mark.parametrize("action", ["cancel", "revoke", "rotate"])
def test_an_act_names_its_tenant_in_full(
    staff: Any, streams: StreamManager, query: str, action: str
):
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1")
    form = {"action": action, ACTION_CHECKBOX_NAME: "acme", "confirmed": "yes"}
    assert client.post(f"{live_page()}{query}", form).status_code == 400
    assert not IncidentAction.objects.exists()


def test_an_act_needs_the_token_against_forged_requests(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, *ACTS)
    client.handler.enforce_csrf_checks = True
    start(streams, "s1")
    assert act(client, "rotate", ["acme"], confirmed="yes").status_code == 403
    assert status(streams, "s1") == "streaming"


def test_bytes_age_and_readers_in_this_process(staff: Any, streams: StreamManager):
    readers = [streams.run("s1", endless, owner=PUBLIC, tenant="acme") for _ in range(3)]
    assert [next(iter(one)) for one in readers] == [SECRET] * 3
    row = runtime.call_sync(live.list_live, "default", "acme").rows[0]
    assert (row.readers, row.info.size) == (3, len(SECRET))
    assert 0 <= row.age < 60
    text = page(staff(*VIEWS), tenant="acme")
    assert f"{len(SECRET)} bytes" in text
    assert "(public)" in text
    assert re.search(r'rs-number">3</td>\s*</tr>', text)


@pytest.mark.parametrize("term", ["wanted", "user:7", owner_digest("user:7")])
def test_a_search_finds_a_stream_or_all_of_an_owner(staff: Any, streams: StreamManager, term: str):
    start(streams, "s1", "s2")
    start(streams, "wanted", owner="user:7")
    start(streams, "wanted", owner="user:7", tenant="other")
    client = staff(*VIEWS)
    assert shown(page(client, tenant="acme", q=f" {term} ")) == ["wanted"]
    assert "No live stream here" in page(client, tenant="acme", q="user:8")
    assert "No live stream here" in page(client, tenant="acme", q="no id at all!")


def test_pages_go_through_all_live_streams(
    staff: Any, streams: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("resumable_streams.admin.live.PAGE", 3)
    start(streams, *(f"s:{number}.x" for number in range(7)))
    client, met, query = staff(*VIEWS), [], "?tenant=acme"
    while query:
        text = client.get(live_page() + query).content.decode()
        met += shown(text)
        older = re.search(r'href="([^"]*)">Older<', text)
        query = older[1].replace("&amp;", "&") if older else ""
    assert sorted(met) == [f"s:{number}.x" for number in range(7)]


@pytest.mark.parametrize("after", ["x", "1.2.3", "9.1.ab." + "a" * 32 + ".{}", HOSTILE])
def test_a_cursor_of_somebody_elses_making_begins_at_the_newest(
    staff: Any, streams: StreamManager, after: str
):
    start(streams, "s1")
    assert shown(page(staff(*VIEWS), tenant="acme", after=after)) == ["s1"]


@pytest.mark.parametrize("name", ["alias", "tenant", "q", "after"])
def test_markup_in_a_query_is_text(staff: Any, streams: StreamManager, name: str):
    start(streams, "s1")
    assert HOSTILE not in page(staff(*VIEWS, *ACTS), **{"tenant": "acme", name: HOSTILE})


def test_markup_in_an_owner_is_text(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1", owner=HOSTILE)
    text = page(client, tenant="acme")
    asked = act(client, "revoke", list(tickets(text).values())).content.decode()
    assert HOSTILE not in text + asked
    assert owner_digest(HOSTILE) in asked


# What it costs.


def test_neither_queries_nor_commands_depend_on_the_number_of_streams(
    staff: Any, streams: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    client, calls = staff(*VIEWS, *ACTS), []
    start(streams, "s0")

    async def engine() -> Any:
        return get_engine("default")

    store = runtime.call_sync(engine).store

    def spy(owner: Any, verb: str) -> None:
        do = getattr(owner, verb)

        def spied(*args: Any, **named: Any) -> Any:
            calls.append(verb)
            return do(*args, **named)

        monkeypatch.setattr(owner, verb, spied)

    for verb in ("status", "listed", "get_control", "live"):
        spy(store, verb)
    spy(store.processes, "census")
    monkeypatch.setattr(store, "scan", None)

    def cost() -> tuple[int, list[str]]:
        calls.clear()
        with CaptureQueriesContext(connection) as captured:
            page(client, tenant="acme")
        return len(captured.captured_queries), sorted(calls)

    cost()
    few = cost()
    start(streams, *(f"s{number}" for number in range(1, 30)))
    assert cost() == few
    assert few[0] <= 6
    assert few[1] == ["census", "listed", "status"]
    calls.clear()
    page(client, tenant="acme", q=owner_digest("user:42"))
    assert len(calls) <= 7


def test_a_store_that_is_away_is_a_message_with_its_cause(staff: Any, dead_store: None):
    client = staff(*VIEWS, *ACTS)
    text = page(client, tenant="acme")
    assert "127.0.0.1:1" in text
    assert 'role="alert"' in text
    assert "Not known: the store does not answer." in text
    done = act(client, "revoke", ["1.a.s1"], confirmed="yes")
    assert (done.status_code, "default" in told(done)) == (302, True)
    cancelled = act(client, "cancel", ["1.a.s1", "1.a.s2"], confirmed="yes")
    assert "127.0.0.1:1" in told(cancelled)


# What it does.


def test_cancelling_asks_first_then_ends_exactly_the_selected_streams(
    staff: Any, streams: StreamManager
):
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1", "s2")
    start(streams, "s1", tenant="other")
    ticket = tickets(page(client, tenant="acme"))["s1"]
    asked = act(client, "cancel", [ticket])
    assert "default/acme/s1" in asked.content.decode()
    assert status(streams, "s1") == "streaming"
    done = act(client, "cancel", [ticket], confirmed="yes", reason="ticket 7")
    assert "Cancel streams: 1 of 1 done." in told(done)
    assert done["Location"].endswith("?alias=default&tenant=acme")
    assert [status(streams, "s1"), status(streams, "s2")] == ["cancelled", "streaming"]
    assert status(streams, "s1", "other") == "streaming"
    one = IncidentAction.objects.get()
    assert (one.action, one.tenant, one.who, one.reason) == (
        *("cancel", "acme", "admin:jane", "ticket 7"),
    )
    assert one.arguments["stream_id"] == "s1"
    assert one.arguments["owner_digest"] == owner_digest("user:42")


def test_a_ticket_of_another_tenant_or_incarnation_does_nothing(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1")
    ticket = tickets(page(client, tenant="acme"))["s1"]
    done = act(client, "cancel", [ticket], confirmed="yes", tenant="other")
    assert "0 of 1 done. 1 gone already" in told(done)
    streams.delete("s1", owner="user:42", tenant="acme")
    start(streams, "s1")
    done = act(client, "cancel", [ticket, HOSTILE, "1.a", ""], confirmed="yes")
    assert "0 of 1 done. 1 gone already" in told(done)
    assert status(streams, "s1") == "streaming"


def test_revoking_bars_the_owners_of_the_selected_streams(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1", "s2")
    start(streams, "s3", owner="user:7")
    start(streams, "s4", owner=PUBLIC)
    boxes = tickets(page(client, tenant="acme"))
    chosen = [boxes["s1"], boxes["s4"]]
    asked = act(client, "revoke", chosen)
    assert asked.content.count(b"<li>") == 1
    assert owner_digest("user:42").encode() in asked.content
    assert b"user:42" not in asked.content
    done = act(client, "revoke", chosen, confirmed="yes")
    assert "Revoke owners: 1 of 1 done." in told(done)
    assert "Public streams" in told(done)
    assert [status(streams, name) for name in ("s1", "s2")] == ["", ""]
    assert status(streams, "s3", owner="user:7") == "streaming"
    assert IncidentAction.objects.get().arguments == {"owner_digest": owner_digest("user:42")}


def test_rotating_makes_the_streams_of_the_tenant_unreachable(staff: Any, streams: StreamManager):
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1")
    start(streams, "s1", tenant="other")
    asked = act(client, "rotate", ["acme"])
    assert b"purge_old" in asked.content
    assert status(streams, "s1") == "streaming"
    done = act(client, "rotate", ["acme"], confirmed="yes")
    assert "Rotate: 1 of 1 done." in told(done)
    assert (status(streams, "s1"), status(streams, "s1", "other")) == ("", "streaming")


def test_a_long_action_goes_on_page_by_page_and_counts(
    staff: Any, streams: StreamManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("resumable_streams.admin.acting.STEP_SECONDS", 0.0)
    client = staff(*VIEWS, *ACTS)
    start(streams, "s1", "s2", "s3")
    boxes = list(tickets(page(client, tenant="acme")).values())
    streams.delete("s2", owner="user:42", tenant="acme")
    left, steps, form = boxes, [], {"reason": HOSTILE}
    while True:
        answer = act(client, "cancel", left, confirmed="yes", **form)
        if answer.status_code == 302:
            break
        text = answer.content.decode()
        assert HOSTILE not in text
        steps.append(re.search(r"(\d+) done, (\d+) left", text).groups())  # type: ignore[union-attr]
        left = re.findall(rf'name="{ACTION_CHECKBOX_NAME}" value="([^"]*)"', text)
        form["so_far"] = re.search(r'name="so_far" value="([^"]*)"', text)[1]  # type: ignore[index]
        assert 'max="3"' in text
    assert steps == [("1", "2"), ("2", "1")]
    assert told(answer) == ("Cancel streams: 2 of 3 done. 1 gone already: nothing was left to do.")
    assert {one.reason for one in IncidentAction.objects.all()} == {HOSTILE}
    forged = act(client, "cancel", boxes[:1], confirmed="yes", so_far="99:forged")
    assert "of 1 done" in told(forged)


# The charts.


def test_charts_count_the_last_hour_of_one_tenant(
    staff: Any, streams: StreamManager, settings: Any
):
    entry = settings.RESUMABLE_STREAMS["default"]
    settings.RESUMABLE_STREAMS = {"default": {**entry, "RECORDS": True}}
    now = timezone.now()
    for minutes, status in ((1, "done"), (1, "error"), (5, "lost"), (50, "streaming")):
        began = now - timedelta(minutes=minutes)
        ended = None if status == "streaming" else now
        record(f"s{minutes}{status}", tenant="acme", acquired=began, status=status, ended=ended)
    record("old", tenant="acme", acquired=now - timedelta(hours=2), status="done", ended=now)
    record("foreign", tenant="other")
    record("older", tenant="acme", acquired=now - timedelta(days=2), ended=now - timedelta(days=1))
    charts = charts_of_the_last_hour("default", "default", "acme")
    counted = {chart.name: (chart.total, len(chart.bars)) for chart in charts}
    assert counted == {"started": (4, 3), "ended": (4, 1), "failed": (2, 1)}
    assert max(bar.height for bar in charts[0].bars) == charts[0].height
    text = page(staff(*VIEWS), tenant="acme")
    assert "Started in the last hour: 4, at most 2 a minute." in text
    assert text.count("<svg viewBox") == 3
    assert StreamRecord.objects.count() == 7


def test_without_records_the_page_says_why_there_are_no_charts(staff: Any, no_streams: None):
    assert "set RECORDS" in page(staff(*VIEWS))
