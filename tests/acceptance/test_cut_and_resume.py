"""The promise: cut anywhere, resume at that byte, and the joined bytes are the answer."""

import random

import httpx
import pytest

from .conftest import Serve
from .servers import Server, visitor, warmed_up

CUTS = 20


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, lasting: Serve, redis_url: str) -> Server:
    """Return a server of a kind, whose streams rest in memory or in Redis."""
    kind, store = request.param
    more = {"REDIS_URL": redis_url} if store == "redis" else {}
    return warmed_up(lasting(kind, DEMO_RATE="2000", **more))


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run a test on these servers, with each store."""
    servers = [
        pytest.param((kind, store), id=f"{store}-{kind}")
        for kind in kinds
        for store in ("memory", "redis")
    ]
    return pytest.mark.parametrize("server", servers, indirect=True, scope="module")


def read_until(response: httpx.Response, cut: int) -> bytes:
    """Read about `cut` bytes, then leave: what arrived is what the visitor has."""
    received = b""
    for data in response.iter_raw():
        received += data
        if len(received) >= cut:
            break
    return received


@on("daphne", "uvicorn")
def test_joined_bytes_equal_the_answer_for_every_cut(server: Server, expected: bytes) -> None:
    with visitor(server) as owner, visitor(server) as stranger:
        for cut in sorted(random.sample(range(1, len(expected)), CUTS)):
            with owner.stream("POST", "/api/raw") as response:
                assert response.status_code == 200
                address = f"/streams/{response.headers['X-Resumable-Stream-Id']}/"
                seen = read_until(response, cut)
            rest = owner.get(address, params={"offset": len(seen)})
            assert rest.headers["X-Resumable-Stream-Offset"] == str(len(seen))
            assert seen + rest.content == expected
            assert stranger.get(address).status_code == 404
    assert "Traceback" not in server.written()


@on("daphne")
def test_an_answer_is_finished_without_any_reader(server: Server, expected: bytes) -> None:
    with visitor(server) as owner:
        with owner.stream("POST", "/api/raw") as response:
            address = f"/streams/{response.headers['X-Resumable-Stream-Id']}/"
        # Nobody reads. A resume that waits for the end proves that it comes, and what was said.
        assert owner.get(address).content == expected
        assert owner.get(f"{address}status/").json()["status"] == "done"


@on("daphne")
def test_foreign_and_missing_streams_answer_the_same_bytes(server: Server) -> None:
    with visitor(server) as owner, visitor(server) as stranger:
        identifier = owner.post("/api/raw").headers["X-Resumable-Stream-Id"]
        for suffix in ("", "?offset=3", "?offset=999999999", "status/"):
            foreign = stranger.get(f"/streams/{identifier}/{suffix}")
            missing = stranger.get(f"/streams/no-such-stream/{suffix}")
            assert foreign.status_code == missing.status_code == 404
            assert foreign.content == missing.content
            assert headers(foreign) == headers(missing)
        for verb in ("POST", "DELETE"):
            address = "cancel/" if verb == "POST" else ""
            foreign = stranger.request(verb, f"/streams/{identifier}/{address}")
            missing = stranger.request(verb, f"/streams/no-such-stream/{address}")
            assert (foreign.status_code, foreign.content) == (404, missing.content)
        assert owner.get(f"/streams/{identifier}/status/").json()["status"] == "done"


def headers(response: httpx.Response) -> list[tuple[str, str]]:
    return [item for item in response.headers.items() if item[0] != "date"]


@on("daphne")
@pytest.mark.parametrize(
    ("offset", "status"), [("-1", 400), ("abc", 400), ("1" + "0" * 30, 416), ("", 400)]
)
def test_an_impossible_offset_is_refused_and_harms_nothing(
    server: Server, expected: bytes, offset: str, status: int
) -> None:
    with visitor(server) as owner:
        address = f"/streams/{owner.post('/api/raw').headers['X-Resumable-Stream-Id']}/"
        assert owner.get(address, params={"offset": offset}).status_code == status
        assert owner.get(address).content == expected
    assert "Traceback" not in server.written()
