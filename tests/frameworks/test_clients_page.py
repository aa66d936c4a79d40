"""docs/clients.md: its code is that of files, which are run here, and it counts their lines."""

import re
import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import AsyncClient
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.views import APIView

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text()
CODE = ROOT / "docs" / "code"
AT_MOST = {"bare.py": 8, "rest.py": 10, "ninja.py": 10, "sockets.py": 5}

ANSWERS = '''
from ninja.security import HttpBearer

async def words(question):
    """What the code of the page leaves to its reader."""
    for word in question.split():
        yield word + " "

class Bearer(HttpBearer):
    async def authenticate(self, request, token):
        from django.contrib.auth.models import User
        return await User.objects.filter(username=token).afirst()
'''

ASGI = """
from resumable_streams.asgi import get_asgi_application
application = get_asgi_application()
"""


SHOWN_BY = {
    "`follow`": ["npm/by_hand.mjs", "npm/every_byte.test.mjs", "npm/client.test.mjs"],
    "`resumableFetch`": ["npm/every_byte.test.mjs", "npm/client.test.mjs"],
    "`<resumable-stream>`": ["browser/test_client.py", "browser/test_pages.py"],
    "HTMX": ["browser/test_pages.py"],
    "HTMX's extension alone": ["browser/test_pages.py"],
    "`EventSource`": ["browser/test_pages.py", "browser/test_event_source.py"],
    "`fetch` by hand": ["npm/by_hand.mjs"],
    "`useChat`": ["servers/test_use_chat.py", "servers/test_conversations.py"],
    "assistant-ui": ["browser/test_react.py"],
    "`@ag-ui/client`": ["servers/test_ag_ui.py", "npm/by_hand.mjs"],
    "WebSocket": ["docs/test_websocket_page.py", "channels/test_who_asks.py"],
    "Python client": ["docs/test_python_client_page.py", "client/test_every_byte.py"],
    "`curl`": ["docs/test_readme.py"],
}
"""The clients of the page's first table, and the tests that show the claims of their rows."""


def lines_of(code: str) -> list[str]:
    """Return what counts: no blank lines, and no comments."""
    return [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]


@pytest.mark.parametrize("name", AT_MOST)
def test_the_page_has_the_code_of_the_file_and_counts_it(name: str):
    code = (CODE / name).read_text()
    assert f"```python\n# docs/code/{name}\n{code}```" in PAGE
    (count,) = re.findall(rf"^\|[^|]*\| (\d+) \| `{re.escape(name)}` \|$", PAGE, re.MULTILINE)
    assert len(lines_of(code)) == int(count) <= AT_MOST[name]


def test_every_file_is_on_the_page():
    comments = {".py": ("python", "# {}"), ".html": ("html", "<!-- {} -->"), ".js": ("js", "// {}")}
    for path in CODE.iterdir():
        if path.is_file():
            language, comment = comments[path.suffix]
            first = comment.format(f"docs/code/{path.name}")
            assert f"```{language}\n{first}\n{path.read_text()}```" in PAGE, path.name


def test_tests_show_each_row_of_the_table_of_clients():
    _, _, table = PAGE.partition("## Which client\n")
    rows = re.findall(r"^\| (.+?) \| ", table.partition("\n\n- ")[0], re.MULTILINE)[1:]
    clients = [re.sub(r"^\[(.*?)\].*", r"\1", row) for row in rows]
    assert clients == list(SHOWN_BY)
    for client, tests in SHOWN_BY.items():
        assert all((ROOT / "tests" / name).is_file() for name in tests), client


@pytest.fixture
def mysite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provide what is the reader's own."""
    package = tmp_path / "mysite"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "answers.py").write_text(ANSWERS)
    (package / "asgi.py").write_text(ASGI)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("mysite.answers", "mysite.asgi", "mysite"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(mysite: None, settings: Any, key_prefix: str, closes_runtime: None) -> Callable[..., Any]:
    """Return a function that has the code of a file answer."""
    settings.RESUMABLE_STREAMS = {"default": {"LOCATION": key_prefix}}

    def load(name: str) -> Any:
        spec = spec_from_file_location(f"clients_page_{name.removesuffix('.py')}", CODE / name)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        settings.ROOT_URLCONF = module
        return module

    return load


def by_session(name: str) -> tuple[AsyncClient, dict[str, str]]:
    client = AsyncClient()
    client.force_login(User.objects.create_user(name))
    return client, {}


def by_token(name: str) -> tuple[AsyncClient, dict[str, str]]:
    token = Token.objects.create(user=User.objects.create_user(name))
    return AsyncClient(enforce_csrf_checks=True), {"authorization": f"Token {token.key}"}


def by_bearer(name: str) -> tuple[AsyncClient, dict[str, str]]:
    User.objects.create_user(name)
    return AsyncClient(enforce_csrf_checks=True), {"authorization": f"Bearer {name}"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "make"), [("bare.py", by_session), ("rest.py", by_token), ("ninja.py", by_bearer)]
)
async def test_the_code_of_the_page_works(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str, make: Any
):
    # What REST_FRAMEWORK of the settings says when it is imported.
    monkeypatch.setattr(APIView, "authentication_classes", [TokenAuthentication])
    run(name)
    (ada, hers), (bob, his) = [await sync_to_async(make)(user) for user in ("ada", "bob")]
    started: Any = await ada.post("/ask/", {"question": "to be or not"}, headers=hers)
    body = await whole(started)
    assert started.status_code == 200, body
    assert b"data: be" in body

    address = f"/streams/{started['X-Resumable-Stream-Id']}/"
    seen = re.findall(rb"^id: (.+)$", body, re.MULTILINE)[1].decode()
    again: Any = await ada.get(address, headers={**hers, "last-event-id": seen})
    rest = await whole(again)
    assert rest
    assert body.endswith(rest)
    assert b"data: be" not in rest
    assert (await bob.get(address, headers=his)).status_code == 404
    assert (await ada.post(f"{address}cancel/", headers=hers)).status_code == 202
    assert (await ada.delete(address, headers=hers)).status_code == 204


async def whole(response: Any) -> bytes:
    if not response.streaming:
        return bytes(response.content)
    return b"".join([data async for data in response])


@pytest.mark.django_db(transaction=True)
async def test_the_socket_of_the_page_works(run: Callable[..., Any]):
    application = run("sockets.py").application
    client, _ = await sync_to_async(by_session)("ada")
    headers = {
        "cookie": f"sessionid={client.cookies['sessionid'].value}",
        "origin": "http://testserver",
    }
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    socket = WebsocketCommunicator(application, "/ws/", pairs)
    assert await socket.connect() == (True, None)
    await socket.send_json_to({"type": "acquire", "channel": 1, "data": "to be or not"})
    opened = await socket.receive_json_from(timeout=30)
    body = b""
    while not isinstance(frame := await socket.receive_from(timeout=30), str):
        body += frame[12:]
    assert body == b"to be or not "
    await socket.send_json_to({"type": "resume", "channel": 1, "id": opened["id"], "offset": 6})
    await socket.receive_json_from(timeout=30)
    assert (await socket.receive_from(timeout=30))[12:] == b"or not "
    await socket.disconnect(timeout=30)
