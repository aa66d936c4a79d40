"""The end of a test: nothing of it goes on, and what would is named."""

import asyncio
import threading
import unittest
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.test import AsyncClient, Client, override_settings
from pytest_django import Settings

from resumable_streams import CancellationReason, StreamLimitExceeded, streams
from resumable_streams.engine import get_engine
from resumable_streams.process.runtime import runtime
from resumable_streams.signals import stream_finalized
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.testing import (
    HANG,
    Moment,
    ProducerLeftRunning,
    ScriptedSource,
    StreamTestMixin,
    aproduced,
    isolated_streams,
    isolation,
    produced,
)

from . import site

REDIS = {"BACKEND": "resumable_streams.stores.redis.RedisStore", "LOCATION": "redis://nowhere:1"}


@pytest.fixture(autouse=True)
def is_hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give producers no time where a test means to leave one."""
    monkeypatch.setattr(isolation, "GRACE_SECONDS", 0.05)


def start(source: Any, stream_id: str = "left") -> Any:
    return streams.run(stream_id, source, owner="ada")


def test_a_producer_that_is_left_running_is_interrupted_and_named():
    source = ScriptedSource("a", HANG)
    named = r"of the test test_a, .* running: left\. Let"
    with pytest.warns(ProducerLeftRunning, match=named), isolated_streams(test="test_a"):
        assert next(start(source)) == b"a"
    assert source.closed.is_set()
    assert source.reason is CancellationReason.INTERRUPTED
    assert not runtime.detached
    assert not runtime.is_open


def test_producers_that_end_by_themselves_are_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolation, "GRACE_SECONDS", 10)
    source = ScriptedSource("a", go_on := Moment())
    with isolated_streams():
        start(source)
        threading.Timer(0.05, go_on.set).start()
    assert source.is_finished


def test_a_source_that_sits_in_its_thread_is_named_too():
    leave = threading.Event()

    def deaf() -> Iterator[bytes]:
        yield b"a"
        leave.wait(10)

    with pytest.warns(ProducerLeftRunning, match="left"), isolated_streams():  # noqa: PT031
        assert next(start(deaf)) == b"a"
        threading.Timer(0.2, leave.set).start()


def test_the_streams_of_a_test_are_of_no_other():
    for _ in range(2):
        with isolated_streams():
            assert streams.status("mine", owner="ada") is None
            assert b"".join(start(["x"], "mine")) == b"x"


def test_streams_are_in_memory_whatever_the_settings_say(settings: Settings):
    settings.RESUMABLE_STREAMS = {"default": REDIS, "second": REDIS}
    with isolated_streams():
        assert b"".join(start(["x"], "mine")) == b"x"
        shared = streams.using("second").status("mine", owner="ada")
        assert shared is not None
    with isolated_streams(in_memory=False), pytest.raises(Exception, match="nowhere"):
        start(["x"])


def test_other_settings_are_in_force_and_may_be_overridden(settings: Settings):
    settings.RESUMABLE_STREAMS = {"default": {**REDIS, "LIMITS": {"MAX_STREAMS_PER_OWNER": 1}}}
    with isolated_streams():
        first = start(held := ScriptedSource(is_held=True), "first")
        with pytest.raises(StreamLimitExceeded):
            start(["x"], "second")
        held.end()
        assert b"".join(first) == b""
        produced()
        with override_settings(RESUMABLE_STREAMS={"default": {**REDIS, "TTL": 4711}}):
            assert start(["x"], "third").info.ttl == 4711


async def test_the_loop_of_a_test_is_not_where_producers_run(resumable_streams: None):
    reader = await streams.arun("mine", source := ScriptedSource("a", HANG), owner="ada")
    assert await anext(reader) == b"a"
    assert runtime.home() is not asyncio.get_running_loop()
    await streams.acancel("mine", owner="ada")
    await source.closed.wait()
    assert source.reason is CancellationReason.CANCELLED


async def test_it_is_entered_where_no_loop_runs(resumable_streams: None):
    with pytest.raises(SynchronousOnlyOperation), isolated_streams():
        pass


def test_ends_are_told_when_all_is_produced(resumable_streams: None):
    told, may_tell = [], threading.Event()

    def receiver(**named: Any) -> None:
        assert may_tell.wait(10)
        told.append(named["status"])

    stream_finalized.connect(receiver)
    try:
        assert b"".join(start(["x"])) == b"x"
        with pytest.raises(TimeoutError, match=r"after 0 seconds: left\."):
            produced(timeout=0.05)
        may_tell.set()
        produced()
        assert told == ["done"]
    finally:
        stream_finalized.disconnect(receiver)


async def test_async_code_waits_for_producers_too(resumable_streams: None):
    source = ScriptedSource("a", go_on := Moment())
    await streams.arun("mine", source, owner="ada")
    with pytest.raises(TimeoutError, match="mine"):
        await aproduced(timeout=0.05)
    go_on.set()
    await aproduced()
    assert source.is_finished


@pytest.mark.resumable_streams(in_memory=False)
def test_the_marker_keeps_the_store_of_the_settings(
    settings: Settings, configure_redis: None, resumable_streams: None
):
    async def store() -> object:
        return get_engine("default").store

    assert not isinstance(runtime.call_sync(store), MemoryStore)


# The mixin


def results(*bodies: Any, **attributes: Any) -> unittest.TestResult:
    """Return how a test case with these methods fares."""
    tests = {f"test_{number}": body for number, body in enumerate(bodies)}
    case = type("Case", (StreamTestMixin, unittest.TestCase), {**tests, **attributes})
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def leave(self: Any) -> None:
    assert next(start(ScriptedSource("a", HANG))) == b"a"


def test_a_test_of_the_mixin_names_what_it_leaves():
    with pytest.warns(ProducerLeftRunning, match=r"test \S+Case.test_[01], .*: left"):
        assert results(leave, leave).wasSuccessful()
    assert not runtime.is_open


def test_a_warning_that_is_an_error_is_that_of_the_test():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ((case, report),) = results(leave).errors
    assert case.id().endswith("test_0")
    assert "ProducerLeftRunning" in report
    assert not runtime.is_open


def test_the_mixin_works_whatever_a_test_does():
    def fail(self: Any) -> None:
        raise ValueError

    def set_up(self: Any) -> None:
        raise ValueError

    skipped = unittest.skip("for a reason")(leave)
    assert len(results(fail, skipped).errors) == 1
    assert len(results(leave, setUp=set_up).errors) == 1
    assert not runtime.is_open


def test_the_mixin_can_keep_the_store_of_the_settings():
    kept: list[bool] = []

    def look(self: Any) -> None:
        runtime.call_sync(note)

    async def note() -> None:
        kept.append(bool(get_engine("default").store._space.streams))  # type: ignore[attr-defined]

    with isolated_streams():
        start(["x"], "before")
        assert results(look, streams_in_memory=False).wasSuccessful()
        assert results(look).wasSuccessful()
    assert kept == [True, False]


# Clients


def test_a_body_that_is_left_unread_starts_nothing_when_it_is_found(settings: Settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.ROOT_URLCONF = site.__name__
    site.play("a", "b")
    with isolated_streams():
        response: Any = Client().post("/raw/")
        assert next(iter(response)) == b""
        produced()
    response.close()
    assert not runtime.is_open


@pytest.mark.parametrize("round_number", [1, 2])
def test_a_sync_client_gets_streams(
    round_number: int, settings: Settings, client: Client, resumable_streams: None
):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.ROOT_URLCONF = site.__name__
    site.play("a", "b")
    assert b"".join(client.post("/raw/")) == b"ab"


@pytest.mark.parametrize("round_number", [1, 2])
async def test_an_async_client_gets_streams(
    round_number: int, settings: Settings, async_client: AsyncClient, resumable_streams: None
):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.ROOT_URLCONF = site.__name__
    site.play("a", "b")
    response: Any = await async_client.post("/raw/")
    assert b"".join([part async for part in response]) == b"ab"
