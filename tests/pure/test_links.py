"""Signed links: what they open, what ends them, and what a log is told of them."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.links import RedactTokens, SignedLink
from resumable_streams.types import PUBLIC, StreamInfo, StreamStatus

INFO = StreamInfo(
    stream_id="chat",
    tenant="acme",
    generation=3,
    owner="user:42",
    status=StreamStatus.STREAMING,
    size=0,
    entries=0,
    created=0,
    expires=0,
    epoch="e1",
)


def reads(token: str, info: StreamInfo = INFO, alias: str = "default") -> bool:
    return SignedLink.of(token, tenant="default").opens(info, alias=alias)


def make(info: StreamInfo = INFO, **named: Any) -> str:
    return str(SignedLink.make(info, alias="default", **named))


def test_a_link_opens_its_stream_however_far_that_has_come():
    assert reads(make())
    assert reads(make(), replace(INFO, size=9, status=StreamStatus.DONE, expires=99))
    assert SignedLink.of(make(), tenant="default").tenant == "acme"


@pytest.mark.parametrize(
    "other",
    [
        {"stream_id": "chat2"},
        {"tenant": "acm"},
        {"generation": 4},
        {"owner": "user:4"},
        {"owner": PUBLIC},
        {"epoch": "e2"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_link_opens_nothing_else(other: dict[str, Any]):
    assert not reads(make(), replace(INFO, **other))
    assert not reads(make(replace(INFO, **other)))
    assert not reads(make(), alias="other")


def test_public_is_not_an_owner_of_that_name():
    assert reads(make(replace(INFO, owner=PUBLIC)), replace(INFO, owner=PUBLIC))
    assert not reads(make(replace(INFO, owner=PUBLIC)), replace(INFO, owner="public"))


def test_a_link_ends_with_its_age(monkeypatch: pytest.MonkeyPatch):
    clock = [1000.0]
    monkeypatch.setattr("resumable_streams.links._now", lambda: clock[0])
    token, lasting = make(max_age=60), make()
    clock[0] = 1059.9
    assert reads(token)
    clock[0] = 1060.0
    assert not reads(token)
    assert reads(lasting)


@pytest.mark.parametrize("max_age", [0, -1, float("nan"), float("inf")])
def test_an_age_is_positive_and_finite(max_age: float):
    with pytest.raises(ValueError, match="max_age"):
        make(max_age=max_age)


def test_a_link_does_not_say_whose_stream_it_opens():
    token = make()
    assert "42" not in token.split(".")[0]
    assert len(token) < 160
    assert "%" not in token.replace(".", "")


@given(st.text(max_size=200))
def test_what_was_not_made_here_opens_nothing_and_names_no_tenant(text: str):
    link = SignedLink.of(text, tenant="default")
    assert link.tenant == "default"
    assert not link.opens(INFO, alias="default")


@given(st.integers(0, 150), st.sampled_from("aZ0._-:"))
def test_a_changed_link_opens_nothing(place: int, letter: str):
    token = make(max_age=60)
    changed = token[:place] + letter + token[place + 1 :]
    assert changed == token or not reads(changed)


def test_a_longer_life_cannot_be_written_into_a_link():
    tenant, expires, rest = make(max_age=60).split(".", 2)
    assert not reads(f"{tenant}.{int(expires) + 9999}.{rest}")
    assert not reads(f"{tenant}..{rest}")


def test_a_new_secret_key_ends_links_unless_the_old_one_is_a_fallback(settings):
    token = make()
    old, settings.SECRET_KEY = settings.SECRET_KEY, "new"
    assert not reads(token)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert reads(token)


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ('%s - "%s %s HTTP/%s" %d', ("1.2.3.4:5", "GET", "/s/?offset=1&token=SECRET", "1.1", 200)),
        ('"%s" %s %s', ("GET /s/?token=SECRET HTTP/1.1", "200", "5")),
        ("%(method)s %(path)s", ({"method": "GET", "path": "/s/?token=SECRET&live=0"},)),
        ("GET /s/?token=SECRET HTTP/1.1", ()),
    ],
    ids=["uvicorn", "runserver", "mapping", "text"],
)
def test_tokens_are_taken_out_of_access_logs(message: str, args: tuple[Any, ...]):
    record = logging.LogRecord("access", logging.INFO, "", 0, message, args, None)
    before = record.getMessage()
    assert RedactTokens().filter(record)
    assert record.getMessage() == before.replace("SECRET", "[redacted]")
