"""The guide: its code is served, its claims are tried, its commands print what it says."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pytest_django import Settings
from redis import Redis

from resumable_streams import streams
from tests.tools.waiting import A_SECOND, until

from .conftest import Project, add_site, ask, login, stream_id, without_date
from .pages import Command, commands, write_files

LEAKS = r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?"


def shape(output: str) -> str:
    """Return an output without what differs from run to run: digests and times."""
    return re.sub(LEAKS, "…", output).strip()


def run(project: Project, command: Command) -> str:
    words = command.line.split()
    assert words[:1] == ["python"]
    return project.run(*words[1:])


def test_the_checks_of_a_deploy_find_nothing(project: Project, redis_url: str) -> None:
    deploy = ("check", "--deploy", "--tag", "resumable_streams")
    project.run("manage.py", *deploy, "--fail-level", "WARNING")
    assert "0 faults" in project.operate("doctor")


# 1. Authentication and authorization


def test_who_is_not_logged_in_gets_401(site: Project) -> None:
    with login(site, None, "auth") as nobody:
        assert ask(nobody, 1).status_code == 401
        assert nobody.get("/streams/anything/").status_code == 401


def test_a_stranger_cannot_tell_a_stream_from_none(site: Project) -> None:
    with login(site, "alice", "auth") as alice, login(site, "bob", "auth") as bob:
        identifier = stream_id(ask(alice, 2))
        assert alice.get(f"/streams/{identifier}/").status_code == 200
        for address in ("/streams/{}/", "/streams/{}/status/", "/download/{}/"):
            foreign, missing = (bob.get(address.format(one)) for one in (identifier, "missing"))
            assert foreign.status_code == missing.status_code == 404
            if "download" not in address:
                assert foreign.content == missing.content
                assert without_date(foreign.headers) == without_date(missing.headers)


def test_a_view_of_your_own_asks_for_the_owner_too(site: Project) -> None:
    with login(site, "alice", "auth") as alice:
        identifier = stream_id(answer := ask(alice, 3))
        assert answer.content.count(b"data: ") >= 3
        assert alice.get(f"/download/{identifier}/").content.count(b"data: ") == 3


def test_cancelling_needs_the_csrf_token(site: Project) -> None:
    with login(site, "alice", "auth") as alice:
        identifier = stream_id(ask(alice, 1))
        del alice.headers["X-CSRFToken"]
        assert alice.post(f"/streams/{identifier}/cancel/").status_code == 403


def test_who_has_a_signed_link_reads_and_no_more(site: Project) -> None:
    with login(site, "alice", "shared") as alice, login(site, None, "shared") as anybody:
        identifier = stream_id(ask(alice, 3))
        address = alice.post(f"/share/{identifier}/").json()["address"]
        token = address.partition("?token=")[2]
        assert anybody.get(address).content == alice.get(f"/streams/{identifier}/").content
        assert anybody.get(f"/streams/{identifier}/status/?token={token}").status_code == 200
        assert anybody.post(f"/streams/{identifier}/cancel/?token={token}").status_code == 401
        assert anybody.get(f"{address[:-1]}?").status_code == 404
        site.operate("revoke", "--tenant", "shared", "--user", "1", "--yes")
        assert anybody.get(address).status_code == 404
    written = site.log.read_text()
    assert "token=[redacted]" in written
    assert token not in written


def test_only_who_may_read_shares(site: Project) -> None:
    with login(site, "alice", "shared") as alice, login(site, "bob", "shared") as bob:
        assert bob.post(f"/share/{stream_id(ask(alice, 1))}/").status_code == 404


@pytest.mark.parametrize(
    ("address", "refusal"), [("/member/", 403), ("/decorated/", 302), ("/ask/", 302)]
)
def test_mixins_and_decorators_decide_who_may_ask(site: Project, address: str, refusal: int):
    with login(site, "alice", "auth") as alice, login(site, None, "auth") as nobody:
        assert ask(nobody, 1, address).status_code == refusal
        answer = ask(alice, 2, address)
        assert (answer.status_code, b"1 " in answer.content) == (200, True)
        assert alice.get(f"/streams/{stream_id(answer)}/").content == answer.content


# 2. Lifetime of producers


def test_an_answer_is_finished_without_its_reader(site: Project) -> None:
    with login(site, "alice", "lifetime") as alice:
        with alice.stream("POST", "/answer/", json={"question": 20}) as response:
            identifier = stream_id(response)
        whole = alice.get(f"/streams/{identifier}/").content
        assert b"data: 19 \n" in whole
        assert b"event: done" in whole


SERVERLESS = """
import asyncio, os, sys
import django
django.setup()
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from resumable_streams import streams
from resumable_streams.process.runtime import runtime
from mysite.serverless import application

user, session = User.objects.get(username="alice"), SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()

async def main():
    body, sent, seen = b'{"question": 10}', [], asyncio.Event()
    async def receive():
        if not sent:
            sent.append("body")
            return {"type": "http.request", "body": body}
        await seen.wait()
        return {"type": "http.disconnect"}
    async def send(message):
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            identifiers.append(headers[b"X-Resumable-Stream-Id"].decode())
        elif message.get("body"):
            seen.set()
    identifiers = []
    cookies = f"sessionid={session.session_key}; csrftoken={'a' * 32}".encode()
    headers = [(b"host", b"cold.example.com"), (b"cookie", cookies), (b"x-csrftoken", b"a" * 32)]
    await application({"type": "http", "method": "POST", "path": "/answer/", "query_string": b"",
        "headers": headers, "http_version": "1.1", "scheme": "http"}, receive, send)
    info = await streams.astatus(identifiers[0], owner=f"user:{user.pk}", tenant="cold")
    print(info.status)
    await runtime.aclose()

asyncio.run(main())
"""


def test_on_a_serverless_platform_the_call_lasts_as_long_as_its_producer(project: Project) -> None:
    add_site(project, "cold.example.com")
    assert project.run("-c", SERVERLESS, SERVERLESS="1").strip() == "done"


def test_another_worker_goes_on_where_one_was_told_to_end(site: Project) -> None:
    with (
        login(site, "alice", "work") as alice,
        site.worker("one", "--grace", "0") as one,
        alice.stream("POST", "/ordered/", json={"numbers": 150}) as response,
    ):
        body = response.iter_raw()
        received = next(body)
        one.terminate()
        one.wait(timeout=30)
        with site.worker("two"):
            received += b"".join(body)
    assert received == b"".join(b"%07d\n" % number for number in range(150))


# 3. How long to keep streams


@pytest.mark.parametrize(
    ("address", "status", "seconds"),
    [
        ("/answer/", "/streams/{}/status/", 6 * 3_600),
        ("/sensitive/", "/streams/{}/status/", 300),
        ("/draft/", "/drafts/{}/status/", 60),
    ],
)
def test_a_stream_expires_when_its_view_or_alias_says(
    site: Project, address: str, status: str, seconds: int
) -> None:
    with login(site, "alice", "ttl") as alice:
        identifier = stream_id(ask(alice, 1, address))
        state = alice.get(status.format(identifier)).json()
        assert state["expires"] - state["created"] == pytest.approx(seconds, abs=5)


@pytest.mark.lengthy
async def test_a_running_stream_does_not_expire_however_quiet_it_is(
    settings: Settings, key_prefix: str
) -> None:
    entry = {"LOCATION": key_prefix, "LEASE": 1, "SWEEP": 0.1, "STORE_TIMEOUT": 0.2, "TTL": 1.1}
    settings.RESUMABLE_STREAMS = {"default": entry}

    async def quiet() -> AsyncIterator[bytes]:
        await asyncio.sleep(2)
        yield b"at last"

    reader = await streams.arun(None, quiet(), owner="a")
    assert [data async for data in reader] == [b"at last"]


def test_state_and_log_expire_together(
    site: Project, redis_server: Redis, leaves_no_connection: None
) -> None:
    with login(site, "alice", "together") as alice:
        identifier = stream_id(ask(alice, 1))
    found = redis_server.scan_iter(f"mysite:{site.environment['ENVIRONMENT']}:together:g*")
    names = [name for name in found if b":index:" not in name]
    assert len(names) == 2
    assert all(identifier in name.decode() for name in names)
    first, second = (redis_server.pttl(name) for name in names)
    assert abs(first - second) < 50


def test_a_tenant_is_given_another_ttl(site: Project) -> None:
    (retire,) = (command for command in commands("guide.md") if "brief" in command.line)
    assert run(site, retire).strip() == retire.output
    with login(site, "alice", "brief") as alice:
        state = alice.get(f"/streams/{stream_id(ask(alice, 1))}/status/").json()
        assert state["expires"] - state["created"] == pytest.approx(600, abs=5)
        state = alice.get(f"/streams/{stream_id(ask(alice, 1, '/sensitive/'))}/status/").json()
        assert state["expires"] - state["created"] == pytest.approx(300, abs=5)


def test_a_browser_remembers_its_stream_for_as_long_as_that_lives(site: Project) -> None:
    with login(site, "alice", "cookie") as alice, login(site, "bob", "cookie") as bob:
        asked = ask(alice, 2, "/remembered/")
        age = re.search(r"resumable_stream=.*Max-Age=(\d+)", asked.headers["Set-Cookie"])
        assert age is not None
        assert int(age[1]) == pytest.approx(6 * 3_600, abs=5)
        cookie = asked.cookies["resumable_stream"]
        for client, status in ((alice, 200), (bob, 404)):
            client.cookies.set("resumable_stream", cookie)
            assert client.get("/current/").status_code == status
        assert alice.get("/current/").content == asked.content


# 4. Tenants


def test_a_user_of_two_tenants_has_the_streams_of_each_there_only(site: Project) -> None:
    with login(site, "alice", "4") as here, login(site, "alice", "42") as there:
        identifier = stream_id(ask(here, 1))
        assert here.get(f"/streams/{identifier}/").status_code == 200
        assert there.get(f"/streams/{identifier}/").status_code == 404
        stream_id(ask(there, 1))
    assert "1 stream in" in site.operate("audit", "--tenant", "4")


def test_a_tenant_that_is_no_slug_is_refused(site: Project) -> None:
    with login(site, "alice", "auth") as alice:
        alice.headers["Host"] = f"{'a' * 65}.example.com"
        add_site(site, alice.headers["Host"])
        assert ask(alice, 1).status_code == 400


def test_a_tenant_that_nobody_has_is_not_found_and_leaves_nothing(
    site: Project, redis_server: Redis
) -> None:
    prefix = f"mysite:{site.environment['ENVIRONMENT']}:made-up"
    with login(site, "alice", "made-up", is_tenant=False) as alice:
        assert ask(alice, 1).status_code == 404
        assert alice.get("/streams/any/").status_code == 404
    assert not list(redis_server.scan_iter(f"{prefix}*"))


# 5. Observability


def test_the_audit_log_has_user_request_id_and_address_of_an_acquire(site: Project) -> None:
    with login(site, "bob", "log") as bob:
        bob.headers["X-Request-ID"] = "r-1"
        identifier = stream_id(ask(bob, 1))

    def events_of_it() -> dict[str, Any]:
        about = [line for line in site.audit_log() if line.get("stream_id") == identifier]
        return {line["event"]: line for line in about if "event" in line}

    until(lambda: "stream.finalized" in events_of_it())  # told after the body has ended
    events = events_of_it()
    acquired = events["stream.acquired"]
    assert (acquired["user"], acquired["request_id"], acquired["ip"]) == ("2", "r-1", "127.0.0.1")
    assert events["stream.finalized"]["status"] == "done"


def test_receivers_and_metrics_count(site: Project) -> None:
    with login(site, "bob", "metrics") as bob:
        ask(bob, 1)
        shown = bob.get("/metrics/").text
    assert re.search(r'resumable_streams_acquires_total\{.*tenant="metrics"\} 1\.0', shown)
    count = "from mysite.models import Bill; print('bills:', Bill.objects.filter({}).count())"
    bills = count.format("tenant='metrics', size__gt=0, seconds__gt=0")
    deadline = time.monotonic() + 20
    while "bills: 1" not in site.run("manage.py", "shell", "-c", bills):  # told after the last byte
        assert time.monotonic() < deadline


# 6. Limits


def test_one_stream_too_many_is_told_when_to_come_back(site: Project) -> None:
    with (
        login(site, "alice", "limits") as page,
        login(site, "alice", "limits") as tab,
        login(site, "alice", "limits") as third,
        page.stream("POST", "/answer/", json={"question": 400}) as first,
        tab.stream("POST", "/answer/", json={"question": 400}) as second,
    ):
        refused = ask(third, 1)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        for running in (first, second):
            third.post(f"/streams/{stream_id(running)}/cancel/")
        until(lambda: ask(third, 1).status_code == 200)


def test_a_bound_that_is_hit_in_mid_stream_ends_it_with_an_error(site: Project) -> None:
    with login(site, "bob", "limits") as bob:
        answer = ask(bob, 501)
        assert answer.content.count(b"data: ") >= 500
        assert b"limit_exceeded" in answer.content
        assert b"data: 499 \n" in bob.get(f"/streams/{stream_id(answer)}/").content


def test_an_owner_asks_ten_times_a_minute(site: Project) -> None:
    with login(site, "bob", "often") as bob, login(site, "alice", "often") as alice:
        answers = [ask(bob, 1, "/limited/") for _ in range(21)]  # a new minute may begin, once
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert 1 <= int(refused[-1].headers["Retry-After"]) <= 60
        assert ask(alice, 1, "/limited/").status_code == 200


# 7. Incidents


def test_the_commands_of_the_incident_print_what_the_guide_says(site: Project) -> None:
    with (
        login(site, "alice", "acme") as alice,
        login(site, "bob", "acme") as bob,
        login(site, "bob", "other") as elsewhere,
    ):
        hers = [stream_id(ask(alice, 3)) for _ in range(2)]
        his, other = stream_id(ask(bob, 3)), stream_id(ask(elsewhere, 3))
        for command in commands("guide.md"):
            if "--tenant acme" not in command.line:
                continue
            assert shape(run(site, command)) == shape(command.output), command.line
            reached = [alice.get(f"/streams/{one}/").status_code for one in hers]
            if "revoke" in command.line:
                assert reached == [404, 404]
                assert bob.get(f"/streams/{his}/").status_code == 200
            if "rotate" in command.line:
                assert bob.get(f"/streams/{his}/").status_code == 404
        assert elsewhere.get(f"/streams/{other}/").status_code == 200
        assert ask(alice, 1).status_code == 200


def test_a_logout_revokes_what_the_user_had_in_that_tenant(site: Project) -> None:
    with (
        login(site, "alice", "leaving") as alice,
        login(site, "alice", "leaving") as phone,
        login(site, "alice", "staying") as elsewhere,
    ):
        left, kept = stream_id(ask(alice, 1)), stream_id(ask(elsewhere, 1))
        assert phone.get(f"/streams/{left}/").status_code == 200
        alice.post("/accounts/logout/")
        assert alice.get(f"/streams/{left}/").status_code == 401
        assert phone.get(f"/streams/{left}/").status_code == 404
        assert elsewhere.get(f"/streams/{kept}/").status_code == 200
        assert ask(phone, 1).status_code == 200


def test_readers_that_are_attached_end_within_a_second_of_a_revocation(site: Project) -> None:
    ended: list[float] = []

    def read(response: httpx.Response) -> None:
        for _ in response.iter_raw():
            pass
        ended.append(time.monotonic())

    with (
        login(site, "alice", "attached") as alice,
        alice.stream("POST", "/answer/", json={"question": 450}) as response,
    ):
        reading = threading.Thread(target=read, args=[response])
        reading.start()
        site.operate("revoke", "--tenant", "attached", "--user", "1", "--yes")
        returned = time.monotonic()
        reading.join(timeout=30)
        assert ended
        assert ended[0] - returned < A_SECOND


def test_records_and_incident_actions_are_written(site: Project) -> None:
    with login(site, "bob", "written") as bob:
        ask(bob, 1)
    site.operate("audit", "--tenant", "written")
    query = (
        "import time; from resumable_streams.models import *; deadline = time.time() + 30\n"
        "while not StreamRecord.objects.filter(tenant='written', status='done').exists():\n"
        "    assert time.time() < deadline; time.sleep(0.1)\n"
        "print(IncidentAction.objects.get(tenant='written').outcome)"
    )
    assert site.run("manage.py", "shell", "-c", query).strip().endswith("done")


# The page itself.


def test_every_command_of_the_guide_is_run_by_a_test() -> None:
    assert all(
        "--tenant brief" in command.line or "--tenant acme" in command.line
        for command in commands("guide.md")
    )


def test_every_file_of_the_guide_is_python(tmp_path) -> None:
    (tmp_path / "mysite").mkdir()
    for name in ("settings.py", "urls.py"):
        (tmp_path / "mysite" / name).touch()
    for name in set(write_files("guide.md", tmp_path)):
        compile((tmp_path / name).read_text(), name, "exec")
