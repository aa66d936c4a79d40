"""Whatever is asked, by whomever: an answer, soon, that tells nobody what is not theirs.

No 500, no traceback, nothing that hangs, nothing left behind; and what is missing, somebody else's,
revoked, rotated away or deleted is told in the same words.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from resumable_streams.engine import get_engine
from resumable_streams.operating.recorder import recorder
from resumable_streams.process.runtime import runtime
from tests.tools.streams import MEMORY, REDIS
from tests.tools.waiting import eventually

from . import IS_FULL
from .asking import Answer, Ask, Handler, Send, served
from .crowd import NOT_THERE, Crowd, Place
from .fuzzing import bounded
from .report import Tried
from .requests import Request, anything, requests

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.lengthy,
    pytest.mark.timeout(900 if IS_FULL else 60),
]

CSRF_COOKIE = re.compile(r"(?<=csrftoken=)\w+|(?<=expires=)[^;]+")
CUT = "ASGI callable returned without completing response."
CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")


class Log(logging.Handler):
    """Keep what the log says that it should not: errors, and tracebacks of ours.

    Django logs as an error what clients do that it suspects, each with its traceback; and uvicorn
    that we cut a body.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = record.name.startswith(("resumable_streams", "asyncio", "uvicorn"))
        is_fault = record.levelno >= logging.ERROR or (record.exc_info and is_ours)
        is_expected = record.name.startswith("django.security") or record.getMessage() == CUT
        if is_fault and not is_expected:
            self.faults.append(self.format(record))


@contextmanager
def listening() -> Iterator[Log]:
    log = Log()
    logging.getLogger().addHandler(log)
    try:
        yield log
    finally:
        logging.getLogger().removeHandler(log)


@dataclass
class Fuzz:
    """Send requests to one site, and judge the answers."""

    crowd: Crowd
    log: Log
    answers: Counter[str] = field(default_factory=Counter)
    compared: int = 0

    async def meet(self, request: Request) -> None:
        place = await self.crowd.find(request.stream)
        before = await look(place)
        self.log.faults.clear()
        ask = request.ask(self.crowd, place)
        answer = await self.crowd.send(ask)
        self.answers[str(answer.status or "none, it had left")] += 1
        assert not self.log.faults, "\n".join(self.log.faults)
        check_answer(ask, answer)
        if ask.leaves is None and not ask.torn:
            check_body(request, place, answer)
            if is_refused(answer):
                assert await look(place) == before, answer
            await self._compare(request, place, answer)
        await eventually(has_no_readers)
        assert not self.log.faults, "\n".join(self.log.faults)

    async def _compare(self, request: Request, place: Place, answer: Answer) -> None:
        """Ask the same about a stream that never was, if it is not there for who asks."""
        if "$id" not in request.path or is_there(request, place, self.crowd):
            return
        missing = self.crowd.places["missing"]
        other = await self.crowd.send(request.ask(self.crowd, place, other=missing))
        assert told(answer, place) == told(other, missing)
        self.compared += 1


async def look(place: Place) -> object:
    if place.info is None:
        return None
    now = await get_engine("default").store.look(place.info.key)
    return now and (now.epoch, now.status, now.size)


def has_no_readers() -> bool:
    return all(not tail.readers for tail in get_engine("default").hub.tails)


def is_refused(answer: Answer) -> bool:
    return answer.status is not None and answer.status >= 400


def told(answer: Answer, place: Place) -> tuple[object, ...]:
    """Return all that a client learns, but for the id that it named itself and what is random."""
    headers = [
        (name, CSRF_COOKIE.sub("", value).replace(place.stream_id, "$id"))
        for name, value in answer.headers
    ]
    return answer.status, sorted(headers), answer.body


def is_there(request: Request, place: Place, crowd: Crowd) -> bool:
    """Return whether a stream may be there for who asks; in doubt it may."""
    if place.is_barred or place.info is None:
        return False
    has_link = any(name == "token" and "$token" in value for name, value in request.query)
    is_theirs = place.owner in (request.who, "public") and not place.is_elsewhere
    return has_link or is_theirs


def check_answer(ask: Ask, answer: Answer) -> None:
    """Hold any answer to what all of them have to be."""
    assert answer.status is None or answer.status < 500, answer
    if ask.leaves is None and not ask.torn:
        assert answer.status is not None
    length = answer["content-length"]
    if length and answer.ended and ask.method != "HEAD" and answer.status not in (204, 304):
        assert int(length) == len(answer.body), answer


def check_body(request: Request, place: Place, answer: Answer) -> None:
    """Hold the body of a log that is whole to what the headers say of it."""
    is_log = place.info is not None and place.info.attrs["format"] == "raw"
    if request.path != "streams/$id/" or request.method != "GET" or not is_log:
        return
    if answer.status not in (200, 206) or place.is_live:
        return
    assert "private, no-store" in answer["cache-control"]
    start = int(answer["x-resumable-stream-offset"])
    assert answer.body == place.log[start : start + len(answer.body)]
    end = start + len(answer.body)
    if answer.status == 206:
        match = CONTENT_RANGE.fullmatch(answer["content-range"])
        assert match is not None
        assert (int(match[1]), int(match[2])) == (start, end - 1)
    elif "live" not in dict(request.query):
        assert end == len(place.log)


def attack(
    entry: dict[str, Any],
    settings: Settings,
    about: st.SearchStrategy[Request],
    *,
    real: bool = False,
) -> Fuzz:
    """Send many requests to a site of its own."""
    settings.RESUMABLE_STREAMS = {
        "default": {**entry, "DRAIN_TIMEOUT": 0, "RECORDS": True, "TRUSTED_PROXIES": 1}
    }
    settings.ROOT_URLCONF = "tests.adversary.site"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    lost = recorder.lost
    with asyncio.Runner() as runner, listening() as log:
        ending = AsyncExitStack()
        fuzz = Fuzz(Crowd(runner.run(open_site(ending, real=real))), log)
        runner.run(fuzz.crowd.gather())
        try:

            @bounded(short=70, full=2_000)
            @given(request=about)
            def one(request: Request) -> None:
                runner.run(fuzz.meet(request))

            one()
        finally:
            runner.run(close(fuzz.crowd, ending))
            assert recorder.flush(30)
    assert recorder.lost == lost
    return fuzz


async def open_site(ending: AsyncExitStack, *, real: bool) -> Send:
    if real:
        return await ending.enter_async_context(served(ASGIHandler()))
    return Handler(ASGIHandler())


async def close(crowd: Crowd, ending: AsyncExitStack) -> None:
    await crowd.leave()
    await ending.aclose()
    await runtime.aclose()
    assert not [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]


@pytest.fixture(params=["memory", "redis"])
def entry(request: pytest.FixtureRequest, key_prefix: str) -> dict[str, Any]:
    """Return where streams are kept, on one store after the other."""
    if request.param == "memory":
        return {"BACKEND": MEMORY, "LOCATION": key_prefix, "KEY_PREFIX": key_prefix}
    url = request.getfixturevalue("redis_url")
    return {"BACKEND": REDIS, "LOCATION": url, "KEY_PREFIX": key_prefix}


def test_any_request_has_an_answer(entry: dict[str, Any], settings: Settings, tried: Tried) -> None:
    fuzz = attack(entry, settings, requests(stream=anything, patient=False))
    tried(fuzz.answers.total(), "requests", fuzz.answers)


def test_what_is_not_there_is_told_in_the_same_words(
    entry: dict[str, Any], settings: Settings, tried: Tried
) -> None:
    fuzz = attack(entry, settings, requests(stream=st.sampled_from(NOT_THERE), patient=True))
    tried(fuzz.answers.total(), "requests", {"compared, and the same": fuzz.compared})
    assert fuzz.compared


def test_a_real_server_answers_as_well(
    entry: dict[str, Any], settings: Settings, tried: Tried
) -> None:
    fuzz = attack(entry, settings, requests(stream=anything, patient=False), real=True)
    tried(fuzz.answers.total(), "requests", fuzz.answers)
