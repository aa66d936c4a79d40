"""A primary that takes no writes, as it has too few replicas: what it has is read all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, TERMS, body, refusal, start
from resumable_streams.types import Claim, StreamStatus
from tests.nodes import Node


@contextmanager
def lonely(server: Node) -> Iterator[None]:
    server.client.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        server.client.config_set("min-replicas-to-write", 0)


async def test_a_primary_that_takes_no_writes_is_read(
    store: RedisStore, server: Node, key_prefix: str
) -> None:
    claim = await start(store)
    await store.append(KEY, claim, 0, b"abc")
    with lonely(server):
        other = RedisStore(  # which has to connect first
            alias="other",
            key_prefix=key_prefix,
            location=server.url,
            limits=StreamStoreContract.limits,
        )
        for one in (store, other):
            assert await body(one) == b"abc"
            assert (await one.acquire(KEY, Claim(), TERMS)).info.size == 3
            assert [key async for key in one.scan()] == [KEY]
            assert (await one.get_control("acme", "ada")).revoked_at is None
            await refusal(StoreUnavailable, one.append(KEY, claim, 3, b"def"))
            await refusal(StoreUnavailable, one.finalize(KEY, claim, StreamStatus.DONE))
            await refusal(StoreUnavailable, one.revoke("acme", "ada", keep=5))
        await other.aclose()
    assert await store.append(KEY, claim, 3, b"def") == 6
