"""The doctor at a server: good ones, and each way in which one is not."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from example_project.private_redis import free_port
from resumable_streams.stores.redis import RedisStore, examination
from resumable_streams.stores.redis.examination import SUPPORTED
from resumable_streams.stores.redis.rights import PURPOSES
from resumable_streams.stores.redis.store import SCRIPTS
from resumable_streams.testing import StreamStoreContract
from resumable_streams.types import Observation, Verdict
from tests.tools.lengthy import starts_a_process
from tests.tools.waiting import within

from ..nodes import CLUSTER_SLOTS, Node, binaries, cluster, node, replicated, sentinel_group, until
from ..proxy import proxy_to
from .test_rights import PAGE, rights

PREFIX = "ours"
PASSWORD = "very-secret"
NAMED = {name for names in PURPOSES.values() for name in names.split()}

Found = dict[str, list[Observation]]


async def examined(location: str, **options: Any) -> Found:
    """Return what is found out about a server, by check; nothing of it names the password."""
    store = RedisStore(
        alias="test",
        key_prefix=PREFIX,
        location=location,
        limits=StreamStoreContract.limits,
        **options,
    )
    found: Found = defaultdict(list)
    try:
        for one in await store.examine():
            assert one.verdict in (Verdict.FINE, Verdict.UNKNOWN) or one.remedy, one
            assert PASSWORD not in str(one)
            found[one.check].append(one)
    finally:
        await store.aclose()
    return found


def verdicts(found: Found, *checks: str) -> set[str]:
    return {str(one.verdict) for check in checks or found for one in found[check]}


def ill(found: Found) -> dict[str, str]:
    """Return the verdicts of the checks that are neither fine nor unknown."""
    return {
        check: str(one.verdict)
        for check, all_of_it in found.items()
        for one in all_of_it
        if one.verdict in (Verdict.WARNING, Verdict.FAULT)
    }


@pytest.fixture(scope="module", params=binaries())
@starts_a_process
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """Run a server of each kind that this machine has, which saves what it is given."""
    folder = tmp_path_factory.mktemp("examined")
    with node(folder, "appendonly yes", binary=binaries()[request.param]) as running:
        running.client.execute_command(*rights())
        yield running


@pytest.fixture
def configured(server: Node) -> Iterator[Callable[..., None]]:
    """Return a function that configures the server until the end of a test."""
    before: dict[str, Any] = {}

    def configure(**values: object) -> None:
        for name, value in ((name.replace("_", "-"), value) for name, value in values.items()):
            before.update({name: server.client.config_get(name)[name], **before})
            server.client.config_set(name, str(value))

    yield configure
    for name, value in reversed(before.items()):
        server.client.config_set(name, value)


async def test_nothing_is_wrong_with_a_good_server(server: Node) -> None:
    found = await examined(server.url)
    assert verdicts(found) == {"fine"}
    assert {"reach", "version", "rights", "scripts", "push", "clock"} <= found.keys()
    assert {"eviction", "memory", "persistence", "role", "cluster", "writes"} <= found.keys()
    assert "which is supported" in found["version"][0].message


async def test_a_wrong_password_is_told_as_the_login(server: Node) -> None:
    found = await examined(server.url.replace("://", f"://streams:{PASSWORD}@"))
    assert ill(found) == {"login": "fault"}


async def test_the_documented_rights_are_enough(
    server: Node, configured: Callable[..., None]
) -> None:
    location = server.url.replace("://", "://streams:secret@")
    assert verdicts(await examined(location)) == {"fine"}
    configured(appendonly="no")
    assert verdicts(await examined(location), "persistence") == {"unknown"}  # without CONFIG GET


async def test_it_is_no_fault_that_a_user_may_not_ask(server: Node) -> None:
    server.client.execute_command(*rights())
    server.client.execute_command("ACL SETUSER streams -info")
    found = await examined(server.url.replace("://", "://streams:secret@"))
    assert verdicts(found, "info", "rights") == {"unknown"}  # the right is for metrics
    assert ill(found) == {}
    assert verdicts(found, "push", "scripts", "writes") == {"fine"}
    server.client.execute_command(*rights())


@pytest.mark.parametrize(
    ("missing", "verdict"), [("append", "fault"), ("publish", "fault"), ("xgroup", "warning")]
)
async def test_a_missing_right_is_named_and_the_remedy_grants_it(
    server: Node, missing: str, verdict: str
) -> None:
    server.client.execute_command(*rights())
    server.client.execute_command("ACL", "SETUSER", "streams", f"-{missing}")
    location = server.url.replace("://", "://streams:secret@")
    found = await examined(location)
    (one,) = found["rights"]
    assert one.verdict == verdict
    assert missing.upper() in one.message
    server.client.execute_command(*one.remedy.split())
    assert ill(await examined(location)) == {}


async def test_rights_on_the_keys_of_another_prefix_are_missing_all(server: Node) -> None:
    server.client.execute_command("ACL SETUSER stranger on >pw ~theirs:* &theirs:* +@all")
    found = await examined(server.url.replace("://", "://stranger:pw@"))
    assert verdicts(found, "rights") == {"fault", "warning", "unknown"}
    assert "APPEND" in found["rights"][0].message
    assert "PING" not in found["rights"][0].message


def test_the_supported_servers_are_those_of_the_documentation() -> None:
    page = PAGE.with_name("servers.md").read_text()
    rows = re.findall(r"^\| (Redis|Valkey) ([0-9., ]+) \| supported", page, re.MULTILINE)
    assert {kind: tuple(versions.split(", ")) for kind, versions in rows} == SUPPORTED


def test_the_rights_are_those_of_the_documentation() -> None:
    documented = {rule[1:] for rule in rights() if rule[0] == "+"}
    assert documented == NAMED


def test_the_rights_are_all_that_scripts_use() -> None:
    called = {
        name.lower()
        for source in SCRIPTS.values()
        for name in re.findall(r"call\('([A-Z]+)'", source)
    }
    assert len(called) > 20
    assert called <= NAMED


@pytest.mark.lengthy
async def test_no_replica_is_written_to() -> None:
    with replicated() as (primary, replica):
        assert verdicts(await examined(primary.url), "role") == {"fine"}
        assert verdicts(await examined(primary.url, wait_replicas=1), "role") == {"fine"}
        assert ill(await examined(primary.url, wait_replicas=2))["role"] == "fault"
        assert ill(await examined(replica.url)) == {"role": "fault"}


async def test_a_server_that_saves_nothing_or_seldom_is_a_warning(
    server: Node, configured: Callable[..., None]
) -> None:
    configured(appendonly="no")
    found = await examined(server.url)
    assert ill(found) == {"persistence": "warning"}
    assert "None" in found["persistence"][0].message
    configured(save="3600 1")
    found = await examined(server.url)
    assert ill(found) == {"persistence": "warning"}
    assert "Snapshots only" in found["persistence"][0].message


async def test_a_full_server_is_a_fault_and_one_that_evicts_a_warning(
    server: Node, configured: Callable[..., None]
) -> None:
    server.client.setrange("much", 50_000_000, b"x")  # beside which a connection is little
    used = server.client.info("memory")["used_memory"]
    configured(maxmemory=used // 2)
    assert ill(await examined(server.url)) == {"memory": "fault", "writes": "fault"}
    configured(maxmemory=round(used * 1.05))
    assert ill(await examined(server.url))["memory"] == "warning"
    configured(maxmemory_policy="allkeys-lru", maxmemory="1gb")
    assert ill(await examined(server.url)) == {"eviction": "warning"}
    configured(maxmemory=0)
    assert ill(await examined(server.url)) == {}
    server.client.delete("much")


async def test_two_clocks_that_differ_are_a_warning(
    server: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = examination.local_time
    monkeypatch.setattr(examination, "local_time", lambda: ours() - 60)
    found = await examined(server.url)
    assert ill(found) == {"clock": "warning"}
    assert "60.0 seconds" in found["clock"][0].message


@pytest.mark.parametrize(
    ("location", "check"),
    [
        ("redis://no-such-host.invalid/0", "dns"),
        ("redis://127.0.0.1:1/0", "reach"),
        ("unix:///no/such/socket", "reach"),
    ],
)
async def test_a_server_that_is_not_there_is_one_fault(location: str, check: str) -> None:
    found = await examined(location)
    assert ill(found) == {check: "fault"}
    assert len(found) == 1


async def test_a_database_that_is_not_there_is_told(server: Node) -> None:
    assert ill(await examined(f"redis://127.0.0.1:{server.port}/77")) == {"database": "fault"}


async def test_a_silent_port_is_a_fault_soon(monkeypatch: pytest.MonkeyPatch, server: Node) -> None:
    monkeypatch.setattr(examination, "EXAMINE_SECONDS", 0.2)
    async with proxy_to(server.port) as proxy, within(5):
        proxy.open_hole()
        found = await examined(proxy.location)
    assert ill(found) == {"reach": "fault"}
    assert str(proxy.port) in found["reach"][0].message


async def test_one_question_that_breaks_the_connection_ends_no_other(server: Node) -> None:
    async with proxy_to(server.port) as proxy:
        proxy.refused = b"SUBSCRIBE"
        found = await examined(proxy.location)
    assert ill(found) == {"push": "fault"}
    assert verdicts(found, "rights", "memory", "role") == {"fine"}


@pytest.mark.lengthy
async def test_commands_that_a_provider_took_away_are_unknown(tmp_path: Path) -> None:
    taken = ('rename-command INFO ""', 'rename-command CONFIG ""')
    with node(tmp_path, *taken) as running:
        found = await examined(running.url)
    assert ill(found) == {}
    assert verdicts(found, "info") == {"unknown"}
    assert verdicts(found, "rights") == {"fine"}


@pytest.mark.lengthy
async def test_sentinels_are_asked_for_the_primary() -> None:
    with sentinel_group() as (primary, _, sentinel):
        sentinels = [f"127.0.0.1:{sentinel.port}"]
        found = await examined("redis://", sentinels=sentinels)
        assert str(primary.port) in found["reach"][0].message
        assert verdicts(found, "role", "push", "rights") == {"fine"}
        found = await examined("redis://", sentinels=sentinels, service="nosuch")
        assert ill(found) == {"reach": "fault"}


@pytest.mark.lengthy
async def test_a_primary_of_a_cluster_that_is_away_keeps_no_other_from_its_answers() -> None:
    with cluster(2, "cluster-require-full-coverage no") as nodes:
        nodes[3].kill()  # the replica of the one that dies
        nodes[1].kill()
        found = await examined(nodes[0].url, cluster=True)
        assert verdicts(found, "reach") == {"fine", "fault"}
        assert verdicts(found, "rights", "memory") == {"fine"}


@pytest.mark.lengthy
async def test_a_cluster_and_settings_for_one_server_do_not_agree(
    server: Node, tmp_path: Path
) -> None:
    options = ("cluster-enabled yes", "appendonly yes")
    with node(tmp_path, *options, bus=free_port()) as primary:
        primary.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, CLUSTER_SLOTS - 1)
        until(lambda: primary.client.cluster("info")["cluster_state"] == "ok")
        found = await examined(primary.url, cluster=True)
        assert verdicts(found) == {"fine"}
        assert ill(await examined(primary.url)) == {"cluster": "fault"}
    assert ill(await examined(server.url, cluster=True)) == {"cluster": "fault"}
