"""A live answer holds neither a connection nor a thread, whatever is around its view."""

import threading
import uuid
from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.tools.waiting import eventually

from .conftest import Open
from .site import ADDRESSES
from .sites import SITES

pytestmark = pytest.mark.django_db(transaction=True)

AROUND = {"nothing": "answer/"} | {
    name: ADDRESSES[name]
    for name in (
        "LoginRequiredMixin",
        "PermissionRequiredMixin",
        "a dispatch of one's own",
        "a view of the project",
        "dispatch: sync",
        "dispatch over mixin: sync around async",
        "function: permission_required",
        "function: sync",
    )
}


@pytest.fixture
def opened() -> Iterator[list[BaseDatabaseWrapper]]:
    """Collect the connections that other threads than the test's have opened."""
    found: list[BaseDatabaseWrapper] = []
    ours = threading.get_ident()

    def remember(connection: BaseDatabaseWrapper, **named: object) -> None:
        if threading.get_ident() != ours:
            found.append(connection)

    connection_created.connect(remember)
    yield found
    connection_created.disconnect(remember)


def threads() -> set[threading.Thread]:
    """Return the threads there are, but for those that a loop keeps for all."""
    return {each for each in threading.enumerate() if not each.name.startswith("asyncio_")}


@pytest.mark.parametrize("name", ["as Django starts it", "sync-only middleware"])
@pytest.mark.parametrize("around", AROUND)
async def test_a_live_answer_holds_nothing(
    site: Open, opened: list[BaseDatabaseWrapper], around: str, name: str
):
    there = site(settings_=SITES[name], start=AROUND[around])
    async with there.visitor("ada") as ada:
        before = threads()
        async with there.ask(ada, uuid.uuid4().hex) as response:
            assert response.status_code == 200
            await anext(response.aiter_bytes())
            await eventually(lambda: not any(each.connection for each in opened))
            await eventually(lambda: threads() <= before)
        assert opened
