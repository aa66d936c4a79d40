"""Identifiers, and the names of what is stored."""

import fnmatch
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_streams.exceptions import InvalidOwner, InvalidStreamId, InvalidTenant
from resumable_streams.identifiers import (
    decode_owner,
    encode_owner,
    owner_digest,
    validate_owner,
    validate_stream_id,
    validate_tenant,
)
from resumable_streams.stores.redis.keys import KeySpace
from resumable_streams.types import PUBLIC, StreamKey

WORD = string.ascii_letters + string.digits
PREFIXES = st.text(WORD + "_.:-", min_size=1, max_size=12)
KEYS = st.builds(
    StreamKey,
    tenant=st.text(WORD + "_-", min_size=1, max_size=64),
    generation=st.integers(1, 10**17),
    stream_id=st.text(WORD + "_.:-", min_size=1, max_size=256),
)
OWNERS = st.one_of(
    st.just(PUBLIC),
    st.sampled_from(["public", "PUBLIC", "=public", "="]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256),
)
KEY = StreamKey(tenant="acme", generation=3, stream_id="chat:1")


@pytest.mark.parametrize("stream_id", ["a", "A-z_0.9:x", "-", ".", ":", "a" * 256])
def test_a_stream_id_is_of_letters_digits_and_four_signs(stream_id: str):
    assert validate_stream_id(stream_id) == stream_id


@pytest.mark.parametrize(
    "stream_id",
    ["", "a" * 257, "a b", "a\n", "\na", "a/b", "a{b}", "*", "ä", "٣", "a\x00", None, 7, b"a"],
)
def test_any_other_stream_id_is_refused(stream_id: object):
    with pytest.raises(InvalidStreamId):
        validate_stream_id(stream_id)


@pytest.mark.parametrize("tenant", ["4", "42", "A_b-c", "a" * 64])
def test_a_tenant_is_a_slug(tenant: str):
    assert validate_tenant(tenant) == tenant


@pytest.mark.parametrize("tenant", ["", "a" * 65, "a.b", "a:b", "a\n", "*", "{a}", "ä", None, 4])
def test_any_other_tenant_is_refused(tenant: object):
    with pytest.raises(InvalidTenant):
        validate_tenant(tenant)


@pytest.mark.parametrize("owner", [PUBLIC, "PUBLIC", "42", "ä {}*\n", "a" * 1024, "ä" * 512])
def test_an_owner_is_any_text_or_public(owner: object):
    assert validate_owner(owner) is owner


@pytest.mark.parametrize("owner", ["", "a" * 1025, "ä" * 513, "\udcff", None, 42, b"42", True])
def test_any_other_owner_is_refused_and_not_quoted(owner: object):
    with pytest.raises(InvalidOwner) as refused:
        validate_owner(owner)
    assert not owner or str(owner) not in str(refused.value)
    assert refused.value.__cause__ is None


@given(OWNERS, OWNERS)
def test_an_owner_is_stored_as_itself_and_nobody_else(one, other):
    assert decode_owner(encode_owner(one)) == one
    assert (encode_owner(one) == encode_owner(other)) == (one == other)
    assert (owner_digest(one) == owner_digest(other)) == (one == other)


def test_the_layout_of_the_keys_is_what_is_documented():
    """A change here loses what is stored: it needs a new generation, or a migration."""
    keys = KeySpace("app")
    assert keys.meta(KEY) == "app:acme:g3:{chat:1}:meta"
    assert keys.log(KEY) == "app:acme:g3:{chat:1}:data"
    assert keys.control("acme") == "app:acme:control"
    assert keys.events == "app:events"
    assert keys.live("acme") == "app:acme:live"
    assert keys.live("acme", owner_digest("ada")) == f"app:acme:live:{{{owner_digest('ada')}}}"
    assert keys.revoked("acme", "ada") == f"app:acme:revoked:{{{owner_digest('ada')}}}"
    assert keys.shared("held:p1") == "app:{app}:held:p1"
    assert owner_digest("ada") == "c1bbffc41597e94e047e8c601414d7f7"


@given(PREFIXES, KEYS)
def test_a_key_leads_back_to_its_stream(prefix: str, key: StreamKey):
    keys = KeySpace(prefix)
    assert keys.parse(keys.meta(key)) == key
    assert keys.parse(keys.log(key)) == key


@given(PREFIXES, PREFIXES, KEYS)
def test_a_key_belongs_to_one_prefix(one: str, other: str, key: StreamKey):
    assert (KeySpace(one).parse(KeySpace(other).meta(key)) is None) == (one != other)


@given(PREFIXES, KEYS, KEYS)
def test_no_two_streams_share_a_key(prefix: str, one: StreamKey, other: StreamKey):
    keys = KeySpace(prefix)
    assert (keys.meta(one) == keys.meta(other)) == (one == other)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "app",
        "app:acme:control",
        "app:events",
        "app:acme:g3:{chat}",
        "app:acme:g3:{chat}:meta\n",
        "app:acme:g3:{chat}:meta:x",
        "app:acme:g3:{}:meta",
        "app:acme:g3:{a{b}:meta",
        "app:acme:g:{chat}:meta",
        "app:acme:gx:{chat}:meta",
        "app:acme:3:{chat}:meta",
        "app:b:acme:g3:{chat}:meta",
        "application:acme:g3:{chat}:meta",
        "x:app:acme:g3:{chat}:meta",
        f"app:acme:g{'9' * 19}:{{chat}}:meta",
    ],
)
def test_what_is_no_stream_of_the_prefix_leads_nowhere(name: str):
    assert KeySpace("app").parse(name) is None


@given(PREFIXES, KEYS, KEYS)
def test_a_pattern_matches_its_tenant_and_generation(prefix: str, key: StreamKey, other: StreamKey):
    keys = KeySpace(prefix)
    assert fnmatch.fnmatchcase(keys.meta(key), keys.meta_pattern())
    assert fnmatch.fnmatchcase(keys.meta(key), keys.meta_pattern(key.tenant))
    assert fnmatch.fnmatchcase(keys.meta(key), keys.meta_pattern(None, key.generation))
    exact = keys.meta_pattern(key.tenant, key.generation)
    same = (key.tenant, key.generation) == (other.tenant, other.generation)
    assert fnmatch.fnmatchcase(keys.meta(other), exact) == same
    assert not fnmatch.fnmatchcase(keys.log(key), keys.meta_pattern())


@pytest.mark.parametrize(
    ("tenant", "escaped"),
    [("*", r"\*"), ("?", r"\?"), ("[a-z]", r"\[a-z\]"), ("\\", r"\\"), ("^", r"\^")],
)
def test_a_pattern_takes_no_glob_from_a_tenant(tenant: str, escaped: str):
    assert KeySpace("app").meta_pattern(tenant) == f"app:{escaped}:g*:{{*}}:meta"
