"""From where is asked: nobody is believed but our own proxies."""

from typing import Any

import pytest
from channels.auth import UserLazyObject
from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from resumable_streams.operating.client_info import client_ip, request_id, user_id


def ask(forwarded: str | None = None, *, peer: str = "192.0.2.1", **meta: Any):
    if forwarded is not None:
        meta["HTTP_X_FORWARDED_FOR"] = forwarded
    return RequestFactory().get("/", REMOTE_ADDR=peer, **meta)


@pytest.mark.parametrize(
    ("forwarded", "trusted", "expected"),
    [
        (None, 0, "192.0.2.1"),
        ("198.51.100.7", 0, "192.0.2.1"),
        ("198.51.100.7", 1, "198.51.100.7"),
        ("6.6.6.6, 198.51.100.7", 1, "198.51.100.7"),
        ("6.6.6.6, 198.51.100.7, 10.0.0.1", 2, "198.51.100.7"),
        ("198.51.100.7", 2, "192.0.2.1"),
        (None, 1, "192.0.2.1"),
        ("", 1, "192.0.2.1"),
        ("198.51.100.7:4711", 1, "198.51.100.7"),
        ("[2001:DB8::1]:4711", 1, "2001:db8::1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("::ffff:198.51.100.7", 1, "198.51.100.7"),
        ("fe80::1%eth0", 1, "fe80::1"),
        ("unknown", 1, None),
        ("198.51.100.7' OR 1=1", 1, None),
    ],
)
def test_the_address_is_what_the_outermost_trusted_proxy_saw(forwarded, trusted, expected):
    assert client_ip(ask(forwarded), trusted) == expected


def test_a_server_on_a_socket_file_knows_no_address():
    assert client_ip(ask(peer="")) is None


def test_a_scope_of_channels_is_asked_the_same():
    scope = {
        "client": ("192.0.2.1", 4711),
        "headers": [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"198.51.100.7")],
    }
    assert client_ip(scope) == "192.0.2.1"
    assert client_ip(scope, 1) == "198.51.100.7"
    assert client_ip({"client": None}) is None


def test_the_id_of_a_middleware_wins_over_the_header():
    request = ask(HTTP_X_REQUEST_ID="from-outside")
    assert request_id(request) == "from-outside"
    request.request_id = "ours"
    assert request_id(request) == "ours"
    assert request_id({"headers": [(b"x-request-id", b"abc")]}) == "abc"


def test_a_request_id_is_short_and_printable():
    assert request_id(ask(HTTP_X_REQUEST_ID="a\r\nb\x00c\x1b[31m")) == "abc[31m"
    assert len(request_id(ask(HTTP_X_REQUEST_ID="x" * 10_000))) == 200
    assert request_id(ask()) == ""
    assert request_id(None) == ""


def test_the_user_is_told_only_if_it_is_loaded():
    request = ask()
    assert user_id(request) == ""
    request.user = SimpleLazyObject(lambda: pytest.fail("loaded"))
    assert user_id(request) == ""
    request._acached_user = User(pk=7)
    assert user_id(request) == "7"
    request.user = User(pk=8)
    assert user_id(request) == "8"
    request.user = AnonymousUser()
    assert user_id(request) == ""


def test_the_user_of_a_scope_may_be_lazy_too():
    user = UserLazyObject()
    assert user_id({"user": user}) == ""
    user._wrapped = User(pk=7)
    assert user_id({"user": user}) == "7"
    assert user_id({}) == ""
    assert user_id(None) == ""
