"""The pages that may open a socket: those of this site, and of nobody else."""

from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.urls import path

from resumable_streams.consumers import StreamConsumer, with_websockets
from tests.tools.streams import Configure

# A refusal of Channels closes the thread's old connections; other tests may have left one open.
pytestmark = pytest.mark.django_db

HOST = "acme.example.com"
OWN = f"https://{HOST}"


async def is_accepted(origin: str | None) -> bool:
    """Return whether a page of this origin gets a socket to HOST."""
    application = with_websockets(None, [path("ws/", StreamConsumer.as_asgi())])
    headers = [(b"host", HOST.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    communicator = WebsocketCommunicator(application, "/ws/", headers)
    accepted: bool = (await communicator.connect(timeout=30))[0]
    await communicator.disconnect(timeout=30)
    return accepted


@pytest.fixture(autouse=True)
def site(configure_memory: Configure, closes_runtime: None) -> None:
    configure_memory(OWNER="tests.channels.clients.owner_of_scope")


@pytest.mark.parametrize("allowed", ["*", ".example.com", HOST])
@pytest.mark.parametrize("origin", ["https://evil.test", "https://evil.example.com", "null", ""])
async def test_a_page_of_another_host_gets_no_socket(settings: Any, allowed: str, origin: str):
    settings.ALLOWED_HOSTS = [allowed]
    assert not await is_accepted(origin)


@pytest.mark.parametrize("allowed", ["*", ".example.com", HOST])
async def test_pages_of_this_host_and_trusted_ones_get_a_socket(settings: Any, allowed: str):
    settings.ALLOWED_HOSTS = [allowed]
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.partner.test", "https://app.test:8443"]
    assert await is_accepted(OWN)
    assert await is_accepted(f"{OWN}:8443")
    assert await is_accepted("https://a.partner.test")
    assert await is_accepted("https://app.test:8443")
    assert not await is_accepted("http://a.partner.test")
    assert not await is_accepted("https://app.test")


async def test_the_names_of_a_site_are_one_site(settings: Any):
    settings.ALLOWED_HOSTS = [HOST, "www.example.com"]
    assert await is_accepted("https://www.example.com")


@pytest.mark.parametrize(("allowed", "expected"), [("*", True), (".example.com", False)])
async def test_a_client_that_is_no_page_needs_a_site_for_all_hosts(
    settings: Any, allowed: str, expected: bool
):
    settings.ALLOWED_HOSTS = [allowed]
    assert await is_accepted(None) is expected


async def test_a_handshake_for_a_host_that_is_not_allowed_is_refused(settings: Any):
    settings.ALLOWED_HOSTS = ["other.test"]
    assert not await is_accepted(OWN)
