"""The views of docs/providers.md, behind which a local provider replies."""

import importlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import streams
from tests.docs.pages import write_files
from tests.setups.asgi import Transport
from tests.tools.waiting import eventually, within

from .server import Exchange, Provider

QUESTION = {"question": "Why?"}
ID = "X-Resumable-Stream-Id"
SOON = 1.0  # seconds in which a provider's connection has to be closed


def owner(request: object) -> str:
    return "ada"


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the files of the page where they can be imported."""
    folder = tmp_path_factory.mktemp("providers")
    (folder / "answers").mkdir()
    write_files("providers.md", folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    """Start a provider, whom the clients of this test ask."""
    async with Provider().serve() as serving:
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
            monkeypatch.setenv(name, f"{serving.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", serving.url)
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, "key-of-the-test")
        yield serving


def fresh(name: str) -> ModuleType:
    """Import a module of the page anew: its client belongs to the loop of one test."""
    sys.modules.pop(name, None)
    return importlib.import_module(name)


@dataclass
class Visit:
    """An answer as its reader sees it."""

    client: httpx.AsyncClient
    provider: Provider
    response: httpx.Response
    body: bytes = b""
    _parts: AsyncIterator[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"streams/{self.response.headers[ID]}/"

    @property
    def exchange(self) -> Exchange:
        return self.provider.exchanges[0]

    async def until(self, text: bytes) -> None:
        """Read until the text has arrived."""
        self._parts = self._parts or self.response.aiter_bytes()
        while text not in self.body:
            self.body += await anext(self._parts)

    async def whole(self) -> bytes:
        """Read to the end."""
        self._parts = self._parts or self.response.aiter_bytes()
        async for part in self._parts:
            self.body += part
        return self.body

    async def cancel(self) -> None:
        assert (await self.client.post(f"{self.address}cancel/")).status_code == 202

    async def status(self) -> Any:
        return (await self.client.get(f"{self.address}status/")).json()

    async def log(self) -> bytes:
        """Return what the store has, whatever clients get of it."""
        reader = await streams.aresume(self.response.headers[ID], owner="ada", live=False)
        assert reader is not None
        return b"".join([data async for data in reader])

    async def provider_left(self, request: int = 0) -> None:
        """Wait until the provider has seen that nobody listens to that request any more."""
        async with within(SOON):
            await self.provider.exchanges[request].left.wait()


Ask = Callable[..., Any]


@pytest.fixture
def ask(settings: Settings, key_prefix: str, pages: Path, provider: Provider) -> Ask:
    """Return a function that asks a view, given as a class or as a module of the page."""
    settings.MIDDLEWARE = []
    settings.RESUMABLE_STREAMS = {
        "default": {"LOCATION": key_prefix, "OWNER": f"{__name__}.owner", "DRAIN_TIMEOUT": 0}
    }

    @asynccontextmanager
    async def asking(view: Any, question: Any = QUESTION) -> AsyncIterator[Visit]:
        view = fresh(f"answers.{view}").Answer if isinstance(view, str) else view
        urls: Any = ModuleType("urls_of_a_test")
        urls.urlpatterns = [
            path("answer/", view.as_view()),
            path("streams/", include("resumable_streams.urls")),
        ]
        settings.ROOT_URLCONF = urls
        transport = Transport(ASGIHandler())
        base = "http://testserver/"
        async with (
            httpx.AsyncClient(transport=transport, base_url=base, timeout=10) as client,
            client.stream("POST", "answer/", content=json.dumps(question)) as response,
        ):
            yield Visit(client, provider, response)

    return asking


async def usage_in(heard: list[dict[str, Any]]) -> dict[str, int]:
    """Return the usage that the end of the stream has; its readers may know of it earlier."""
    await eventually(lambda: heard)
    (told,) = heard
    usage: dict[str, int] = told["usage"]
    return usage


def parts_of(body: bytes) -> list[dict[str, Any]]:
    """Return the parts in a body of the AI SDK's protocol; the last one is `[DONE]`."""
    body, done, rest = body.rpartition(b"data: [DONE]\n")
    assert done
    assert b"data: " not in rest
    return data_of(body)


def data_of(body: bytes) -> list[dict[str, Any]]:
    """Return what the frames of a body say."""
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]
