"""Chats in real processes that end badly: every question and every answered word is in the table,
and none twice. `faults/test_conversations.py` has 200 of them at once."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres, postgres
from tests.proxy import proxy_to
from tests.tools.waiting import eventually, pass_time, until

from .servers import ROOT, Server, migrate
from .talks import WORDS, Talk, client_of, outcome, start, text_of

__all__ = ["start"]

SITE = {"DJANGO_SETTINGS_MODULE": "tests.acceptance.chat_site"}


@pytest.fixture
def database() -> Iterator[Postgres]:
    """Start a database server that the test may stop."""
    with postgres() as server:
        migrate({**SITE, "POSTGRES_HOST": server.host})
        yield server


def settle_chats(server: Server) -> str:
    """Run the command as an operator of the site does; return what it prints."""
    text = Path(f"/proc/{server.process.pid}/environ").read_bytes()
    pairs = [one.partition(b"=") for one in text.split(b"\0") if one]
    command = [sys.executable, "manage.py", "settle_chats"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


async def test_an_answer_whose_process_is_killed_is_saved_as_far_as_it_was_stored(start: Any):
    doomed, other = start(), start()
    async with client_of(doomed) as there, client_of(other) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        doomed.kill()
        answer = await talk.ended(here)
    talk.check(answer)
    assert outcome(answer) == ("failed", "producer_lost")


async def test_an_answer_that_a_killed_process_left_is_saved_by_the_next_one(start: Any):
    """There was no other process to take it over."""
    doomed = start()
    async with client_of(doomed) as there:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        doomed.kill()
    async with client_of(start()) as here:
        answer = await talk.ended(here)
    talk.check(answer)
    assert outcome(answer) == ("failed", "producer_lost")


async def test_an_answer_that_a_deploy_cannot_wait_for_is_saved(start: Any):
    old, new = start(DRAIN_TIMEOUT="0.2"), start()
    async with client_of(old) as there, client_of(new) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        old.process.send_signal(signal.SIGTERM)
        answer = await talk.ended(here)
    talk.check(answer)
    assert outcome(answer) == ("failed", "interrupted")


async def test_an_answer_that_a_deploy_waits_for_is_saved_whole(start: Any):
    old, new = start(DRAIN_TIMEOUT="20"), start()
    async with client_of(old) as there, client_of(new) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        old.process.send_signal(signal.SIGTERM)
        answer = await talk.ended(here)
    assert (text_of(answer), outcome(answer)) == (WORDS, ("complete", None))


async def test_an_answer_is_stopped_from_the_other_process(start: Any):
    async with client_of(start()) as there, client_of(start()) as here:
        talk = Talk(there, "c")
        await talk.ask(words=10)
        assert (await here.post("/api/chat/c/stop")).status_code == 202
        (_, answer) = await talk.history(here)  # at once
    talk.check(answer)
    assert outcome(answer) == ("stopped", None)


async def test_an_answer_whose_log_expired_is_saved_as_it_was_at_the_last_interval(start: Any):
    """Its process was killed, and nobody looked before the log was gone."""
    doomed = start(TTL="4")
    async with client_of(doomed) as there:
        talk = Talk(there, "c")
        await talk.ask(words=20)
        doomed.kill()
    await pass_time(4.5)
    async with client_of(start(TTL="4")) as here:
        answer = await talk.ended(here)
    assert outcome(answer) == ("failed", "expired")
    assert "0 1 2 " in text_of(answer)
    assert WORDS.startswith(text_of(answer))


async def test_an_answer_that_ends_while_the_database_is_away_is_saved_by_the_next_look(
    start: Any, database: Postgres
):
    server = start(POSTGRES_HOST=database.host)
    async with client_of(server) as client:
        looked_at, settled = Talk(client, "a"), Talk(client, "b")
        asking = asyncio.gather(looked_at.ask(), settled.ask())
        await eventually(lambda: min(looked_at.read.count(" "), settled.read.count(" ")) > 10)
        await asyncio.to_thread(database.stop)
        await asking  # whole: no word needs the database
        assert looked_at.read == settled.read == WORDS
        await eventually(lambda: server.written().count("A signal receiver failed") == 2)
        await asyncio.to_thread(database.start)
        answer = await looked_at.ended()
        assert (text_of(answer), outcome(answer)) == (WORDS, ("complete", None))
        printed = await asyncio.to_thread(settle_chats, server)
        assert "1 of 1 unfinished answers saved." in printed
        answer = await settled.ended()
    assert (text_of(answer), outcome(answer)) == (WORDS, ("complete", None))


async def test_posts_to_two_processes_at_once_begin_one_answer(start: Any):
    async with client_of(start()) as one, client_of(start()) as two:
        for key in ("a", "b", "c"):
            talks = [Talk(client, key) for client in (one, two) for _ in range(6)]
            await asyncio.gather(*(talk.ask(every=0.01) for talk in talks))
            assert {talk.read for talk in talks} == {WORDS}
            assert len({talk.stream_id for talk in talks}) == 1
            assert text_of(await talks[0].ended()) == WORDS


@pytest.mark.parametrize(("patience", "ends"), [("20", "complete"), ("1", "failed")])
async def test_a_store_that_is_gone_for_a_while_takes_no_word_with_it(
    start: Any, redis_url: str, patience: str, ends: str
):
    async with proxy_to(int(redis_url.rpartition(":")[2].partition("/")[0])) as proxy:
        server = start(REDIS_URL=proxy.location, STORE_TIMEOUT=patience, LEASE="30")
        async with client_of(server) as client:
            talk = Talk(client, "c")
            await talk.ask(words=10)
            proxy.open_hole()
            proxy.cut()
            looking = asyncio.create_task(talk.history())
            await pass_time(8)
            assert looking.done()  # by the table: the store swallows what it is sent
            messages = await looking
            await pass_time(2)
            assert [one["metadata"]["status"] for one in messages] == ["complete", "running"]
            proxy.close_hole()
            proxy.cut()
            answer = await talk.ended()
    talk.check(answer)
    assert answer["metadata"]["status"] == ends, server.written()
    assert (text_of(answer) == WORDS) is (ends == "complete")


@pytest.fixture
def worker(site_environment: dict[str, str], tmp_path: Path, redis_url: str) -> Iterator[Any]:
    """Return what starts a worker of the site."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(**more: str) -> subprocess.Popen[bytes]:
        log = tmp_path / f"worker-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "resumable_streams", "worker"],
                cwd=ROOT,
                env={**os.environ, **site_environment, **SITE, "REDIS_URL": redis_url, **more},
                stdout=output,
                stderr=output,
            )
        started.append(process)
        until(lambda: "streams at a time" in log.read_text())
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


async def test_a_worker_goes_on_with_an_answer_whose_web_process_is_killed(start: Any, worker: Any):
    await asyncio.to_thread(worker)
    doomed, other = start(), start()
    async with client_of(doomed) as there, client_of(other) as here:
        talk = Talk(there, "c", api="/api/queued")
        await talk.ask(words=10)
        doomed.kill()
        answer = await talk.ended(here)
    assert (text_of(answer), outcome(answer)) == (WORDS, ("complete", None))


@pytest.mark.parametrize(
    ("patience", "ends"), [("20", ("complete", None)), ("0.2", ("failed", "interrupted"))]
)
async def test_a_worker_that_is_replaced_ends_its_answer_or_saves_its_words(
    start: Any, worker: Any, patience: str, ends: tuple[str, str | None]
):
    old = await asyncio.to_thread(worker, DRAIN_TIMEOUT=patience)
    async with client_of(start()) as client:
        talk = Talk(client, "c", api="/api/queued")
        await talk.ask(words=10)
        old.send_signal(signal.SIGTERM)
        answer = await talk.ended()
    talk.check(answer)
    assert outcome(answer) == ends


async def test_an_answer_whose_worker_is_killed_is_saved_as_far_as_it_was_stored(
    start: Any, worker: Any
):
    doomed = await asyncio.to_thread(worker, LEASE="1.5", SWEEP="0.5")
    async with client_of(start()) as client:
        talk = Talk(client, "c", api="/api/queued")
        await talk.ask(words=10)
        doomed.kill()
        answer = await talk.ended()
    talk.check(answer)
    assert outcome(answer) == ("failed", "producer_lost")
