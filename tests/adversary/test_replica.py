"""A read-only replica where a primary should be."""

import time
from collections.abc import Iterator

import pytest

from resumable_streams import StreamManager
from resumable_streams.exceptions import StoreUnavailable
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, refusal, start
from tests.nodes import Node, binaries, node, until
from tests.tools.lengthy import starts_a_process
from tests.tools.sources import Tap

from .conftest import Run, entry


@pytest.fixture(scope="module", params=binaries())
@starts_a_process
def replica(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Node, Node]]:
    """Yield a primary and its replica, which has all that it has."""
    folder, binary = tmp_path_factory.mktemp("replicated"), binaries()[request.param]
    with node(folder, binary=binary) as primary:
        follows = f"replicaof 127.0.0.1 {primary.port}"
        with node(folder, follows, binary=binary) as one:
            until(lambda: one.client.info("replication")["master_link_status"] == "up")
            yield primary, one


@pytest.fixture
def location(replica: tuple[Node, Node]) -> str:
    return replica[1].url


async def test_a_replica_serves_nothing_and_says_what_it_is(
    store: RedisStore, replica: tuple[Node, Node], key_prefix: str
) -> None:
    """Not even what it has: that may be older than a revocation."""
    primary, one = replica
    limits = StreamStoreContract.limits
    real = RedisStore(alias="real", key_prefix=key_prefix, location=primary.url, limits=limits)
    await start(real)
    await real.aclose()
    until(lambda: one.client.exists(store.keys.meta(KEY)) == 1)
    verbs = [
        lambda: store.look(KEY),
        lambda: store.read(KEY, 0, 1),
        lambda: store.get_control("acme", "ada"),
        lambda: store.cancel(KEY),
        lambda: anext(aiter(store.scan())),
    ]
    for verb in verbs:
        error = await refusal(StoreUnavailable, verb())
        assert "read-only replica" in str(error)


async def test_a_stream_is_refused_soon(
    settings, location: str, key_prefix: str, closes_runtime: None
) -> None:
    settings.RESUMABLE_STREAMS = {"default": entry(location, key_prefix, STORE_TIMEOUT=30)}
    tap, before = Tap(), time.monotonic()
    with pytest.raises(StoreUnavailable, match="read-only replica"):
        await StreamManager().arun("chat", tap, owner="a")
    with pytest.raises(StoreUnavailable, match="read-only replica"):
        await StreamManager().aresume("chat", owner="a")
    assert time.monotonic() - before < 10
    assert tap.calls == 0


@pytest.mark.parametrize("verb", ["audit", "rotate", "purge"])
def test_an_operator_is_told(site: StreamManager, run: Run, verb: str) -> None:
    code, printed = run(verb, "--tenant", "default", *(() if verb == "audit" else ("--yes",)))
    assert code == 1
    assert "read-only replica" in printed
