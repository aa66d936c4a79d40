"""System checks: one test for each id."""

import pytest
from django.core.checks import run_checks

from resumable_streams import checks
from resumable_streams.formats import Raw
from tests.tools.streams import REDIS


def ids(settings, raw: object) -> list[str]:
    """Return the ids of our checks for a value of RESUMABLE_STREAMS."""
    settings.RESUMABLE_STREAMS = raw
    found = run_checks(tags=[checks.TAG])
    assert all(message.hint for message in found if (message.id or "").startswith("resumable"))
    return [
        message.id.removeprefix("resumable_streams.")
        for message in found
        if message.id and message.id.startswith("resumable_streams.E")
    ]


@pytest.mark.parametrize("raw", [{"default": {}}, {"default": {}, "chat": {"BACKEND": REDIS}}])
def test_nothing_is_wrong(settings, raw: object):
    assert ids(settings, raw) == []


@pytest.mark.parametrize("raw", [None, [], "default"])
def test_e001_the_setting_is_not_a_dictionary(settings, raw: object):
    assert ids(settings, raw) == ["E001"]


def test_e002_there_is_no_default_alias(settings):
    assert ids(settings, {"chat": {}}) == ["E002"]


@pytest.mark.parametrize("raw", [{"default": None}, {"default": {}, 5: {}}])
def test_e003_an_alias_is_not_a_named_dictionary(settings, raw: object):
    assert ids(settings, raw) == ["E003"]


def test_e004_a_key_is_unknown(settings):
    assert ids(settings, {"default": {"TTLS": 5, "ttl": 5, 7: 5}}) == ["E004"] * 3


def test_e005_a_value_is_not_valid(settings):
    assert ids(settings, {"default": {"TTL": "60"}}) == ["E005"]


def test_e006_the_connection_has_two_sources(settings):
    raw = {"default": {"BACKEND": REDIS, "LOCATION": "redis://h/0", "CACHE_ALIAS": "default"}}
    assert ids(settings, raw) == ["E006"]


@pytest.mark.parametrize("entry", [{"TTL": 15}, {"LEASE": 60, "TTL": 60}, {"TTL": 5, "LEASE": 6}])
def test_e007_a_stream_does_not_outlive_a_lease(settings, entry: object):
    assert ids(settings, {"default": entry}) == ["E007"]


@pytest.mark.parametrize(
    "entry",
    [
        {"BACKEND": "no.such.Store"},
        {"BACKEND": "resumable_streams.stores.NoStore"},
        {"BACKEND": "resumable_streams.types.Claim"},
        {"BACKEND": "resumable_streams.checks.check_settings"},
        {"OPTIONS": {"connect_timeout": 5}},
        {"CACHE_ALIAS": "default"},
        {"BACKEND": REDIS, "OPTIONS": {"nonsense": 5}},
        {"BACKEND": REDIS, "OPTIONS": {7: 5}},
        {"BACKEND": REDIS, "OPTIONS": {"connect_timeout": "5"}},
        {"BACKEND": REDIS, "LOCATION": "http://:secret@host/"},
        {"BACKEND": REDIS, "LIMITS": {"MAX_STREAM_BYTES": None}},
        {"BACKEND": REDIS, "CACHE_ALIAS": "default"},
        {"BACKEND": REDIS, "CACHE_ALIAS": "missing"},
    ],
)
def test_e008_a_backend_cannot_be_made(settings, entry: object):
    assert ids(settings, {"default": {}, "chat": entry}) == ["E008"]
    (found,) = checks.check_backends(None)
    assert "'chat'" in found.msg + str(found.hint)
    assert "secret" not in found.msg + str(found.hint)


@pytest.mark.parametrize("name", ["OWNER", "TENANT", "WAIT_UNTIL"])
@pytest.mark.parametrize("path", ["no.such.function", "resumable_streams.owners.nobody", "os.sep"])
def test_e009_a_callable_cannot_be_imported(settings, name: str, path: str):
    assert ids(settings, {"default": {name: path}}) == ["E009"]


@pytest.mark.parametrize(
    "formats",
    [
        ["no.such.Format"],
        ["resumable_streams.formats.Format"],
        ["resumable_streams.formats.register"],
        ["tests.pure.test_formats.Proto", "tests.pure.test_checks.Proto"],
    ],
)
def test_e012_a_format_cannot_be_loaded_or_has_the_name_of_another(settings, formats: list[str]):
    assert ids(settings, {"default": {}, "chat": {"FORMATS": formats}}) == ["E012"]
    good = ["tests.pure.test_formats.Proto"]
    assert ids(settings, {"default": {"FORMATS": good}, "chat": {"FORMATS": good}}) == []


class Proto(Raw):
    name = "proto"
