"""docs/security.md: what it says about rights, names and commands is tried, or looked up."""

import hashlib
import re
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpRequest
from django.test import AsyncClient
from django.urls import include, path
from pytest_django import Settings

from resumable_streams import PUBLIC, streams
from resumable_streams.identifiers import owner_digest
from resumable_streams.management.verbs import VERBS
from resumable_streams.types import Owner
from resumable_streams.views import AcquireView

from ..adversary.report import ATTACKS, HEAD
from .pages import DOCS

PAGE = (DOCS / "security.md").read_text()
ROOT = DOCS.parent


def by_name(request: HttpRequest) -> Owner | None:
    """Be whom the header names; `*` is everybody."""
    name = request.headers.get("X-Name")
    return PUBLIC if name == "*" else name


class Chosen(AcquireView):
    """Let the client choose the id, as the page advises against."""

    async def produce(self, request: HttpRequest) -> Any:
        return [b"secret"]

    def get_stream_id(self, request: HttpRequest) -> str:
        return request.GET["id"]


urlpatterns = [
    path("chosen/", Chosen.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def client(settings: Settings, key_prefix: str) -> AsyncClient:
    entry = {"LOCATION": key_prefix, "OWNER": f"{__name__}.by_name"}
    settings.RESUMABLE_STREAMS = {"default": entry}
    settings.MIDDLEWARE = []
    return AsyncClient()


async def status(
    client: AsyncClient, verb: str, stream_id: str, name: str, suffix: str = ""
) -> int:
    address = f"/streams/{stream_id}/{suffix}"
    response = await getattr(client, verb)(address, headers={"X-Name": name})
    code: int = response.status_code
    if response.streaming:
        response.close()
    return code


async def test_who_knows_the_id_of_a_public_stream_reads_it_and_no_more(client: AsyncClient):
    reader = await streams.arun(None, [b"x"], owner=PUBLIC)
    assert await status(client, "get", reader.stream_id, "anybody") == 200
    assert await status(client, "get", reader.stream_id, "anybody", "status/") == 200
    assert await status(client, "post", reader.stream_id, "anybody", "cancel/") == 404
    assert await status(client, "delete", reader.stream_id, "anybody") == 404


async def test_a_request_whose_owner_is_public_owns_public_streams(client: AsyncClient):
    reader = await streams.arun(None, [b"x"], owner=PUBLIC)
    assert await status(client, "post", reader.stream_id, "*", "cancel/") == 202
    assert await status(client, "delete", reader.stream_id, "*") == 204


async def test_an_id_that_a_client_may_choose_tells_that_it_is_taken(client: AsyncClient):
    first = await client.post("/chosen/?id=a", headers={"X-Name": "one"})
    second = await client.post("/chosen/?id=a", headers={"X-Name": "other"})
    assert (first.status_code, second.status_code) == (200, 404)
    first.close()


def test_a_digest_is_no_secret_for_who_can_guess_the_owner():
    assert owner_digest("user:1") == hashlib.sha256(b"=user:1").hexdigest()[:32]


def test_permissions_on_the_page_exist():
    known = {
        name
        for model in apps.get_app_config("resumable_streams").get_models()
        for name in (
            *(name for name, _ in model._meta.permissions),
            *(f"{verb}_{model._meta.model_name}" for verb in model._meta.default_permissions),
        )
    }
    named = set(re.findall(r"`(\w+_stream(?:record|namespace))`", PAGE))
    assert len(named) == 6
    assert named <= known


def test_every_command_has_its_row_of_guarantees():
    guarantees = PAGE.split("## What each command guarantees")[1]
    for verb in VERBS:
        if verb != "worker":
            assert f"\n| `{verb}" in guarantees


def rows_of_attacks() -> list[list[str]]:
    table = PAGE.partition("<!-- begin of the table -->\n")[2].partition("\n<!-- end")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")]
    assert rows[0] == list(HEAD)
    return rows[2:]


def test_each_attack_has_a_row_and_its_tests_exist():
    assert {row[0] for row in rows_of_attacks()} == {attack.name for attack in ATTACKS}
    for attack in ATTACKS:
        for test in attack.tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists()
            assert not name or f"def {name}" in (ROOT / path).read_text()


def test_what_is_tried_on_a_store_is_tried_on_both():
    where: dict[str, set[str]] = {}
    for name, store, *_ in rows_of_attacks():
        where.setdefault(name, set()).add(store)
    for attack in ATTACKS[:6]:
        assert {"memory", "Redis"} <= where[attack.name]


def test_it_was_tried_often():
    often = [re.fullmatch(r"([0-9,]+) .*", row[2]) for row in rows_of_attacks()]
    counts = [int(match[1].replace(",", "")) for match in often if match]
    assert len(counts) == len(often)
    assert all(count > 0 for count in counts)
    assert sum(counts) > 10_000
