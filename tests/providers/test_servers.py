"""The views of the page in real server processes: one client for all answers of a process."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.servers import ROOT, Server, launch
from tests.tools.lengthy import starts_a_process
from tests.tools.serving import PLAIN
from tests.tools.waiting import A_SECOND

from .conftest import ID, QUESTION, parts_of
from .server import HANG, Provider, Reply
from .test_providers import joined
from .wires import WIRES, Responses, Wire

BY_PATH = {wire.path: wire for wire in WIRES.values()}
SERVERS = {
    "ASGI": "-m uvicorn --host 127.0.0.1 --port {port} --log-level warning served:application",
    "WSGI": "-m django runserver --noreload 127.0.0.1:{port}",
}
SERVED = """
import os

SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "served_urls"
INSTALLED_APPS = ["resumable_streams"]
RESUMABLE_STREAMS = {
    "default": {
        "BACKEND": "resumable_streams.stores.memory.MemoryStore",
        "OWNER": "served_urls.owner",
        "DRAIN_TIMEOUT": 0,
    }
}


def __getattr__(name):
    if name != "application":
        raise AttributeError(name)
    from resumable_streams.asgi import get_asgi_application

    return get_asgi_application()
"""
URLS = """
from answers import with_anthropic, with_openai
from django.urls import include, path


def owner(request):
    return "ada"


urlpatterns = [
    path("openai/", with_openai.Answer.as_view()),
    path("anthropic/", with_anthropic.Answer.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
"""


@pytest.fixture(params=SERVERS)
@starts_a_process
async def server(
    request: pytest.FixtureRequest, pages: Path, tmp_path: Path, provider: Provider
) -> AsyncIterator[Server]:
    """Serve the views of the page in a process of its own."""
    (pages / "served.py").write_text(SERVED)
    (pages / "served_urls.py").write_text(URLS)
    environment = {
        "DJANGO_SETTINGS_MODULE": "served",
        "PYTHONPATH": os.pathsep.join([str(pages), str(ROOT)]),
    }
    launching = launch(SERVERS[request.param], environment, tmp_path / "server.log")
    yield await asyncio.to_thread(launching.__enter__)
    await asyncio.to_thread(launching.__exit__, None, None, None)


@pytest.fixture
async def client(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(verify=PLAIN, base_url=server.url, timeout=30) as client:
        yield client


async def test_one_client_answers_all_and_leaves_no_connection(client, provider, server):
    """Starting a server takes longest, so that one server does it all."""
    await whole_answers(client, provider)
    await whole_answers(client, provider)
    provider.choose = lambda asked: Reply(body=[*told(Responses())[:2], HANG])
    cancelled = len(provider.exchanges)
    async with client.stream("POST", "/openai/", json=QUESTION) as answer:
        await read_until(answer, b'"lo"')
        await client.post(f"/streams/{answer.headers[ID]}/cancel/")
        await left(provider, cancelled)
    async with client.stream("POST", "/openai/", json=QUESTION) as answer:
        await read_until(answer, b'"lo"')
        server.process.terminate()
        await left(provider, cancelled + 1)


async def left(provider: Provider, request: int) -> None:
    """Wait until the process has closed the connection of a request."""
    async with asyncio.timeout(A_SECOND):
        await provider.exchanges[request].left.wait()


def told(wire: Wire) -> list[bytes]:
    return [wire.start(), wire.text("Hel", "lo"), wire.end()]


async def whole_answers(client: httpx.AsyncClient, provider: Provider) -> None:
    """Ask both providers twice at once."""
    provider.choose = lambda asked: Reply(body=told(BY_PATH[asked.path]()))
    asking = [client.post(f"/{name}/", json=QUESTION) for name in ("openai", "anthropic") * 2]
    for answer in await asyncio.gather(*asking):
        assert joined(parts_of(answer.content), "text") == "Hello"


async def read_until(answer: httpx.Response, text: bytes) -> None:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if text in body:
            return
