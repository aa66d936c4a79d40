"""People, and the streams that are there for some of them and not there for the others."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import time
from typing import Any

from resumable_streams import PUBLIC, Owner, StreamManager
from resumable_streams.control import revoke, rotate
from resumable_streams.engine import get_engine
from resumable_streams.links import SignedLink, _signed, _signer
from resumable_streams.sse import event
from resumable_streams.types import StreamInfo

from ..tools.sources import Tap
from ..tools.waiting import eventually
from .asking import Answer, Ask, Send

__all__ = ["NOT_THERE", "PEOPLE", "STREAMS", "Crowd", "Person", "Place"]

PEOPLE = ("ada", "eve", "carl", "nobody")
"""Two visitors, a user, and somebody without a session."""

BODY = event("first") + event("second") + event("third")
FORMATS = ("raw", "sse", "ui_message")
ENDS = ("done", "live", "cancelled", "failed", "empty")
STREAMS = [f"{end} {name}" for end in ENDS for name in FORMATS]
"""What is there for ada, and for nobody else."""

OF_OTHERS = {"foreign": "eve", "foreign and live": "eve", "of a user": "carl"}
REVOKED = ("revoked", "revoked and live", "rotated", "rotated and live", "deleted", "elsewhere")
NOT_THERE = ("missing", *OF_OTHERS, *REVOKED)
"""What is not there for ada, in every way."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever asks, as their browser sends it."""

    cookie: bytes = b""
    token: str = ""
    owner: Owner | None = None


@dataclass(slots=True)
class Place:
    """A stream and its id; without a state, it is not there for anybody."""

    stream_id: str
    info: StreamInfo | None = None
    owner: str = ""
    is_barred: bool = False
    is_elsewhere: bool = False  # in another tenant, where a link leads and nothing else
    log: bytes = b""
    token: str = ""
    tap: Tap = field(default_factory=Tap)

    @property
    def is_live(self) -> bool:
        return self.info is not None and self.info.is_streaming


class Crowd:
    """Let people in, and keep their streams as their names say, whatever requests do to them."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.people: dict[str, Person] = {"nobody": Person()}
        self.places: dict[str, Place] = {}

    async def gather(self) -> None:
        for name in ("ada", "eve", "carl"):
            self.people[name] = await self._let_in(name)
        await self._bar("rotated", lambda: rotate("default", "default"))
        ada = self._owner("ada")
        await self._bar("revoked", lambda: revoke("default", "default", ada))
        self.places["elsewhere"] = await self._start("done raw", "ada", tenant="another")
        self.places["elsewhere"].is_elsewhere = True
        self.places["deleted"] = await self._start("done raw", "ada")
        await StreamManager().adelete(self.places["deleted"].stream_id, owner=ada)
        self.places["deleted"].is_barred = True
        self.places["missing"] = Place("nothing-like-that", token="nonsense")
        for name in (*STREAMS, *OF_OTHERS, "public"):
            await self.find(name)

    async def _let_in(self, name: str) -> Person:
        """Let somebody in; who they are is what a stream of theirs is bound to."""
        cookies: dict[str, str] = {}
        token = (await self._ask("GET", b"/page/", cookies)).body.decode()
        if name == "carl":
            token = (await self._ask("POST", b"/login/carl/", cookies)).body.decode()
        started = await self._ask("POST", b"/function/", cookies, token)
        assert started.status == 200, started
        store = get_engine("default").store
        infos = await store.status([key async for key in store.scan()])
        (info,) = [
            info
            for info in infos
            if isinstance(info, StreamInfo) and info.stream_id == started["X-Resumable-Stream-Id"]
        ]
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return Person(sent.encode(), token, info.owner)

    async def _ask(
        self, method: str, target: bytes, cookies: dict[str, str], token: str = ""
    ) -> Answer:
        """Ask as a browser does, which keeps the cookies that it is sent."""
        sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
        headers = [(b"Cookie", sent.encode()), (b"X-CSRFToken", token.encode())]
        answer = await self.send(Ask(method=method, target=target, headers=headers))
        for name, value in answer.headers:
            if name == "set-cookie":
                cookie, _, content = value.partition(";")[0].partition("=")
                cookies[cookie] = content
        return answer

    def _owner(self, name: str) -> Owner:
        owner = self.people[name].owner
        assert owner is not None
        return owner

    async def _bar(self, name: str, act: Callable[[], Awaitable[object]]) -> None:
        """Put streams out of everybody's reach."""
        for suffix, kind in (("", "done raw"), (" and live", "live sse")):
            self.places[name + suffix] = await self._start(kind, "ada")
        await act()
        for suffix in ("", " and live"):
            self.places[name + suffix].is_barred = True

    async def find(self, name: str) -> Place:
        """Return a stream that is as its name says, a new one if it is not so any more."""
        place = self.places.get(name)
        if place is not None and (place.is_barred or place.is_elsewhere or place.info is None):
            return place
        if place is None or not await self._is_as_it_was(place):
            self.places[name] = place = await self._make(name)
        return place

    async def _is_as_it_was(self, place: Place) -> bool:
        assert place.info is not None
        now = await get_engine("default").store.look(place.info.key)
        was = place.info
        return now is not None and (now.epoch, now.status) == (was.epoch, was.status)

    async def _make(self, name: str) -> Place:
        if name == "public":
            return await self._start("done raw", "public")
        owner = OF_OTHERS.get(name, "ada")
        kind = {"foreign": "done raw", "foreign and live": "live sse", "of a user": "done sse"}
        return await self._start(kind.get(name, name), owner)

    async def _start(self, kind: str, owner: str, *, tenant: str | None = None) -> Place:
        end, _, wire_format = kind.partition(" ")
        whose = PUBLIC if owner == "public" else self._owner(owner)
        named: dict[str, Any] = {"owner": whose, "tenant": tenant}
        place = Place("", owner=owner, log=b"" if end == "empty" else BODY)
        reader = await StreamManager().arun(None, place.tap, **named, attrs={"format": wire_format})
        place.stream_id = reader.stream_id
        if place.log:
            place.tap.give(place.log)
        await eventually(lambda: self._has_all(place, named))
        place.token = await StreamManager().asign(place.stream_id, **named)
        if end == "cancelled":
            await StreamManager().acancel(place.stream_id, **named)
        elif end == "failed":
            place.tap.give(OSError("as it is to"))
        elif end != "live":
            place.tap.end()
        if end != "live":
            await eventually(lambda: self._is_over(place, named))
        place.info = await StreamManager().astatus(place.stream_id, **named)
        return place

    async def _has_all(self, place: Place, named: dict[str, Any]) -> bool:
        info = await StreamManager().astatus(place.stream_id, **named)
        return info is not None and info.size == len(place.log)

    async def _is_over(self, place: Place, named: dict[str, Any]) -> bool:
        info = await StreamManager().astatus(place.stream_id, **named)
        return info is not None and not info.is_streaming and place.tap.closed.is_set()

    async def leave(self) -> None:
        for place in self.places.values():
            place.tap.end()


def old_token(info: StreamInfo) -> str:
    """Return a link to a stream that has ended."""
    expires = int(time()) - 10
    signature = _signer("stream").signature(_signed(info, "default", expires))
    return str(SignedLink(tenant=info.tenant, expires=expires, signature=signature))
