"""Real daphne and real uvicorn, through a real WebSocket client."""

import asyncio
import random
import resource
import uuid
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.servers import Server
from tests.acceptance.test_stalled import MIB, resident
from tests.tools.serving import PLAIN
from tests.tools.waiting import A_SECOND, eventually, pass_time, until, within

from .clients import RealSocket, really_connected
from .conftest import COMMANDS, Serve, log_in, state
from .site import BLOCK, line

pytestmark = [pytest.mark.timeout(120)]

each_server = pytest.mark.parametrize("kind", COMMANDS)


def text(count: int) -> bytes:
    return b"".join(map(line, range(count)))


async def state_of(server: Server) -> dict[str, Any]:
    return await asyncio.to_thread(state, server)


@each_server
async def test_a_stream_is_started_and_resumed(start: Serve, kind: str):
    server = start(kind)
    ada, bob = log_in(server, "ada"), log_in(server, "bob")
    async with really_connected(server.url, session=ada) as socket:
        opened = await socket.ask("acquire", data={"count": 20, "every": 0.01})
        await socket.take(opened)
        assert (await socket.read())[0] == text(20)
        await socket.say("resume", 2, id=opened["id"], offset=33, frames="text")
        assert (await socket.read(2))[0] == text(20)[33:]
    async with really_connected(server.url, session=bob) as socket:
        await socket.say("resume", id=opened["id"])
        foreign = await socket.receive()
        await socket.say("resume", id=str(uuid.uuid4()))
        assert foreign == await socket.receive()
    address = f"{server.url}/streams/{opened['id']}/"
    async with httpx.AsyncClient(verify=PLAIN, cookies={"sessionid": ada}) as client:
        assert (await client.get(address)).content == text(20)
    assert "Traceback" not in server.written()


@each_server
async def test_refusals_are_codes_that_a_browser_sees(start: Serve, kind: str):
    server = start(kind)
    session = log_in(server, "ada")
    async with really_connected(server.url, "/ws/streams/none/", session=session) as socket:
        assert (await socket.hear())["error"] == "stream_not_found"
        assert await socket.hear() == {"type": "closing", "code": 4404}
    async with really_connected(server.url, session="") as socket:
        # A visitor reads what is public, and starts nothing.
        assert (await socket.ask("status", id="none"))["error"] == "stream_not_found"
        assert await socket.ask("acquire", data={}) == {"type": "closing", "code": 4401}
    with pytest.raises(InvalidStatus):
        async with really_connected(server.url, origin="http://evil.example"):
            pass


@each_server
async def test_a_client_that_comes_back_at_random_offsets_has_every_byte_once(
    start: Serve, kind: str, redis_url: str
):
    store = {"REDIS_URL": redis_url}
    servers = [start(kind, **store), start("uvicorn", **store)]
    session, count = log_in(servers[0], "ada"), 400
    async with really_connected(servers[0].url, session=session) as socket:
        opened = await socket.ask("acquire", data={"count": count, "every": 0.01})
    received, cuts = b"", 0
    while True:
        server = random.choice(servers)
        async with really_connected(server.url, session=session) as socket:
            # It may have less than it was sent: the rest was on its way.
            received = received[: random.randint(max(0, len(received) - 500), len(received))]
            await socket.say("resume", id=opened["id"], offset=len(received))
            enough = len(received) + random.randint(1, 3_000)
            while (heard := await socket.hear())["type"] in ("opened", "bytes"):
                received += await socket.take(heard)
                if len(received) >= enough:
                    break
            if heard["type"] == "end":
                break
            cuts += 1
            socket.cut()
    assert cuts > 3
    assert received == text(count)


@pytest.mark.slow
@each_server
async def test_a_thousand_sockets(start: Serve, kind: str):
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 2_500, "Raise the limit of open files: ulimit -n 4096"
    server = start(kind)
    session, count, streams = log_in(server, "ada"), 1_000, 10
    at_rest = await state_of(server)
    async with AsyncExitStack() as open_sockets:
        sockets: list[RealSocket] = []
        for _ in range(0, count, 50):
            new = (really_connected(server.url, session=session) for _ in range(50))
            sockets += await asyncio.gather(*map(open_sockets.enter_async_context, new))
        first = sockets[:streams]
        opened = await asyncio.gather(
            *(one.ask("acquire", data={"count": 100, "every": 0.1}) for one in first)
        )
        ids = [one["id"] for one in opened]
        reading = asyncio.gather(
            *(read(one, ids[number % streams]) for number, one in enumerate(sockets))
        )
        now: dict[str, Any] = {}

        async def all_read() -> bool:
            now.update(await state_of(server))
            return bool(now["readers"] >= count)

        await eventually(all_read)
        assert now["sockets"] == count
        assert now["database"] == 0
        assert len(now["threads"]) <= len(at_rest["threads"]) + 2
        assert set(await reading) == {text(100)}
    await eventually_gone(server)
    assert "Traceback" not in server.written()


async def read(socket: RealSocket, stream_id: str) -> bytes:
    """Read a stream on a channel of its own, whatever comes on others."""
    await socket.say("resume", 9, id=stream_id)
    data = b""
    while True:
        heard = await socket.hear()
        if heard.get("channel") == 9:
            if heard["type"] == "end":
                return data
            data += await socket.take(heard)


async def eventually_gone(server: Server) -> None:
    async def is_gone() -> bool:
        now = await state_of(server)
        return bool(now["sockets"] == now["readers"] == 0)

    await eventually(is_gone)


@each_server
async def test_a_socket_at_rest_holds_no_connection_and_no_thread(start: Serve, kind: str):
    server = start(kind)
    session = log_in(server, "ada")
    async with really_connected(server.url, session=session) as socket:
        await socket.ask("status", id="none")  # asgiref keeps the one thread that middleware uses
    before = await state_of(server)
    async with AsyncExitStack() as open_sockets:
        for number in range(20):
            new = really_connected(server.url, session=session)
            socket = await open_sockets.enter_async_context(new)
            opened = await socket.ask("acquire", data={"count": 10_000, "every": 60})
            assert opened["type"] == "opened", number

        async def is_at_rest() -> bool:
            now = await state_of(server)
            return now["database"] == 0 and len(now["threads"]) <= len(before["threads"])

        await eventually(is_at_rest)


@each_server
async def test_a_slow_client_holds_a_window_and_reads_on_in_pages(start: Serve, kind: str):
    server = start(kind)
    session, size, clients = log_in(server, "ada"), 8 * MIB, 20
    async with AsyncExitStack() as open_sockets:
        fast = await open_sockets.enter_async_context(really_connected(server.url, session=session))
        opened = await fast.ask("acquire", data={"flood": size})
        await fast.take(opened)
        assert len((await fast.read())[0]) == size
        before = resident(server)
        slow = [
            await open_sockets.enter_async_context(
                really_connected(server.url, session=session, max_queue=1)
            )
            for _ in range(clients)
        ]
        for socket in slow:
            await socket.say("resume", id=opened["id"])
            await socket.take(await socket.hear())
        await pass_time(1)
        held = (resident(server) - before) / clients
        assert held < MIB  # a window, a page, and what a connection costs
        data = await asyncio.gather(*(socket.read() for socket in slow))
        assert {whole for whole, _ in data} == {BLOCK * (size // len(BLOCK))}


@each_server
async def test_a_client_that_leaves_in_the_middle_is_missed_within_a_second(
    start: Serve, kind: str
):
    server = start(kind)
    session = log_in(server, "ada")
    async with really_connected(server.url, session=session, max_queue=1) as socket:
        opened = await socket.ask("acquire", data={"count": 100_000, "every": 0.001})
        # These read nothing, so that the server is in the middle of sending.
        flood = await socket.ask("acquire", 2, data={"flood": 8 * MIB})
        assert {opened["type"], flood["type"]} <= {"opened", "bytes"}
        assert (await state_of(server))["sockets"] == 1
        socket.cut()
        async with within(A_SECOND):
            await eventually_gone(server)
    await pass_time(1.5)  # daphne looks at its applications every second
    assert "took too long" not in server.written()
    assert "Traceback" not in server.written()


@each_server
async def test_a_server_that_ends_sends_its_sockets_elsewhere(
    start: Serve, kind: str, redis_url: str
):
    store = {"REDIS_URL": redis_url, "DRAIN_TIMEOUT": "8"}
    ending, other = start(kind, **store), start(kind, **store)
    session, count = log_in(ending, "ada"), 300
    async with (
        really_connected(ending.url, session=session) as reading,
        really_connected(ending.url, session=session) as idle,
    ):
        opened = await reading.ask("acquire", data={"count": count, "every": 0.01})
        await reading.take(opened)
        received = await reading.take(await reading.hear())
        assert (await idle.ask("status", id="none"))["type"] == "error"
        ending.process.terminate()
        async with within(A_SECOND):
            more, last = await reading.read()
            assert last == {"type": "closing", "code": 4503}
            assert await idle.hear() == {"type": "closing", "code": 4503}
        received += more
    async with really_connected(other.url, session=session) as socket:
        await socket.say("resume", id=opened["id"], offset=len(received))
        rest, end = await socket.read()
        assert received + rest == text(count)
        assert end["status"] == "done"
    await asyncio.to_thread(until, lambda: ending.process.poll() is not None)
    assert "Traceback" not in ending.written()
