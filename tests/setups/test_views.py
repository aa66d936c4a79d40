"""What people put around views: mixins and decorators, sync and async, of classes and functions."""

import uuid

import pytest

from .conftest import Open
from .site import ADDRESSES
from .visit import visit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", ADDRESSES)
async def test_who_may_streams_and_nobody_else(site: Open, name: str):
    there = site(start=ADDRESSES[name])
    async with there.open() as nobody:
        nobody.headers["X-CSRFToken"] = (await nobody.get("page/")).text
        async with there.ask(nobody, uuid.uuid4().hex) as response:
            assert response.status_code in (302, 403)
    await visit(there)
