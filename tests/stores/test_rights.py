"""The Redis store through TLS, as a user with the rights that the docs ask for."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from resumable_streams.exceptions import StoreForbidden, StoreUnavailable
from resumable_streams.stores.base import BaseStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.testing import StreamStoreContract
from resumable_streams.testing.acts import KEY, refusal
from resumable_streams.types import Verdict
from tests.tools.lengthy import starts_a_process

from ..nodes import Node, node
from ..proxy import proxy_to

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
PREFIX_ON_PAGE = "resumable:mysite"
PREFIX = "ours"


def rights() -> list[str]:
    """Return the command of the page, for our prefix."""
    _, begins, rest = PAGE.read_text().partition("ACL SETUSER ")
    command, _, _ = rest.partition("```")
    return (begins + command).replace(PREFIX_ON_PAGE, PREFIX).split()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an authority, and a certificate that it gave to server and client."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "stranger.pem"))
    return folder


@pytest.fixture(scope="module")
@starts_a_process
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("server")) as running:
        running.client.execute_command(*rights())
        yield running


@pytest.fixture
async def tls_port(server: Node, certificates: Path) -> AsyncIterator[int]:
    """Name a port that speaks TLS with who shows a certificate, and passes it on to the server."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    async with proxy_to(server.port, tls=context) as proxy:
        yield proxy.port


def location(port: int, certificates: Path, *, password: str = "secret", ca: str = "ca.pem") -> str:
    return (
        f"rediss://streams:{password}@127.0.0.1:{port}/0?ssl_ca_certs={certificates / ca}"
        f"&ssl_certfile={certificates / 'cert.pem'}&ssl_keyfile={certificates / 'key.pem'}"
    )


@asynccontextmanager
async def store_at(url: str, prefix: str = PREFIX) -> AsyncIterator[RedisStore]:
    store = RedisStore(
        alias="test", key_prefix=prefix, location=url, limits=StreamStoreContract.limits
    )
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def store(server: Node, tls_port: int, certificates: Path) -> AsyncIterator[RedisStore]:
    """Open a store; at the end its user must not have been denied anything."""
    server.client.flushall()
    server.client.acl_log_reset()
    async with store_at(location(tls_port, certificates)) as opened:
        yield opened
    assert server.client.acl_log() == []


class TestThroughTlsWithFewRights(StreamStoreContract):
    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        assert store.location is not None
        async with store_at(store.location) as opened:
            yield opened


async def test_workers_need_no_other_rights(store: RedisStore) -> None:
    queue = store.queue("worker")
    await queue.put(b"order")
    taken = await queue.take(wait=1, idle=60)
    assert taken is not None
    await queue.keep([taken[0]])
    await queue.done(taken[0])
    assert await queue.take(wait=0.01, idle=0.01) is None
    await queue.aclose()


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"password": "wrong"}, StoreForbidden), ({"ca": "stranger.pem"}, StoreUnavailable)],
)
async def test_a_wrong_password_is_refused_and_a_strange_authority_is_an_unavailable_store(
    tls_port: int,
    certificates: Path,
    change: dict[str, str],
    expected: type[StoreUnavailable],
) -> None:
    async with store_at(location(tls_port, certificates, **change)) as store:
        error = await refusal(expected, store.look(KEY))
        assert "secret" not in f"{error}{error.__cause__}"


async def test_the_keys_of_others_are_out_of_reach(tls_port: int, certificates: Path) -> None:
    async with store_at(location(tls_port, certificates), prefix="theirs") as store:
        await refusal(StoreForbidden, store.look(KEY))


@pytest.mark.parametrize(
    ("change", "part"),
    [({}, "reach"), ({"ca": "stranger.pem"}, "tls"), ({"password": "x"}, "login")],
)
async def test_the_doctor_names_the_part_of_the_connection_that_fails(
    tls_port: int, certificates: Path, change: dict[str, str], part: str
) -> None:
    async with store_at(location(tls_port, certificates, **change)) as store:
        first, *rest = await store.examine()
    assert first.check == part
    assert bool(change) is (first.verdict is Verdict.FAULT) is (rest == [])
    assert change or "TLS" in first.message
