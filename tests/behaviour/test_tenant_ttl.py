"""The TTL of a tenant: it holds while a stream runs and after its end, longer or shorter."""

import pytest

from resumable_streams import StreamManager
from resumable_streams.control import retire
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap

from .conftest import Configure

pytestmark = pytest.mark.django_db(transaction=True)

TENANT = "acme"
ALIAS_TTL = 1_000


async def ttls(manager: StreamManager, **named: float) -> tuple[float, float]:
    """Return for how long a stream is kept while it runs, and once it has ended."""
    tap = Tap(b"x")
    reader = await manager.arun("s", tap, owner="a", tenant=TENANT, **named)  # type: ignore[arg-type]
    await read_until(reader, 1)
    running = await manager.astatus("s", owner="a", tenant=TENANT)
    tap.end()
    await read_all(reader)
    ended = await manager.astatus("s", owner="a", tenant=TENANT)
    assert running is not None
    assert ended is not None
    return running.ttl, ended.ttl


@pytest.mark.parametrize("ttl", [5_000, 100])
async def test_it_is_kept_when_the_stream_ends(
    configure: Configure, manager: StreamManager, ttl: float
):
    configure(TTL=ALIAS_TTL)
    await retire("default", TENANT, ttl=ttl)
    assert await ttls(manager) == pytest.approx((ttl, ttl), abs=5)


async def test_what_is_kept_of_ended_streams_is_bounded_as_the_alias_says(
    configure: Configure, manager: StreamManager
):
    configure(TTL=ALIAS_TTL, FINISHED_TTL=60)
    await retire("default", TENANT, ttl=5_000)
    assert await ttls(manager) == pytest.approx((5_000, 60), abs=5)


async def test_the_calls_own_ttl_comes_first(configure: Configure, manager: StreamManager):
    configure(TTL=ALIAS_TTL)
    await retire("default", TENANT, ttl=5_000)
    assert await ttls(manager, ttl=300) == pytest.approx((300, 300), abs=5)


async def test_without_it_the_aliass_counts_again(configure: Configure, manager: StreamManager):
    configure(TTL=ALIAS_TTL)
    await retire("default", TENANT, ttl=5_000)
    await retire("default", TENANT, ttl=0)
    assert await ttls(manager) == pytest.approx((ALIAS_TTL, ALIAS_TTL), abs=5)
