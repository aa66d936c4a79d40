"""What a request may be made of: what browsers send, what nobody sends, and all between."""

from dataclasses import dataclass
from itertools import pairwise
from string import Template
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from .asking import Ask
from .crowd import NOT_THERE, PEOPLE, STREAMS, Crowd, Person, Place, old_token
from .site import START

__all__ = ["Request", "anything", "requests"]

BOUNDARY = "xyz"

LENGTHY = {
    b"<70 kB>": b"x" * 70_000,
    b"<3 MB>": b"x" * 3_000_000,
    b"<fields>": b"&".join(b"f%d=" % number for number in range(1_500)),
}
"""What stands for what is too long to be shown when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request before it is known whose cookies, and which stream, it is about.

    `$epoch`, `$size`, `$id`, `$token`, `$old_token`, `$other_token` and `$csrf` stand for those of
    the stream and of whoever asks.
    """

    who: str
    stream: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    csrf: str = "none"
    body: bytes = b""
    content_type: str | None = None
    cut_at: tuple[int, ...] = ()
    torn: bool = False
    leaves: int | None = None

    def ask(self, crowd: Crowd, place: Place, *, other: Place | None = None) -> Ask:
        """Return what goes over the line; with `other`, its id alone is that of another stream."""
        person = crowd.people[self.who]
        known = _known(crowd, place, person)
        target = Template(self.path).safe_substitute(
            known | {"id": quote((other or place).stream_id, safe="")}
        )
        query = "&".join(
            f"{quote(name)}={quote(Template(value).safe_substitute(known))}"
            for name, value in self.query
        )
        return Ask(
            method=self.method,
            target=f"/{target}{'?' if query else ''}{query}".encode(),
            headers=self._headers(person, known),
            pieces=self._pieces(known),
            torn=self.torn,
            leaves=self.leaves,
            is_live=place.is_live or self.path in START,
        )

    def _headers(self, person: Person, known: dict[str, str]) -> list[tuple[bytes, bytes]]:
        texts = list(self.headers)
        if self.content_type is not None:
            texts.append(("Content-Type", self.content_type))
        if self.csrf in ("good", "bad"):
            texts.append(("X-CSRFToken", "$csrf" if self.csrf == "good" else "not-a-token"))
        headers = [
            (name.encode(), Template(value).safe_substitute(known).encode("latin-1", "replace"))
            for name, value in texts
        ]
        if person.cookie:
            headers.append((b"Cookie", person.cookie))
        return [(b"Host", b"testserver"), *headers]

    def _pieces(self, known: dict[str, str]) -> list[bytes]:
        body = self.body
        for short, lengthy in LENGTHY.items():
            body = body.replace(short, lengthy)
        if self.csrf == "form":
            body = f"csrfmiddlewaretoken={known['csrf']}&".encode() + body
        cuts = [0, *sorted(at % (len(body) + 1) for at in self.cut_at), len(body)]
        pieces = [body[a:b] for a, b in pairwise(cuts)]
        return [piece for piece in pieces if piece]


def _known(crowd: Crowd, place: Place, person: Person) -> dict[str, str]:
    other = crowd.places["done raw"] if crowd.places["done raw"] is not place else None
    info = place.info or crowd.places["foreign"].info
    assert info is not None
    return {
        "id": place.stream_id,
        "epoch": info.epoch,
        "size": str(info.size),
        "token": place.token,
        "old_token": old_token(info),
        "other_token": (other or crowd.places["empty raw"]).token,
        "csrf": person.token,
    }


odd = st.one_of(
    st.sampled_from(
        [
            "", " ", "0", "-1", "1e3", "0x10", "1.5", "\uff19", "\u0663", "\0", "%00",
            "%zz", "null", "NaN",
            "0" * 5_000, "9" * 400, "1" * 20, str(2**63), str(2**53), "../..", "a/b", "{x}", "*",
            "é", "\ud7ff", "\U0001f600", "\r\nX-Bad: 1", "'; DROP TABLE", "${jndi}", "\x7f", "\t",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)  # fmt: skip
offsets = st.one_of(st.sampled_from(["0", "1", "$size", "${size}0", "14", "007", "-0"]), odd)
epochs = st.one_of(st.sampled_from(["$epoch", "00000000", "${epoch}0"]), odd)
tokens = st.one_of(
    st.sampled_from(["$token", "$old_token", "$other_token", "${token}x", "a.b.c", ".."]), odd
)
query = st.one_of(
    st.tuples(st.just("offset"), offsets),
    st.tuples(st.just("epoch"), epochs),
    st.tuples(st.just("live"), st.one_of(st.sampled_from(["0", "1", "2", "true"]), odd)),
    st.tuples(st.just("token"), tokens),
    st.tuples(odd, odd),
)
visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"))
ranges = st.sampled_from(
    [
        "bytes=0-", "bytes=0-0", "bytes=2-5", "bytes=-3", "bytes=-0", "bytes=5-2", "bytes=-",
        "bytes=", "bytes", "bytes=$size-", "bytes=0-99999999999", "bytes=3-99999999999999999999",
        "bytes=0-1,3-4", "lines=0-1", "BYTES = 1-2", "bytes=1-2-3", "bytes=\u0663-", "bytes=-$size",
        "bytes=" + "9" * 4_000 + "-", "bytes=a-b", "bytes=0x0-",
    ]
)  # fmt: skip
event_ids = st.sampled_from(
    [
        "$epoch-0", "$epoch-$size", "$epoch-end", "$epoch-14", "$epoch-1", "${epoch}0-0", "x-5",
        "$epoch-99999999999999", "$epoch-" + "9" * 40, "$epoch", "-", "$epoch--1", "$epoch-END",
        "é-1", "a" * 65 + "-1",
    ]
)  # fmt: skip
position = st.one_of(
    st.tuples(st.just("Range"), st.one_of(ranges, visible)),
    st.tuples(
        st.just("If-Range"),
        st.one_of(st.sampled_from(['"$epoch"', "$epoch", 'W/"$epoch"', '"x"']), visible),
    ),
    st.tuples(st.just("Last-Event-ID"), st.one_of(event_ids, visible)),
)
header = st.one_of(
    position,
    st.tuples(
        st.just("Idempotency-Key"),
        st.one_of(st.sampled_from(["a-key", "a key", "", "k" * 255, "k" * 256, "é"]), visible),
    ),
    st.tuples(
        st.just("Accept"),
        st.one_of(st.sampled_from(["text/event-stream", "*/*", "application/json"]), visible),
    ),
    st.tuples(st.just("Cache-Control"), st.sampled_from(["no-cache", "max-age=0", "=,"])),
    st.tuples(st.just("Accept-Encoding"), st.sampled_from(["gzip, br", "*;q=0", "identity"])),
    st.tuples(
        st.just("Authorization"),
        st.one_of(st.sampled_from(["Bearer x", "Basic eDp5", "Basic", "Token"]), visible),
    ),
    st.tuples(
        st.just("Cookie"),
        st.one_of(
            st.sampled_from(
                ["sessionid=undefined", "csrftoken=x", "resumable_stream=0:x:y", "=;;=", "a"]
            ),
            visible,
        ),
    ),
    st.tuples(st.just("X-Forwarded-For"), st.sampled_from(["1.2.3.4", "::1%x", "[", ",,,", "é"])),
    st.tuples(st.just("X-Request-ID"), visible),
    st.tuples(
        st.just("Origin"), st.sampled_from(["http://testserver", "null", "http://evil", "["])
    ),
    st.tuples(st.just("Referer"), st.sampled_from(["http://testserver/", "x", "http://["])),
    st.tuples(st.just("If-None-Match"), st.sampled_from(["*", '"x"'])),
    st.tuples(st.just("Transfer-Encoding"), st.sampled_from(["identity"])),
    st.tuples(st.sampled_from(["X-Odd", "Content-Language", "X-HTTP-Method-Override"]), visible),
)


def named(rest: str, value: bytes = b"x") -> bytes:
    return f"Content-Disposition: form-data{rest}\r\n\r\n".encode("latin-1") + value


part = st.one_of(
    st.sampled_from(
        [
            named('; name="question"', b"why?"),
            named('; name="f"; filename="a.txt"', b"bytes"),
            named('; name="f"; filename="../\0\xff"', b"<70 kB>"),
            named('; name="f"; filename="b"\r\nContent-Transfer-Encoding: base64', b"!no base64!"),
            named("; name*=utf-8''%ff"),
            named(""),
            b"No-Colon\r\n\r\nx",
            named('; name="q"\r\nContent-Type: text/plain; charset=nonsense'),
            named('; name="huge"', b"<3 MB>"),
        ]
    ),
    st.binary(max_size=40),
)


@st.composite
def multipart(draw: st.DrawFn) -> tuple[str, bytes]:
    """Return a content type and a body of parts, whole or broken off anywhere."""
    parts = draw(st.lists(part, max_size=3))
    whole = b"".join(b"--%b\r\n%b\r\n" % (BOUNDARY.encode(), one) for one in parts)
    whole += b"--%b--\r\n" % BOUNDARY.encode()
    kept = draw(st.one_of(st.just(len(whole)), st.integers(0, len(whole))))
    content_type = draw(
        st.sampled_from(
            [
                *[f"multipart/form-data; boundary={BOUNDARY}"] * 6,
                "multipart/form-data",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=other",
                f"multipart/form-data; boundary={BOUNDARY}; charset=nonsense",
                "multipart/form-data; boundary=" + "b" * 300,
                "multipart/form-data; boundary=é",
            ]
        )
    )
    return content_type, whole[:kept]


plain = st.tuples(
    st.one_of(
        st.sampled_from(
            [
                "application/x-www-form-urlencoded",
                "application/x-www-form-urlencoded; charset=latin-1",
                "application/x-www-form-urlencoded; charset=nonsense",
                "application/json",
                "text/plain; charset=utf-16",
                "",
                ";;;",
                "é/é",
            ]
        ),
        visible,
        st.none(),
    ),
    st.one_of(
        st.sampled_from(
            [
                b"", b"question=why", b"a=%ff%fe&b=%00&=&&&", b"a=<3 MB>",
                b"<fields>", b'{"a": ', b"\xff\xfe\0",
            ]
        ),
        st.binary(max_size=60),
    ),
)  # fmt: skip
bodies = st.one_of(plain, multipart())
VIEWS = [
    *[("GET", "streams/$id/")] * 4,
    ("HEAD", "streams/$id/"),
    ("DELETE", "streams/$id/"),
    ("GET", "streams/$id/status/"),
    ("POST", "streams/$id/cancel/"),
    ("GET", "chat/$id/stream/"),
    ("GET", "mine/"),
    *(("POST", path) for path in START),
]
paths = st.one_of(
    st.sampled_from([path for _, path in VIEWS]),
    st.sampled_from(
        ["streams/$id", "streams/$id/status", "streams/$id/other/", "streams//", "streams/"]
    ),
    odd.map(lambda text: f"streams/{quote(text)}/"),
    odd.map(lambda text: f"streams/$id/{quote(text)}"),
)
methods = st.sampled_from(
    ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND"]
)
WILD: dict[str, st.SearchStrategy[Any]] = {
    "who": st.sampled_from(PEOPLE),
    "method": methods,
    "path": paths,
    "query": st.lists(query, min_size=1, max_size=3).map(tuple),
    "more query": st.tuples(query),
    "headers": st.lists(header, min_size=1, max_size=3).map(tuple),
    "position": st.tuples(position),
    "csrf": st.sampled_from(["none", "bad", "form"]),
    "body": bodies,
    "cut_at": st.lists(st.integers(0, 10_000), max_size=2).map(tuple),
    "torn": st.just(True),
    "leaves": st.sampled_from([0, 1, 3, 10, 30, 60]),
}
"""What of a request may be other than browsers send it, and how."""


IMPATIENT = {"torn", "leaves"}


@st.composite
def requests(draw: st.DrawFn, *, stream: st.SearchStrategy[str], patient: bool) -> Request:
    """Return a request about one of these streams: an ordinary one, but for some of its parts.

    Who is `patient` waits for the answer.
    """
    method, path = draw(st.sampled_from(VIEWS))
    names = sorted(WILD.keys() - IMPATIENT if patient else WILD.keys())
    wild = draw(st.sets(st.sampled_from(names), max_size=4))
    parts: dict[str, Any] = {name: draw(WILD[name]) for name in sorted(wild)}
    parts["query"] = parts.get("query", ()) + parts.pop("more query", ())
    parts["headers"] = parts.get("headers", ()) + parts.pop("position", ())
    if "body" in parts:
        content_type, parts["body"] = parts["body"]
        parts["content_type"] = content_type and content_type.replace("\r", "").replace("\n", "")
    ordinary = {"who": "ada", "method": method, "path": path, "csrf": "good"}
    return Request(stream=draw(stream), **(ordinary | parts))


anything = st.sampled_from([*STREAMS, *NOT_THERE, "public"])
