"""What everybody does on a site, whatever it is set up like."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

import httpx

__all__ = ["Site", "visit"]

ID = "X-Resumable-Stream-Id"
BIG = b"0123456789" * 300_000  # more than Django keeps in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where to ask, and in whose name: `open` gives a new client without cookies."""

    open: Callable[[], httpx.AsyncClient]
    has_users: bool = True
    start: str = "answer/"
    upload: bytes = b"a few bytes"

    @asynccontextmanager
    async def visitor(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        """Return a browser that has seen a page; with users it is logged in."""
        async with self.open() as client:
            page = await client.get("page/")
            client.headers["X-CSRFToken"] = page.text
            if self.has_users:
                page = await client.post(f"login/{name}/")
                client.headers["X-CSRFToken"] = page.text
            assert page.status_code == 200, page.text
            yield client

    def ask(
        self, client: httpx.AsyncClient, turn: str
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Send a form with a file; the body is to be read."""
        return client.stream(
            "POST",
            self.start,
            params={"turn": turn},
            data={"question": "why?"},
            files={"file": ("note.txt", self.upload)},
        )

    def first_line(self, name: str) -> bytes:
        who = (name if self.has_users else "AnonymousUser").encode()
        return who + b" why? note.txt " + sha256(self.upload).hexdigest().encode() + b"\n"


async def visit(site: Site) -> None:
    """Ask, leave, come back, be alone with it, go on, cancel and delete."""
    async with site.visitor("ada") as ada, site.visitor("bob") as bob:
        turn = uuid.uuid4().hex
        address, head = await _ask_and_leave(site, ada, turn)
        await _is_barred(bob, address)
        assert (await ada.get(f"{address}status/")).json()["status"] == "streaming"
        async with ada.stream("GET", address, params={"offset": len(head)}) as response:
            assert response.status_code == 200
            await ada.post(f"release/{turn}/")
            assert await response.aread() == b"the rest"
        assert (await ada.get(address)).content == head + b"the rest"
        assert (await ada.get(f"{address}status/")).json()["status"] == "done"
        await _cancel_and_delete(site, ada)


async def _ask_and_leave(site: Site, client: httpx.AsyncClient, turn: str) -> tuple[str, bytes]:
    async with site.ask(client, turn) as response:
        assert response.status_code == 200, await response.aread()
        head = await _first_line(response)
        assert head.split(b" ", 1)[1] == site.first_line("ada").split(b" ", 1)[1]
        if site.has_users:
            assert head == site.first_line("ada")
        return f"streams/{response.headers[ID]}/", head


async def _first_line(response: httpx.Response) -> bytes:
    data = b""
    async for part in response.aiter_bytes():
        data += part
        if data.endswith(b"\n"):
            break
    return data


async def _is_barred(other: httpx.AsyncClient, address: str) -> None:
    """Ask for everything that an owner may have: to others it is not there."""
    nothing = await other.get("streams/nothing/")
    assert nothing.status_code == 404
    for method, at in (
        ("GET", address),
        ("GET", f"{address}status/"),
        ("POST", f"{address}cancel/"),
        ("DELETE", address),
    ):
        response = await other.request(method, at)
        assert (response.status_code, response.content) == (404, nothing.content)


async def _cancel_and_delete(site: Site, client: httpx.AsyncClient) -> None:
    address, head = await _ask_and_leave(site, client, uuid.uuid4().hex)
    forged = await client.post(f"{address}cancel/", headers={"X-CSRFToken": "forged"})
    assert forged.status_code == 403
    async with client.stream("GET", address) as response:
        assert (await client.post(f"{address}cancel/")).status_code == 202
        assert await response.aread() == head
    assert (await client.get(f"{address}status/")).json()["status"] == "cancelled"
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404
