"""Middleware, sessions and settings of a project around the streams."""

import pytest
from django.db import connections

from .conftest import Open
from .sites import SITES, WITH_USERS_ONLY, WITHOUT_USERS, prefix_of
from .visit import BIG, visit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", [name for name in SITES if name not in WITHOUT_USERS])
async def test_a_user_streams(site: Open, name: str):
    await visit(site(prefix=prefix_of(name), settings_=SITES[name]))


@pytest.mark.parametrize("name", [name for name in SITES if name not in WITH_USERS_ONLY])
async def test_a_visitor_streams(site: Open, name: str):
    await visit(site(prefix=prefix_of(name), settings_=SITES[name], has_users=False))


async def test_a_big_file_is_there_after_its_client_has_left(site: Open):
    await visit(site(upload=BIG))


@pytest.mark.parametrize("has_users", [True, False])
async def test_every_request_in_a_transaction_is_no_obstacle(
    site: Open, has_users: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    await visit(site(has_users=has_users))
