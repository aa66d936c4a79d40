"""Settings: what each accepts, what it defaults to, and when it is read."""

import math
from dataclasses import fields
from typing import Any

import pytest

from resumable_streams import conf
from resumable_streams.conf import (
    LIMIT_RULES,
    RULES,
    USER_OWNERS,
    AliasSettings,
    get_aliases,
    get_settings,
    problems,
)
from resumable_streams.exceptions import InvalidStoreError
from resumable_streams.types import Limits

ACCEPTED: dict[str, list[object]] = {
    "BACKEND": ["a.B", "resumable_streams.stores.redis.RedisStore"],
    "LOCATION": [None, "redis://host/0", "a name"],
    "CACHE_ALIAS": [None, "default"],
    "KEY_PREFIX": ["a", "app:streams.v-1_", "a" * 128],
    "TTL": [16, 15.5, 86_400, 315_360_000],
    "FINISHED_TTL": [None, 1, 0.5 + 0.5, 315_360_000],
    "LEASE": [0.2, 15, 3_600],
    "SWEEP": [0.1, 5, 300],
    "DRAIN_TIMEOUT": [0, 10.5, 3_600],
    "HANDLE_SIGNALS": [True, False],
    "STORE_TIMEOUT": [0.1, 10, 300],
    "LIMITS": [{}, {"MAX_STREAMS": 1}],
    "OWNER": ["project.owners.of", "ä.b"],
    "TENANT": [None, "project.tenants.of"],
    "WAIT_UNTIL": [None, "platform.wait_until"],
    "HOOK_ERRORS": ["raise", "log"],
    "RECORDS": [True, False],
    "TRUSTED_PROXIES": [0, 1, 32],
    "KEEP_ALIVE": [None, 0.1, 15, 3_600],
    "MAX_RESPONSE_SECONDS": [None, 1, 55.5],
    "REVOKE_ON": [[], (), ["logout"], ("password_change", "logout"), ["deactivate", "delete"]],
    "FORMATS": [[], (), ["project.formats.Proto"], ("a.B", "c.D")],
    "OPTIONS": [{}, {"connect_timeout": 1}],
}
NO_PATHS = ["", "a", ".b", "a.", "a..b", "a b.c", "a.b\n", "a.1b", 7, object, len]
NO_TEXT = ["", 7, b"a", ["a"]]
NO_SECONDS = ["15", True, math.nan, math.inf, -1, [], {}]
REFUSED: dict[str, list[object]] = {
    "BACKEND": [*NO_PATHS, None],
    "LOCATION": NO_TEXT,
    "CACHE_ALIAS": NO_TEXT,
    "KEY_PREFIX": ["", "a" * 129, "a b", "a{b", "a*", "a\n", "ä", None, 7],
    "TTL": [*NO_SECONDS, None, 0, 0.9, 315_360_001],
    "FINISHED_TTL": [*NO_SECONDS, 0, 0.9, 315_360_001],
    "LEASE": [*NO_SECONDS, None, 0, 0.1, 3_601],
    "SWEEP": [*NO_SECONDS, None, 0, 301],
    "DRAIN_TIMEOUT": [*NO_SECONDS, None, -0.1, 3_601],
    "HANDLE_SIGNALS": [None, 0, 1, "yes"],
    "STORE_TIMEOUT": [*NO_SECONDS, None, 0, 301],
    "LIMITS": [None, [], "x", [("MAX_STREAMS", 1)]],
    "OWNER": [*NO_PATHS, None],
    "TENANT": NO_PATHS,
    "WAIT_UNTIL": NO_PATHS,
    "HOOK_ERRORS": ["", "RAISE", "ignore", None, True, []],
    "RECORDS": [None, 0, 1, "yes"],
    "TRUSTED_PROXIES": [-1, 33, 1.0, True, None, "1"],
    "KEEP_ALIVE": [*NO_SECONDS, 0, 3_601],
    "MAX_RESPONSE_SECONDS": [*NO_SECONDS, 0, 0.9],
    "REVOKE_ON": [None, "logout", ["login"], [["logout"]], {"logout"}],
    "FORMATS": [None, "a.B", {"a.B"}, [object], *([path] for path in NO_PATHS)],
    "OPTIONS": [None, [], "x"],
}


def ids(entry: object) -> list[str]:
    """Return the ids of what is wrong with the entry of an alias."""
    return [problem.id for problem in problems({"default": entry})]


def pairs(table: dict[str, list[object]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{number}")
        for name, values in table.items()
        for number, value in enumerate(values)
    ]


def test_every_setting_has_its_line_here():
    assert set(ACCEPTED) == set(REFUSED) == set(RULES)
    names = {field.name.upper() for field in fields(AliasSettings)} - {"ALIAS", "DEBUG"}
    assert names == set(RULES)
    assert {field.name.upper() for field in fields(Limits)} == set(LIMIT_RULES)


@pytest.mark.parametrize(("name", "value"), pairs(ACCEPTED))
def test_a_setting_accepts(name: str, value: object):
    assert ids({name: value}) == []


@pytest.mark.parametrize(("name", "value"), pairs(REFUSED))
def test_a_setting_refuses(name: str, value: object):
    assert "E005" in ids({name: value})


@pytest.mark.parametrize("name", LIMIT_RULES)
def test_a_limit_is_a_whole_number_or_none(name: str):
    for value in (None, 1, 10**12):
        assert ids({"LIMITS": {name: value}}) == []
    for wrong in (0, -1, 1.5, "5", True):
        assert ids({"LIMITS": {name: wrong}}) == ["E005"]


def test_a_change_of_a_user_does_not_say_in_which_tenant_and_for_which_owner():
    for event in ("password_change", "deactivate", "delete"):
        assert ids({"REVOKE_ON": [event]}) == []
        assert ids({"REVOKE_ON": [event], "TENANT": "a.b"}) == ["E010"]
        assert ids({"REVOKE_ON": [event], "OWNER": USER_OWNERS[1]}) == []
        assert ids({"REVOKE_ON": [event, "logout"], "OWNER": "a.b"}) == ["E010"]
    assert ids({"REVOKE_ON": ["logout"], "TENANT": "a.b"}) == []


def test_what_is_wrong_is_said_with_its_place_and_what_would_be_right():
    (problem,) = problems({"default": {}, "chat": {"LIMITS": {"MAX_STREAMS": 0}}})
    assert problem.message == ("RESUMABLE_STREAMS['chat']['LIMITS']['MAX_STREAMS'] is not valid.")
    assert problem.hint == "It is None or a whole number from 1."


def test_no_value_is_quoted():
    """A location has a password in it."""
    found = list(problems({"default": {"LOCATION": ["secret"], "OPTIONS": "secret"}}))
    assert len(found) == 2
    assert "secret" not in str(found)


def test_everything_that_is_wrong_is_found_at_once():
    assert ids({"TTL": 0, "NONSENSE": 1, "LIMITS": {"x": 1}, "LEASE": 99}) == [
        "E005",
        "E004",
        "E004",
        "E007",
    ]


def test_without_the_setting_there_is_the_default_alias_in_memory(settings):
    del settings.RESUMABLE_STREAMS
    assert get_aliases() == ["default"]
    assert get_settings() == AliasSettings(alias="default")
    assert get_settings().backend == conf.MEMORY


def test_settings_and_limits_are_taken_over(settings):
    settings.RESUMABLE_STREAMS = {
        "default": {},
        "chat": {"TTL": 60, "LIMITS": {"MAX_STREAMS": 7}, "OPTIONS": {"x": 1}},
    }
    chat = get_settings("chat")
    assert get_aliases() == ["default", "chat"]
    assert (chat.alias, chat.ttl, chat.limits, chat.options, chat.debug) == (
        "chat",
        60,
        Limits(max_streams=7),
        {"x": 1},
        False,
    )


def test_settings_are_read_once_until_they_change(settings):
    assert get_settings() is get_settings()
    settings.RESUMABLE_STREAMS = {"default": {"TTL": 61}}
    assert get_settings().ttl == 61
    settings.DEBUG = True
    assert get_settings().debug
    settings.ALLOWED_HOSTS = ["example.com"]
    assert get_settings() is get_settings()


@pytest.mark.parametrize("raw", [None, [], {}, {"default": None}, {"default": {"TTL": 0}}])
def test_wrong_settings_are_not_worked_with(settings, raw: object):
    settings.RESUMABLE_STREAMS = raw
    with pytest.raises(InvalidStoreError, match="RESUMABLE_STREAMS"):
        get_settings()


def test_an_unknown_alias_is_named(settings):
    settings.RESUMABLE_STREAMS = {"default": {}}
    with pytest.raises(InvalidStoreError, match="no alias 'chat'"):
        get_settings("chat")
