"""Whose SIGTERM and SIGINT are handled: a server's and our worker's, and nobody else's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from example_project.private_redis import free_port
from resumable_streams import StreamManager
from resumable_streams.process import shutdown
from tests.tools.readers import read_all
from tests.tools.sources import finished
from tests.tools.waiting import until

ROOT = Path(__file__).resolve().parents[2]

SETUP = """
import asyncio, os, signal, sys
from django.conf import settings
settings.configure(
    USE_TZ=True, SECRET_KEY="x", INSTALLED_APPS=["resumable_streams"], ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    RESUMABLE_STREAMS={"default": {"HANDLE_SIGNALS": os.environ.get("HANDLE_SIGNALS") != "no"}},
)
import django
django.setup()
from django.http import JsonResponse
from django.urls import path
from resumable_streams import streams

def handlers():
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

async def produce():
    reader = await streams.arun(None, [b"a"], owner="me")
    return b"".join([data async for data in reader])

async def view(request):
    assert await produce() == b"a"
    return JsonResponse({"handlers": list(map(repr, handlers()))})

urlpatterns = [path("", view)]
"""

SCRIPT = """
async def main():
    before = handlers()
    assert await produce() == b"a"
    assert handlers() == before, handlers()

asyncio.run(main())
"""

COMMAND = """
from django.core.management import BaseCommand, call_command

class Command(BaseCommand):
    def handle(self, **options):
        before = handlers()
        asyncio.run(self.work())
        assert handlers() == before, handlers()
        assert b"".join(streams.run(None, [b"a"], owner="me")) == b"a"
        assert handlers() == before, handlers()

    async def work(self):
        before = handlers()
        assert await produce() == b"a"
        assert handlers() == before, handlers()

call_command(Command())
"""

LATE = """
from resumable_streams.process import shutdown

async def main():
    before = handlers()
    assert await produce() == b"a"
    shutdown.serve()  # the first request comes
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (handlers() != before) == (os.environ.get("HANDLE_SIGNALS") != "no"), handlers()

asyncio.run(main())
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "PYTHONWARNINGS": "ignore", **more}


@pytest.mark.parametrize("code", [SCRIPT, COMMAND], ids=["script", "command"])
@pytest.mark.lengthy
def test_who_serves_nothing_keeps_its_handlers(code: str) -> None:
    subprocess.run(
        [sys.executable, "-c", SETUP + code], cwd=ROOT, env=environment(), timeout=30, check=True
    )


@pytest.mark.parametrize("wanted", ["yes", "no"])
@pytest.mark.lengthy
def test_streams_from_before_the_first_request_are_drained_too(wanted: str) -> None:
    subprocess.run(
        [sys.executable, "-c", SETUP + LATE],
        cwd=ROOT,
        env=environment(HANDLE_SIGNALS=wanted),
        timeout=30,
        check=True,
    )


async def test_a_test_keeps_its_handlers(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown._process, "serves", True)  # as its test client does
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    assert await read_all(await manager.arun("s", finished([b"a"]), owner="a")) == b"a"
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize("application", ["django.core.asgi", "resumable_streams.asgi"])
@pytest.mark.parametrize("wanted", ["yes", "no"])
@pytest.mark.lengthy
def test_a_server_drains_on_a_signal_unless_it_is_told_not_to(
    tmp_path: Path, application: str, wanted: str
) -> None:
    code = f"\nfrom {application} import get_asgi_application\napplication = get_asgi_application()"
    (tmp_path / "mysite.py").write_text(SETUP + code)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--port", str(port), "mysite:application"],
        cwd=tmp_path,
        env=environment(HANDLE_SIGNALS=wanted, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}"),
    )
    try:
        answer = until(
            lambda: httpx.get(f"http://127.0.0.1:{port}/", timeout=5),
            passing=(httpx.TransportError,),
        )
        handlers = answer.json()["handlers"]
        assert ["Draining" in one for one in handlers] == [wanted == "yes"] * 2
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert server.returncode in (0, -signal.SIGTERM)
