"""For authors of stores and for tests of streams: the contract, a listener, a scripted source.

Subclass `StreamStoreContract` in a test module, give it a `store`, and every test method holds the
store to what `stores.base` promises. It needs pytest with `asyncio_mode = "auto"`:

    class TestMyStore(StreamStoreContract):
        @pytest.fixture
        async def store(self):
            store = MyStore(
                alias="test", key_prefix=uuid4().hex, location=None, limits=self.limits
            )
            yield store
            await store.aclose()

Each test needs a store without streams (a prefix of its own is enough). Override `another` if a
second connection to the same streams is something else than the store itself, and `pass_time` if
the store takes a clock. `pytest.register_assert_rewrite("resumable_streams.testing")`, called
before the import, makes failures tell more.
"""
# ruff: noqa: PT017, S101 - asserting is what a contract is for

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from .exceptions import (
    StreamClaimLost,
    StreamDoesNotExist,
    StreamFinalized,
    StreamGap,
    StreamLimitExceeded,
)
from .identifiers import owner_digest
from .stores.base import MAX_APPEND_BYTES, MAX_DEATHS, BaseStore, Feed, known
from .types import (
    PUBLIC,
    Claim,
    Control,
    ErrorCode,
    Fate,
    Holding,
    Limits,
    Owner,
    Role,
    StreamInfo,
    StreamKey,
    StreamStatus,
    Terms,
)

__all__ = ["RecordingListener", "ScriptedSource", "StreamStoreContract"]

E = TypeVar("E", bound=Exception)

ALL_BYTES = bytes(range(256))
STEP_SECONDS = 0.02
PATIENCE_SECONDS = 10.0

KEY = StreamKey(tenant="acme", generation=1, stream_id="chat")
TERMS = Terms(owner="ada", ttl=60, finished_ttl=60, pending=30)


class ScriptedSource:
    """Produce what a script says, when it says so.

    A step that is an `asyncio.Event` is waited for, an exception is raised, and anything else is
    yielded as it is: also what no source may yield. `calls` counts who called the source,
    `yielded` what has been taken from it; `opened` and `closed` are set by its iteration.
    """

    def __init__(self, *steps: object):
        self.steps: Sequence[object] = steps
        self.calls = 0
        self.yielded = 0
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    def __call__(self) -> AsyncGenerator[Any, None]:
        self.calls += 1
        return self._follow()

    async def _follow(self) -> AsyncGenerator[Any, None]:
        self.opened.set()
        try:
            for step in self.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, BaseException):
                    raise step
                else:
                    self.yielded += 1
                    yield step
        finally:
            self.closed.set()


class RecordingListener:
    """Keep what a feed says, and let a test wait until it has heard enough."""

    def __init__(self) -> None:
        self.appends: list[tuple[StreamKey, str, int, bytes]] = []
        self.disturbances: list[StreamKey] = []
        self.control_changes: list[str | None] = []
        self._news = asyncio.Event()

    def appended(self, key: StreamKey, epoch: str, offset: int, data: bytes) -> None:
        self.appends.append((key, epoch, offset, data))
        self._news.set()

    def disturbed(self, key: StreamKey) -> None:
        self.disturbances.append(key)
        self._news.set()

    def control_changed(self, tenant: str | None) -> None:
        self.control_changes.append(tenant)
        self._news.set()

    def forget(self) -> None:
        """Start anew."""
        for heard in (self.appends, self.disturbances, self.control_changes):
            heard.clear()

    async def hear(self, condition: Callable[[], bool], *, timeout: float = 10) -> None:  # noqa: ASYNC109
        """Wait until `condition` holds of what was heard; raise TimeoutError if it never does."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._news.clear()
                await self._news.wait()

    def log(self, key: StreamKey) -> bytes:
        """Return the bytes that were pushed for `key`, which have to be without gap or overlap."""
        data = b""
        for _, _, offset, piece in (one for one in self.appends if one[0] == key):
            assert offset == len(data), f"pushed {offset} after {len(data)}"
            data += piece
        return data


@asynccontextmanager
async def listening(
    store: BaseStore, *keys: StreamKey
) -> AsyncIterator[tuple[RecordingListener, Feed]]:
    """Open a feed that watches `keys`, once that is confirmed."""
    listener = RecordingListener()
    feed = store.open_feed(listener)
    try:
        for key in keys:
            feed.watch(key)
        await listener.hear(lambda: set(keys) <= set(listener.disturbances))
        listener.forget()
        yield listener, feed
    finally:
        await feed.aclose()


async def refusal(expected: type[E], verb: Awaitable[object]) -> E:
    """Return the error that `verb` raised, which has to be exactly that one."""
    try:
        answer = await verb
    except Exception as error:
        assert type(error) is expected, f"raised {error!r}, not {expected.__name__}"
        return error
    raise AssertionError(f"answered {answer!r}, did not raise {expected.__name__}")


async def start(
    store: BaseStore, key: StreamKey = KEY, *, holder: str = "ours", **changes: Any
) -> Claim:
    """Win an election, on TERMS but for the changes, and confirm it."""
    claim = Claim(holder=holder)
    acquired = await store.acquire(key, claim, replace(TERMS, **changes))
    assert acquired.role is Role.PRODUCER
    assert await store.confirm(key, claim)
    return claim


def successor(claim: Claim, *, holder: str = "theirs") -> Claim:
    """Make the claim of a new producer of the same incarnation."""
    return Claim(epoch=claim.epoch, holder=holder)


def holding(key: StreamKey = KEY, *, owner: Owner = "ada", epoch: str = "0123abcd") -> Holding:
    """Return what a process is to hold."""
    return Holding(key=key, epoch=epoch, owner_digest=owner_digest(owner))


async def look(store: BaseStore, key: StreamKey = KEY) -> StreamInfo:
    """Return the state of a stream that is there."""
    info = await store.look(key)
    assert info is not None
    return info


async def is_gone(store: BaseStore, key: StreamKey = KEY) -> bool:
    return await store.look(key) is None


async def body(store: BaseStore, key: StreamKey = KEY, *, page: int = MAX_APPEND_BYTES) -> bytes:
    """Return the whole log, page by page."""
    data = b""
    while True:
        answer = await store.read(key, len(data), page)
        assert answer is not None
        assert len(answer.data) <= page
        if not answer.data:
            assert len(data) == answer.info.size
            return data
        data += answer.data


async def scanned(store: BaseStore, *where: Any) -> set[str]:
    """Return what a scan meets, as `tenant/generation/id`."""
    return {f"{k.tenant}/{k.generation}/{k.stream_id}" async for k in store.scan(*where)}


class StreamStoreContract:
    """Hold a store to the contract of `stores.base`; see the module for how to use it."""

    limits: ClassVar[Limits] = Limits(
        max_stream_bytes=2 * MAX_APPEND_BYTES,
        max_entries_per_stream=1_000,
        max_streams=3,
        max_streams_per_owner=2,
    )
    """What the store has to be made with: some tests go exactly to these limits."""

    short: ClassVar[float] = 0.25
    """The leases and lifetimes (seconds) that tests let run out."""

    @asynccontextmanager
    async def another(self, store: BaseStore) -> AsyncIterator[BaseStore]:
        """Open a second store object on the same streams, as another process would have."""
        yield store

    async def pass_time(self, seconds: float) -> None:
        """Let the store's clock go on by at least `seconds`."""
        await asyncio.sleep(seconds)

    async def eventually(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Let time pass until `condition` holds."""
        for _ in range(int(PATIENCE_SECONDS / STEP_SECONDS)):
            if await condition():
                return
            await self.pass_time(STEP_SECONDS)
        raise AssertionError("it never came to hold")

    # Election.

    async def test_the_first_caller_produces_and_everyone_later_consumes(
        self, store: BaseStore
    ) -> None:
        first = await store.acquire(KEY, claim := Claim(), TERMS)
        assert first.role is Role.PRODUCER
        later = await store.acquire(KEY, Claim(), TERMS)
        assert later.role is Role.CONSUMER
        await store.finalize(KEY, claim, StreamStatus.DONE)
        after_the_end = await store.acquire(KEY, Claim(), TERMS)
        assert after_the_end.role is Role.CONSUMER
        assert after_the_end.info.status is StreamStatus.DONE
        assert {first.info.epoch, later.info.epoch, after_the_end.info.epoch} == {claim.epoch}

    async def test_of_fifty_concurrent_callers_one_is_elected(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            claims = [Claim() for _ in range(50)]
            acquired = await asyncio.gather(
                *(
                    (store, other)[number % 2].acquire(KEY, claim, TERMS)
                    for number, claim in enumerate(claims)
                )
            )
            elected = [c for c, a in zip(claims, acquired, strict=True) if a.role is Role.PRODUCER]
            assert len(elected) == 1
            assert {a.info.epoch for a in acquired} == {elected[0].epoch}
            await other.append(KEY, elected[0], 0, b"mine")
            for claim in set(claims) - set(elected):
                await refusal(StreamClaimLost, store.append(KEY, claim, 0, b"not mine"))
            assert await body(store) == b"mine"

    async def test_the_same_claim_is_elected_again(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        again = await store.acquire(KEY, claim, replace(TERMS, owner="eve", ttl=1))
        assert again.role is Role.PRODUCER
        assert (again.info.size, again.info.owner) == (3, "ada")
        assert again.info.ttl > 30

    async def test_a_new_stream_is_empty_and_streaming(self, store: BaseStore) -> None:
        claim = Claim(holder="ours")
        terms = replace(TERMS, ttl=50, pending=20, grace=7, seen_mark=9.5)
        info = (await store.acquire(KEY, claim, terms)).info
        assert (info.tenant, info.generation, info.stream_id) == ("acme", 1, "chat")
        assert (info.status, info.size, info.entries) == (StreamStatus.STREAMING, 0, 0)
        assert (info.error_code, info.error, info.attrs) == ("", "", {})
        assert (info.holder, info.grace, info.seen_mark) == ("ours", 7, 9.5)
        assert 19 < info.ttl <= 20
        assert abs(info.expires - info.created - 20) < 1
        assert await body(store) == b""
        assert await store.confirm(KEY, claim)
        assert 49 < (await look(store)).ttl <= 50

    async def test_an_election_that_nobody_confirms_evaporates(self, store: BaseStore) -> None:
        claim = Claim()
        await store.acquire(KEY, claim, replace(TERMS, pending=self.short))
        assert await store.confirm(KEY, Claim()) is False
        await self.eventually(lambda: is_gone(store))
        assert await store.confirm(KEY, claim) is False
        assert (await store.acquire(KEY, Claim(), TERMS)).role is Role.PRODUCER

    async def test_owner_terms_and_attributes_are_bound_once(self, store: BaseStore) -> None:
        attrs = {"chat": "c1", "text": 'ä "\\\n\x00 {}'}
        await start(store, owner="ada", ttl=40, attrs=attrs)
        bound = dict(attrs)
        attrs["chat"] = "changed"
        later = replace(TERMS, owner="eve", ttl=9, finished_ttl=9, attrs={"x": "y"})
        for info in ((await store.acquire(KEY, Claim(), later)).info, await look(store)):
            assert (info.owner, info.attrs) == ("ada", bound)
            assert info.ttl > 30

    async def test_public_is_nobodys_name(self, store: BaseStore) -> None:
        owners: list[Owner] = [PUBLIC, "public", "PUBLIC", "=", "=public", "Public.PUBLIC", "ä:{}*"]
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(len(owners))]
        for key, owner in zip(keys, owners, strict=True):
            await start(store, key, owner=owner)
        found = [info.owner for info in map(known, await store.status(keys)) if info]
        assert found == owners
        assert [owner is PUBLIC for owner in found] == [True] + [False] * (len(owners) - 1)

    async def test_streams_of_other_tenants_generations_and_ids_are_others(
        self, store: BaseStore
    ) -> None:
        keys = [
            KEY,
            replace(KEY, tenant="acme-2"),
            replace(KEY, generation=11),
            replace(KEY, stream_id="chat:1"),
            replace(KEY, stream_id="Chat"),
        ]
        for number, key in enumerate(keys):
            await store.append(key, await start(store, key), 0, b"%d" % number)
        assert [await body(store, key) for key in keys] == [b"0", b"1", b"2", b"3", b"4"]
        await store.delete(KEY)
        assert [await is_gone(store, key) for key in keys] == [True] + [False] * 4

    # Append.

    async def test_every_byte_comes_back(self, store: BaseStore) -> None:
        claim = await start(store)
        pieces = [ALL_BYTES, b"\r\n$5\r\n", b"\x00", "ä€😀".encode(), b":1:", b"!", b" " * 7]
        size = 0
        for piece in pieces:
            size = await store.append(KEY, claim, size, piece)
        assert size == len(b"".join(pieces))
        for page in (1, 7, 256, size):
            assert await body(store, page=page) == b"".join(pieces)

    async def test_a_duplicate_append_stores_nothing(self, store: BaseStore) -> None:
        claim = await start(store)
        for _ in range(3):
            assert await store.append(KEY, claim, 0, b"abc") == 3
        assert await store.append(KEY, claim, 3, b"def") == 6
        assert await store.append(KEY, claim, 0, b"abc") == 6
        assert await store.append(KEY, claim, 1, b"bcde") == 6
        info = await look(store)
        assert (await body(store), info.entries) == (b"abcdef", 2)

    async def test_an_overlapping_append_stores_what_is_new(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        assert await store.append(KEY, claim, 1, b"bcdef") == 6
        assert await store.append(KEY, claim, 0, b"abcdef\x00\xff") == 8
        assert await body(store) == b"abcdef\x00\xff"

    async def test_a_gapped_append_is_refused_and_names_the_end(self, store: BaseStore) -> None:
        claim = await start(store)
        assert (await refusal(StreamGap, store.append(KEY, claim, 1, b"x"))).size == 0
        await store.append(KEY, claim, 0, b"abc")
        assert (await refusal(StreamGap, store.append(KEY, claim, 4, b"x"))).size == 3
        assert (await refusal(StreamGap, store.append(KEY, claim, 9, b""))).size == 3
        assert (await body(store), (await look(store)).entries) == (b"abc", 1)

    async def test_concurrent_appends_of_the_same_bytes_store_them_once(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        async with self.another(store) as other:
            for offset in range(0, 2_560, 256):
                sizes = await asyncio.gather(
                    *(one.append(KEY, claim, offset, ALL_BYTES) for one in [store, other] * 3)
                )
                assert set(sizes) == {offset + 256}
        assert (await body(store), (await look(store)).entries) == (ALL_BYTES * 10, 10)

    async def test_an_append_of_nothing_only_renews(self, store: BaseStore) -> None:
        claim = await start(store)
        before = await look(store)
        await self.pass_time(0.05)
        assert await store.append(KEY, claim, 0, b"", chunks=1) == 0
        after = await look(store)
        assert (after.size, after.entries) == (0, 0)
        assert after.expires > before.expires

    async def test_chunks_are_counted_as_the_source_had_them(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc", chunks=3)
        await store.append(KEY, claim, 3, b"d", chunks=1)
        await store.append(KEY, claim, 4, b"e", chunks=0)
        info = await look(store)
        assert (info.size, info.entries) == (5, 4)

    async def test_the_largest_append_is_read_in_pages(self, store: BaseStore) -> None:
        claim = await start(store)
        data = (ALL_BYTES * (MAX_APPEND_BYTES // 256 + 1))[1:][:MAX_APPEND_BYTES]
        assert await store.append(KEY, claim, 0, data) == MAX_APPEND_BYTES
        assert await body(store, page=65_521) == data

    async def test_bytes_go_exactly_to_their_limit(self, store: BaseStore) -> None:
        claim, most = await start(store), 2 * MAX_APPEND_BYTES
        await store.append(KEY, claim, 0, bytes(MAX_APPEND_BYTES))
        for data in (bytes(MAX_APPEND_BYTES), bytes(MAX_APPEND_BYTES + 1)):
            over = store.append(KEY, claim, MAX_APPEND_BYTES, data + b"x")
            error = await refusal(StreamLimitExceeded, over)
            assert (error.limit, error.value) == ("MAX_STREAM_BYTES", most)
        assert (await look(store)).size == MAX_APPEND_BYTES
        assert await store.append(KEY, claim, MAX_APPEND_BYTES, bytes(MAX_APPEND_BYTES)) == most
        await refusal(StreamLimitExceeded, store.append(KEY, claim, most, b"x"))
        # What is there already exceeds nothing.
        assert await store.append(KEY, claim, most - 1, b"\x00") == most
        info = await look(store)
        assert (info.size, info.entries, info.is_streaming) == (most, 2, True)

    async def test_entries_go_exactly_to_their_limit(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"a" * 999, chunks=999)
        error = await refusal(StreamLimitExceeded, store.append(KEY, claim, 999, b"bc", chunks=2))
        assert (error.limit, error.value) == ("MAX_ENTRIES_PER_STREAM", 1_000)
        assert await store.append(KEY, claim, 999, b"b", chunks=1) == 1_000
        await refusal(StreamLimitExceeded, store.append(KEY, claim, 1_000, b"c", chunks=1))
        assert await store.append(KEY, claim, 999, b"b", chunks=1) == 1_000
        info = await look(store)
        assert (info.size, info.entries, info.is_streaming) == (1_000, 1_000, True)

    async def test_only_the_claim_may_write(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        await store.acquire(KEY, loser := Claim(), TERMS)
        for thief in (loser, Claim(epoch=claim.epoch)):
            await refusal(StreamClaimLost, store.append(KEY, thief, 3, b"x"))
            await refusal(StreamClaimLost, store.append(KEY, thief, 0, b"abc"))
            await refusal(StreamClaimLost, store.finalize(KEY, thief, StreamStatus.DONE))
            assert await store.touch([(KEY, thief)]) == [False]
        info = await look(store)
        assert (await body(store), info.status) == (b"abc", StreamStatus.STREAMING)

    async def test_nothing_is_appended_after_the_end(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        await store.finalize(KEY, claim, StreamStatus.DONE)
        for offset, data in ((3, b"x"), (0, b"abc"), (9, b"x")):
            error = await refusal(StreamFinalized, store.append(KEY, claim, offset, data))
            assert error.status == "done"
        assert await body(store) == b"abc"

    # A missing stream, and one that was acquired again.

    async def test_every_verb_says_of_a_missing_stream_that_it_is_missing(
        self, store: BaseStore
    ) -> None:
        claim = Claim()
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 0, b"x"))
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 5, b""))
        await refusal(StreamDoesNotExist, store.finalize(KEY, claim, StreamStatus.DONE))
        await refusal(StreamDoesNotExist, store.reclaim(KEY, claim.token, Claim()))
        assert await store.read(KEY, 0, 10) is None
        assert await store.status([KEY]) == [None]
        assert await store.touch([(KEY, claim)]) == [False]
        assert await store.cancel(KEY) is None
        assert await store.cancel(KEY, epoch=claim.epoch) is None
        assert await store.delete(KEY) is False
        assert await store.delete(KEY, epoch=claim.epoch) is False
        assert await store.expire(KEY, 5) is False
        assert await scanned(store) == set()

    async def test_a_deleted_stream_is_missing_at_once(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        async with self.another(store) as other:
            assert await other.delete(KEY) is True
            assert await other.delete(KEY) is False
        assert await is_gone(store)
        assert await store.read(KEY, 0, 10) is None
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 3, b"d"))
        await refusal(StreamDoesNotExist, store.finalize(KEY, claim, StreamStatus.DONE))
        assert await scanned(store) == set()

    async def test_what_was_acquired_again_is_another_incarnation(self, store: BaseStore) -> None:
        old = await start(store, owner="ada", attrs={"old": "yes"})
        await store.append(KEY, old, 0, b"old bytes")
        await store.delete(KEY)
        new = await start(store, owner="eve")
        info = await look(store)
        assert info.epoch == new.epoch != old.epoch
        assert (info.size, info.entries, info.owner, info.attrs) == (0, 0, "eve", {})
        for offset in (0, 9):
            await refusal(StreamClaimLost, store.append(KEY, old, offset, b"old"))
        await refusal(StreamClaimLost, store.finalize(KEY, old, StreamStatus.DONE))
        assert await store.touch([(KEY, old), (KEY, new)]) == [False, True]
        assert await store.cancel(KEY, epoch=old.epoch) is None
        assert await store.delete(KEY, epoch=old.epoch) is False
        assert (await look(store)).is_streaming
        await store.append(KEY, new, 0, b"new")
        assert await body(store) == b"new"
        assert await store.delete(KEY, epoch=new.epoch) is True
        assert await is_gone(store)

    async def test_no_old_byte_enters_a_stream_that_was_acquired_again(
        self, store: BaseStore
    ) -> None:
        async with self.another(store) as other:
            for _ in range(10):
                old = await start(store)
                appending = asyncio.create_task(self._append_until_refused(store, old))
                await self.eventually(lambda: self._has_grown(other))
                await other.delete(KEY)
                new = await start(other, owner="eve")
                size = 0
                for _ in range(10):
                    size = await other.append(KEY, new, size, b"new")
                assert await appending in (StreamClaimLost, StreamDoesNotExist)
                await refusal(StreamClaimLost, store.finalize(KEY, old, StreamStatus.ERROR))
                info = await look(store)
                assert (info.status, info.owner) == (StreamStatus.STREAMING, "eve")
                assert info.epoch == new.epoch
                assert await body(store) == b"new" * 10
                await store.delete(KEY)

    async def _append_until_refused(self, store: BaseStore, claim: Claim) -> type[Exception]:
        size = 0
        while True:
            try:
                size = await store.append(KEY, claim, size, b"old")
            except Exception as error:
                return type(error)
            await asyncio.sleep(0)  # a store without I/O would never let anyone else run

    async def _has_grown(self, store: BaseStore) -> bool:
        await asyncio.sleep(0)
        return (await look(store)).size > 0

    # Handing over.

    async def test_a_stream_is_handed_over_by_whoever_holds_its_claim(
        self, store: BaseStore
    ) -> None:
        old = await start(store, attrs={"chat": "c1"})
        await store.append(KEY, old, 0, b"old ")
        new = successor(old)
        async with self.another(store) as other:
            for _ in range(2):  # also when the first answer was lost
                info = await other.reclaim(KEY, old.token, new)
                assert (info.size, info.entries, info.epoch) == (4, 1, old.epoch)
                assert (info.owner, info.attrs, info.is_streaming) == ("ada", {"chat": "c1"}, True)
            await refusal(StreamClaimLost, store.append(KEY, old, 4, b"zombie"))
            await refusal(StreamClaimLost, store.finalize(KEY, old, StreamStatus.DONE))
            await refusal(StreamClaimLost, store.reclaim(KEY, old.token, successor(new)))
            assert await store.touch([(KEY, old), (KEY, new)]) == [False, True]
            assert (await store.acquire(KEY, old, TERMS)).role is Role.CONSUMER
            assert (await store.acquire(KEY, new, TERMS)).role is Role.PRODUCER
            await other.append(KEY, new, 4, b"new")
        assert await body(store) == b"old new"

    async def test_a_stream_in_use_is_handed_to_nobody_else(self, store: BaseStore) -> None:
        claim = await start(store, grace=20)
        await refusal(StreamClaimLost, store.reclaim(KEY, "guess", successor(claim)))
        error = store.reclaim(KEY, "guess", successor(claim), silent="another one")
        await refusal(StreamClaimLost, error)
        await store.append(KEY, claim, 0, b"mine")
        assert (await look(store)).holder == "ours"

    async def test_what_is_missing_ended_or_another_incarnation_is_not_handed_over(
        self, store: BaseStore
    ) -> None:
        old = await start(store)
        await store.delete(KEY)
        await refusal(StreamDoesNotExist, store.reclaim(KEY, old.token, successor(old)))
        new = await start(store)
        error = store.reclaim(KEY, old.token, successor(old), silent="ours")
        await refusal(StreamDoesNotExist, error)
        await store.finalize(KEY, new, StreamStatus.DONE)
        over = await refusal(StreamFinalized, store.reclaim(KEY, new.token, successor(new)))
        assert over.status == "done"

    async def test_of_those_who_would_replace_a_silent_producer_one_does(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"old ")
        claims = [successor(claim, holder=f"p{number}") for number in range(10)]
        async with self.another(store) as other:
            answers = await asyncio.gather(
                *(
                    (store, other)[n % 2].reclaim(KEY, "", c, silent="ours")
                    for n, c in enumerate(claims)
                ),
                return_exceptions=True,
            )
        won = [c for c, a in zip(claims, answers, strict=True) if isinstance(a, StreamInfo)]
        assert len(won) == 1
        assert [type(a) for a in answers].count(StreamClaimLost) == 9
        await refusal(StreamClaimLost, store.append(KEY, claim, 4, b"zombie"))
        await store.append(KEY, won[0], 4, b"new")
        assert await body(store) == b"old new"
        assert (await look(store)).holder == won[0].holder

    async def test_a_stream_that_one_producer_after_the_other_dies_of_is_given_up(
        self, store: BaseStore
    ) -> None:
        claim = await start(store, holder="p0")
        for number in range(1, MAX_DEATHS):
            new = successor(claim, holder=f"p{number}")
            await store.reclaim(KEY, "", new, silent=f"p{number - 1}")
        last = store.reclaim(KEY, "", successor(claim), silent=f"p{MAX_DEATHS - 1}")
        await refusal(StreamFinalized, last)
        assert (await look(store)).error_code == ErrorCode.PRODUCER_LOST

    async def test_a_stream_that_goes_on_outlives_any_number_of_producers(
        self, store: BaseStore
    ) -> None:
        claim = await start(store, holder="p0")
        for size in range(MAX_DEATHS + 1):
            await store.append(KEY, claim, size, b"x")
            claim = successor(claim, holder=f"p{size + 1}")
            await store.reclaim(KEY, "", claim, silent=f"p{size}")
        assert (await look(store)).is_streaming

    async def test_what_a_dead_process_held_is_lost_and_a_zombie_appends_nothing(
        self, store: BaseStore
    ) -> None:
        claim = await start(store, finished_ttl=30)
        await store.append(KEY, claim, 0, b"abc")
        for _ in range(2):  # also when the first answer was lost
            ended = await store.reap(KEY, claim.epoch, holder="ours")
            assert ended is not None
            assert (ended.status, ended.error_code, ended.error, ended.holder) == (
                StreamStatus.ERROR,
                ErrorCode.PRODUCER_LOST,
                "",
                "ours",
            )
        assert (await look(store)).ttl <= 30
        zombie = await refusal(StreamFinalized, store.append(KEY, claim, 3, b"zombie"))
        assert zombie.status == "error"
        late = await store.finalize(KEY, claim, StreamStatus.DONE)
        assert late.error_code == ErrorCode.PRODUCER_LOST
        assert await store.touch([(KEY, claim)]) == [False]
        assert await body(store) == b"abc"

    async def test_only_what_that_process_holds_is_reaped(self, store: BaseStore) -> None:
        claim = await start(store)
        untouched = await store.reap(KEY, claim.epoch, holder="another")
        assert untouched is not None
        assert (untouched.is_streaming, untouched.holder) == (True, "ours")
        assert await store.reap(KEY, "ffffffff", holder="ours") is None
        await store.finalize(KEY, claim, StreamStatus.DONE)
        done = await store.reap(KEY, claim.epoch, holder="ours")
        assert done is not None
        assert done.status is StreamStatus.DONE
        await store.delete(KEY)
        assert await store.reap(KEY, claim.epoch, holder="ours") is None

    async def test_what_is_reaped_goes_on_with_an_heir_or_ends_in_ones_name(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        handed = await store.reap(KEY, claim.epoch, holder="ours", heir="heir")
        assert handed is not None
        assert (handed.is_streaming, handed.holder) == (True, "heir")
        for name in ("me", "you"):
            ended = await store.reap(KEY, claim.epoch, holder="heir", by=name)
            assert ended is not None
            assert (ended.is_streaming, ended.holder) == (False, "me")

    # The end.

    async def test_the_first_end_stays(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        first = await store.finalize(
            KEY, claim, StreamStatus.ERROR, error_code="source_failed", error="ä: no"
        )
        assert (first.status, first.error_code, first.error, first.size) == (
            StreamStatus.ERROR,
            ErrorCode.SOURCE_FAILED,
            "ä: no",
            3,
        )
        again = await store.finalize(KEY, claim, StreamStatus.DONE)
        cancelled = await store.cancel(KEY)
        for info in (again, cancelled, await look(store)):
            assert info is not None
            assert (info.status, info.error_code, info.error) == (
                first.status,
                first.error_code,
                first.error,
            )
        assert await store.touch([(KEY, claim)]) == [False]
        assert await body(store) == b"abc"

    async def test_an_end_beyond_the_log_is_refused_and_names_where_it_ends(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        for status in (StreamStatus.DONE, StreamStatus.ERROR):
            gap = await refusal(StreamGap, store.finalize(KEY, claim, status, size=5))
            assert gap.size == 3
        assert (await look(store)).is_streaming
        await refusal(StreamClaimLost, store.finalize(KEY, Claim(), StreamStatus.DONE, size=5))
        await store.append(KEY, claim, 3, b"de")
        assert (await store.finalize(KEY, claim, StreamStatus.DONE, size=5)).size == 5
        # How it ended stays, whatever the size that the caller believes in.
        again = await store.finalize(KEY, claim, StreamStatus.ERROR, size=9)
        assert (again.status, await body(store)) == (StreamStatus.DONE, b"abcde")

    async def test_an_end_before_the_end_of_the_log_cuts_nothing(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        assert (await store.finalize(KEY, claim, StreamStatus.DONE, size=1)).size == 3
        assert await body(store) == b"abc"

    async def test_any_text_can_be_the_message_of_an_error(self, store: BaseStore) -> None:
        claim = await start(store)
        text = "file \udcff\x00\n" + "x" * 10_000
        await store.finalize(KEY, claim, StreamStatus.ERROR, error_code="x", error=text)
        assert (await look(store)).error.startswith("file ")

    async def test_cancelling_ends_once_and_keeps_what_was_written(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        async with self.another(store) as other:
            assert await other.cancel(KEY, epoch="00000000") is None
            assert (await look(store)).is_streaming
            for epoch in (claim.epoch, None, claim.epoch):
                info = await other.cancel(KEY, epoch=epoch)
                assert info is not None
                assert (info.status, info.size) == (StreamStatus.CANCELLED, 3)
        assert (await refusal(StreamFinalized, store.append(KEY, claim, 3, b"d"))).status == (
            "cancelled"
        )
        info = await store.finalize(KEY, claim, StreamStatus.DONE)
        assert info.status is StreamStatus.CANCELLED
        assert await body(store) == b"abc"

    async def test_of_concurrent_ends_one_is_told_to_all(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            for number in range(10):
                key = replace(KEY, stream_id=f"s{number}")
                claim = await start(store, key)
                ends = await asyncio.gather(
                    store.finalize(key, claim, StreamStatus.DONE),
                    other.cancel(key),
                    other.finalize(key, claim, StreamStatus.ERROR, error_code="interrupted"),
                )
                info = await other.look(key)
                assert {end and end.status for end in ends} == {info and info.status}

    # Reading.

    async def test_a_page_is_up_to_its_limit_from_any_byte(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"0123")
        await store.append(KEY, claim, 4, b"456789")
        for offset in range(12):
            for limit in (1, 3, 5, 10, 1_000):
                page = await store.read(KEY, offset, limit)
                assert page is not None
                assert page.data == b"0123456789"[offset : offset + limit]
                assert (page.info.size, page.info.epoch) == (10, claim.epoch)

    async def test_a_read_during_appends_gets_each_byte_once_and_in_order(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        pieces = [ALL_BYTES[: 1 + number * 37 % 256] for number in range(200)]

        async def write() -> None:
            size = 0
            for piece in pieces:
                size = await store.append(KEY, claim, size, piece)
                await asyncio.sleep(0)
            await store.finalize(KEY, claim, StreamStatus.DONE)

        async def follow(reader: BaseStore, limit: int) -> bytes:
            data = b""
            while True:
                page = await reader.read(KEY, len(data), limit)
                assert page is not None
                data += page.data
                assert page.info.size >= len(data)
                if not page.info.is_streaming and len(data) == page.info.size:
                    return data
                await asyncio.sleep(0)

        async with self.another(store) as other:
            _, *read = await asyncio.gather(
                write(), follow(store, 100), follow(other, 333), follow(other, 100_000)
            )
        assert read == [b"".join(pieces)] * 3

    async def test_states_come_in_the_order_of_the_keys(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(40)]
        for size, key in enumerate(keys[::2]):
            await store.append(key, await start(store, key), 0, b"x" * size)
        asked = keys[::-1] + keys[:2]
        found = [known(one) for one in await store.status(asked)]
        assert [info and info.stream_id for info in found] == [
            key.stream_id if key in keys[::2] else None for key in asked
        ]
        assert [info.size for info in found if info] == [*range(19, -1, -1), 0]
        assert await store.status([]) == []
        assert await store.touch([]) == []

    # Time.

    async def test_appends_and_touches_renew_the_lifetime(self, store: BaseStore) -> None:
        claim = await start(store)
        renewals: list[Callable[[], Awaitable[object]]] = [
            lambda: store.append(KEY, claim, 0, b"abc"),
            lambda: store.append(KEY, claim, 0, b"abc"),
            lambda: store.touch([(KEY, claim)]),
        ]
        for renew in renewals:
            before = await look(store)
            await self.pass_time(0.05)
            await renew()
            after = await look(store)
            assert after.expires - before.expires > 0.04

    async def test_looking_renews_nothing(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        before = await look(store)
        await self.pass_time(0.05)
        await store.read(KEY, 0, 10)
        await store.acquire(KEY, Claim(), TERMS)
        await store.acquire(KEY, claim, TERMS)
        await store.touch([(KEY, Claim())])
        await refusal(StreamClaimLost, store.append(KEY, Claim(), 3, b"d"))
        await refusal(StreamGap, store.append(KEY, claim, 9, b"d"))
        after = await look(store)
        assert abs(after.expires - before.expires) < 0.02
        assert after.created == before.created

    async def test_touches_keep_a_quiet_stream(self, store: BaseStore) -> None:
        claim = await start(store, ttl=4 * self.short)
        for _ in range(6):
            await self.pass_time(self.short)
            assert await store.touch([(KEY, claim)]) == [True]
        assert (await look(store)).is_streaming

    async def test_a_stream_expires_as_a_whole(self, store: BaseStore) -> None:
        claim = await start(store, ttl=self.short)
        await store.append(KEY, claim, 0, b"old")
        await self.eventually(lambda: is_gone(store))
        assert await store.read(KEY, 0, 10) is None
        assert await scanned(store) == set()
        await refusal(StreamDoesNotExist, store.append(KEY, claim, 3, b"zombie"))
        assert await store.delete(KEY) is False
        new = await start(store)
        await store.append(KEY, new, 0, b"new")
        assert await body(store) == b"new"

    async def test_the_end_sets_the_lifetime_of_a_finished_stream(self, store: BaseStore) -> None:
        shorter, longer = replace(KEY, stream_id="shorter"), replace(KEY, stream_id="longer")
        one = await start(store, shorter, ttl=60, finished_ttl=self.short)
        two = await start(store, longer, ttl=20, finished_ttl=60)
        await store.append(shorter, one, 0, b"abc")
        assert (await store.finalize(shorter, one, StreamStatus.DONE)).ttl <= self.short
        assert (await store.finalize(longer, two, StreamStatus.DONE)).ttl > 50
        await self.eventually(lambda: is_gone(store, shorter))
        assert not await is_gone(store, longer)

    async def test_expire_sets_the_lifetime_for_good(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"abc")
        assert await store.expire(KEY, 20) is True
        assert 19 < (await look(store)).ttl <= 20
        await store.append(KEY, claim, 3, b"def")
        await store.touch([(KEY, claim)])
        assert 19 < (await look(store)).ttl <= 20
        assert 19 < (await store.finalize(KEY, claim, StreamStatus.DONE)).ttl <= 20
        assert await store.expire(KEY, self.short) is True
        await self.eventually(lambda: is_gone(store))
        assert await store.expire(KEY, 20) is False

    # The feed.

    async def test_a_watched_stream_is_confirmed_then_pushed(self, store: BaseStore) -> None:
        claim = await start(store)
        await store.append(KEY, claim, 0, b"before")
        async with self.another(store) as other, listening(store, KEY) as (heard, _):
            await other.append(KEY, claim, 6, ALL_BYTES)
            await other.append(KEY, claim, 262, b":1:!")
            await heard.hear(lambda: len(heard.appends) == 2)
            assert heard.appends == [
                (KEY, claim.epoch, 6, ALL_BYTES),
                (KEY, claim.epoch, 262, b":1:!"),
            ]
            assert heard.disturbances == []

    async def test_only_what_was_stored_is_pushed(self, store: BaseStore) -> None:
        claim = await start(store)
        async with listening(store, KEY) as (heard, _):
            await store.append(KEY, claim, 0, b"abc")
            await store.append(KEY, claim, 0, b"abc")
            await refusal(StreamGap, store.append(KEY, claim, 9, b"gap"))
            await refusal(StreamClaimLost, store.append(KEY, Claim(), 3, b"claim"))
            await refusal(StreamLimitExceeded, store.append(KEY, claim, 3, b"limit", chunks=10_000))
            await store.touch([(KEY, claim)])
            await store.append(KEY, claim, 1, b"bcd")
            await store.append(KEY, claim, 4, b"e")
            await heard.hear(lambda: len(heard.appends) >= 3)
            assert [(offset, data) for _, _, offset, data in heard.appends] == [
                (0, b"abc"),
                (3, b"d"),
                (4, b"e"),
            ]

    async def test_all_feeds_hear_each_byte_once_and_in_order(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(5)]
        claims = [await start(store, key) for key in keys]
        pieces = [ALL_BYTES[: 1 + number * 53 % 256] for number in range(40)]
        expected = b"".join(pieces)

        async def write(key: StreamKey, claim: Claim) -> None:
            size = 0
            for piece in pieces:
                size = await store.append(key, claim, size, piece)

        async with (
            self.another(store) as other,
            listening(store, *keys) as (near, _),
            listening(other, *keys) as (far, _),
        ):
            await asyncio.gather(*map(write, keys, claims))
            for heard in (near, far):
                await heard.hear(lambda heard=heard: len(heard.appends) == 200)  # type: ignore[misc]
                assert [heard.log(key) for key in keys] == [expected] * 5

    async def test_every_end_disturbs(self, store: BaseStore) -> None:
        names = ["done", "error", "cancelled", "deleted", "lost"]
        keys = {name: replace(KEY, stream_id=name) for name in names}
        claims = {name: await start(store, key) for name, key in keys.items()}
        await store.append(keys["deleted"], claims["deleted"], 0, b"abc")
        async with self.another(store) as other, listening(store, *keys.values()) as (heard, _):
            await other.finalize(keys["done"], claims["done"], StreamStatus.DONE)
            await other.finalize(keys["error"], claims["error"], StreamStatus.ERROR)
            await other.cancel(keys["cancelled"])
            await other.delete(keys["deleted"])
            await other.reap(keys["lost"], claims["lost"].epoch, holder="ours")
            await heard.hear(lambda: set(heard.disturbances) == set(keys.values()))
            assert heard.appends == []

    async def test_a_cancel_and_a_delete_reach_feeds_that_do_not_watch(
        self, store: BaseStore
    ) -> None:
        """The producer's process does not watch its own streams."""
        cancelled, deleted = (replace(KEY, stream_id=name) for name in ("cancelled", "deleted"))
        await start(store, cancelled)
        await start(store, deleted)
        async with self.another(store) as other, listening(store, KEY) as (heard, _):
            await other.cancel(cancelled)
            await other.delete(deleted)
            await heard.hear(lambda: {cancelled, deleted} <= set(heard.disturbances))

    async def test_an_unwatched_stream_is_not_pushed_any_more(self, store: BaseStore) -> None:
        marker = replace(KEY, stream_id="marker")
        claim, marker_claim = await start(store), await start(store, marker)
        async with listening(store, KEY) as (heard, feed):
            feed.unwatch(KEY)
            feed.watch(marker)
            await heard.hear(lambda: marker in heard.disturbances)
            await store.append(KEY, claim, 0, b"unheard")
            await store.append(marker, marker_claim, 0, b"heard")
            await heard.hear(lambda: marker in {key for key, *_ in heard.appends})
            assert heard.log(KEY) == b""
            feed.unwatch(KEY)  # harmless

    async def test_a_stream_that_is_watched_again_is_confirmed_again(
        self, store: BaseStore
    ) -> None:
        claim = await start(store)
        async with listening(store, KEY) as (heard, feed):
            size = 0
            for pause in (0, 0.02):
                feed.unwatch(KEY)
                await asyncio.sleep(pause)
                heard.forget()
                feed.watch(KEY)
                await heard.hear(lambda: KEY in heard.disturbances)
                heard.forget()
                size = await store.append(KEY, claim, size, b"heard")
                await heard.hear(lambda: bool(heard.appends))

    async def test_a_closed_feed_is_silent(self, store: BaseStore) -> None:
        claim = await start(store)
        async with listening(store, KEY) as (closed, feed), listening(store, KEY) as (open_, _):
            await feed.aclose()
            await store.append(KEY, claim, 0, b"abc")
            await store.finalize(KEY, claim, StreamStatus.DONE)
            await open_.hear(lambda: bool(open_.disturbances))
            assert (closed.appends, closed.disturbances) == ([], [])

    # Scan.

    async def test_a_scan_keeps_to_tenant_and_generation(self, store: BaseStore) -> None:
        places = [("4", 1), ("4", 2), ("4", 12), ("42", 1), ("42", 2), ("_4-", 1)]
        for tenant, generation in places:
            for stream_id in ("a", "a:b", "g1"):
                key = StreamKey(tenant=tenant, generation=generation, stream_id=stream_id)
                await store.append(key, await start(store, key), 0, b"x")
        await store.set_control("4", generation=1)
        await store.revoke("4", "ada", keep=30)
        everything = {f"{t}/{g}/{s}" for t, g in places for s in ("a", "a:b", "g1")}
        assert await scanned(store) == everything
        assert await scanned(store, "4") == {n for n in everything if n.startswith("4/")}
        assert await scanned(store, "4", 1) == {"4/1/a", "4/1/a:b", "4/1/g1"}
        assert await scanned(store, None, 2) == {n for n in everything if "/2/" in n}
        for nobody in ("*", "?", "[0-9]", "4*", "5"):
            assert await scanned(store, nobody) == set()

    async def test_a_scan_meets_every_stream_that_is_there(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(300)]
        await asyncio.gather(*(start(store, key) for key in keys))
        met = set()
        async for key in store.scan("acme"):
            met.add(key)
            if key != keys[0]:
                await store.delete(key)
        assert met == set(keys)
        assert await scanned(store) == {"acme/1/s0"}

    # What governs many streams at once.

    async def test_a_tenant_nobody_governed_has_no_standing(self, store: BaseStore) -> None:
        assert await store.get_control("acme", "ada") == Control()

    async def test_generation_and_longest_lifetime_only_grow(self, store: BaseStore) -> None:
        async with self.another(store) as other:
            assert await store.set_control("acme", longest_ttl=60.5) == 1
            assert await other.set_control("acme", generation=3) == 3
            assert await store.set_control("acme", generation=2, longest_ttl=5) == 3
            expected = Control(generation=3, longest_ttl=60.5)
            assert await other.get_control("acme", "ada") == expected
            assert await store.get_control("acme", PUBLIC) == expected
            assert await store.get_control("acme", "ada", keep=60) == expected
            assert await store.get_control("acm", "ada", keep=60) == Control()
            assert await store.get_control("acm", "ada") == Control()

    async def test_the_override_of_a_lifetime_can_be_removed(self, store: BaseStore) -> None:
        await store.set_control("acme", generation=2, ttl=7.5)
        assert (await store.get_control("acme", "ada")).ttl == 7.5
        await store.set_control("acme", generation=3)
        assert (await store.get_control("acme", "ada")).ttl == 7.5
        await store.set_control("acme", ttl=0)
        assert await store.get_control("acme", "ada") == Control(generation=3)

    async def test_a_revocation_divides_old_streams_from_new_ones(self, store: BaseStore) -> None:
        old = (await store.acquire(KEY, Claim(), TERMS)).info
        first = await store.revoke("acme", "ada", keep=30)
        mark = await store.revoke("acme", "ada", keep=30)
        assert mark > first
        terms = replace(TERMS, seen_mark=mark)
        new = (await store.acquire(replace(KEY, stream_id="new"), Claim(), terms)).info
        control = await store.get_control("acme", "ada")
        assert control.revoked_at == mark
        assert not control.admits(old)
        assert control.admits(new)
        for tenant, owner in (("acme", "eve"), ("acme", PUBLIC), ("other", "ada")):
            assert await store.get_control(tenant, owner) == Control()

    async def test_a_revocation_is_kept_as_long_as_it_was_asked_to(self, store: BaseStore) -> None:
        await store.revoke("acme", PUBLIC, keep=self.short)
        assert (await store.get_control("acme", "public")).revoked_at is None
        assert (await store.get_control("acme", PUBLIC)).revoked_at is not None

        async def is_forgotten() -> bool:
            return (await store.get_control("acme", PUBLIC)).revoked_at is None

        await self.eventually(is_forgotten)

    async def test_who_did_not_see_a_revocation_is_barred_by_it(self, store: BaseStore) -> None:
        """It came between the look and the election, or the clocks of two servers differ."""
        first = await store.revoke("acme", "ada", keep=30)
        await store.revoke("acme", "ada", keep=30)
        late = (await store.acquire(KEY, Claim(), replace(TERMS, seen_mark=first))).info
        assert not (await store.get_control("acme", "ada")).admits(late)

    async def test_changes_of_control_reach_every_feed(self, store: BaseStore) -> None:
        async with self.another(store) as other, listening(store, KEY) as (heard, _):
            await other.revoke("revoked", "ada", keep=30)
            await other.set_control("rotated", generation=2)
            # A store of several servers may tell a change once for each, and "any" at any time.
            await heard.hear(lambda: {"revoked", "rotated"} <= set(heard.control_changes))
            await other.announce("purged")
            await other.announce(KEY)
            await heard.hear(
                lambda: "purged" in heard.control_changes and KEY in heard.disturbances
            )

    # Quotas.

    async def test_live_streams_of_a_tenant_are_limited(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(4)]
        ada, eve, joe, zoe = map(holding, keys)
        eve, joe, zoe = (
            replace(one, owner_digest=owner_digest(name))
            for one, name in ((eve, "eve"), (joe, "joe"), (zoe, "zoe"))
        )
        for one in (ada, eve, joe):
            await store.reserve(one, ttl=30)
            await store.reserve(one, ttl=30)  # not counted again
        error = await refusal(StreamLimitExceeded, store.reserve(zoe, ttl=30))
        assert (error.limit, error.value) == ("MAX_STREAMS", 3)
        await store.reserve(replace(zoe, key=replace(keys[3], tenant="other")), ttl=30)
        assert set(await store.live("acme")) == {ada, eve, joe}
        await store.release(ada)
        await store.release(ada)
        await store.reserve(zoe, ttl=30)
        assert set(await store.live("acme")) == {eve, joe, zoe}

    async def test_live_streams_of_an_owner_are_limited(self, store: BaseStore) -> None:
        keys = [replace(KEY, stream_id=f"s{number}") for number in range(4)]
        mine = [holding(key, owner="public") for key in keys]
        await store.reserve(mine[0], ttl=30)
        await store.reserve(mine[1], ttl=30)
        for _ in range(3):  # what was refused does not count
            error = await refusal(StreamLimitExceeded, store.reserve(mine[2], ttl=30))
            assert (error.limit, error.value) == ("MAX_STREAMS_PER_OWNER", 2)
        await store.reserve(holding(keys[2], owner=PUBLIC), ttl=30)
        assert set(await store.live("acme", mine[0].owner_digest)) == set(mine[:2])
        await store.release(mine[0])
        await refusal(StreamLimitExceeded, store.reserve(mine[3], ttl=30, others=1))
        await store.reserve(mine[3], ttl=30)

    async def test_of_concurrent_reservations_the_limit_is_let_through(
        self, store: BaseStore
    ) -> None:
        async with self.another(store) as other:
            answers = await asyncio.gather(
                *(
                    (store, other)[number % 2].reserve(
                        holding(replace(KEY, stream_id=f"s{number}"), owner=f"owner {number}"),
                        ttl=30,
                    )
                    for number in range(20)
                ),
                return_exceptions=True,
            )
        assert answers.count(None) == 3

    async def test_the_store_knows_that_it_has_quotas(self, store: BaseStore) -> None:
        assert store.has_quotas
        assert store.limits == self.limits

    # Processes.

    async def test_a_process_lives_until_its_lease_ends(self, store: BaseStore) -> None:
        table = store.processes
        first = await table.beat("ours", lease=30, position="")
        assert (first.is_new, first.is_judged, list(first.passed)) == (True, False, [])
        assert 29 < first.living["ours"] <= 30
        again = await table.beat("ours", lease=30, position=first.position)
        assert (again.is_new, again.is_gap) == (False, False)
        await table.beat("theirs", lease=30, position="")
        assert await table.fates(["ours", "theirs", "nobody"]) == [
            Fate.LIVING,
            Fate.LIVING,
            Fate.UNKNOWN,
        ]
        await table.beat("theirs", lease=self.short, position="")
        await self.pass_time(self.short + 0.05)
        assert await table.fates(["ours", "theirs"]) == [Fate.LIVING, Fate.ENDING]
        beat = await table.beat("ours", lease=30, position=first.position)
        assert set(beat.living) == {"ours"}
        assert list(beat.passed) == ["theirs"]

    async def test_only_a_living_process_holds_anything(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        assert await table.hold("ours", one) is False
        await table.beat("ours", lease=30, position="")
        assert await table.hold("ours", one) is True
        await table.leave("ours")  # it holds something, and stays
        assert await table.fates(["ours"]) == [Fate.LIVING]
        await table.drop("ours", one)
        await table.leave("ours")
        assert await table.fates(["ours"]) == [Fate.UNKNOWN]

    async def test_one_takes_over_what_a_dead_process_held_and_told(self, store: BaseStore) -> None:
        table, held, telling = store.processes, holding(), holding(epoch="ffff0000")
        await table.beat("dead", lease=30, position="")
        for one in (held, telling):
            await table.hold("dead", one)
        assert await table.move(telling, holder="dead", by="dead")
        assert await table.take("dead", by="ours", lease=30) is None  # it lives
        await table.beat("dead", lease=self.short, position="")
        await self.pass_time(self.short + 0.05)
        async with self.another(store) as other:
            taken = await table.take("dead", by="ours", lease=2)
            late = await other.processes.take("dead", by="theirs", lease=30)
            assert late is None
            assert taken is not None
            assert (list(taken.held), list(taken.telling)) == ([held], [telling])
            await self.pass_time(2.05)  # whoever took it died, too
            again = await other.processes.take("dead", by="theirs", lease=30)
            assert again is not None
            assert list(again.held) == [held]

    async def test_a_judged_process_is_told_so_and_tells_nothing(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        for name in ("frozen", "ours"):
            await table.beat(name, lease=self.short if name == "frozen" else 30, position="")
        await table.hold("frozen", one)
        await self.pass_time(self.short + 0.05)
        await table.take("frozen", by="ours", lease=30)
        assert (await table.beat("frozen", lease=30, position="")).is_judged
        assert await table.hold("frozen", one) is False
        assert await table.move(one, holder="frozen", by="frozen") is False
        for _ in range(2):  # also when the first answer was lost
            assert await table.move(one, holder="frozen", by="ours") is True
        await table.told(one, by="ours")
        await table.bury("frozen")
        assert await table.fates(["frozen"]) == [Fate.UNKNOWN]
        assert (await table.beat("frozen", lease=30, position="")).is_judged

    async def test_an_end_is_told_by_one(self, store: BaseStore) -> None:
        table, one = store.processes, holding()
        names = [f"p{number}" for number in range(6)]
        for name in names:
            await table.beat(name, lease=self.short if name == "p0" else 30, position="")
        await table.hold("p0", one)
        assert await table.move(one, holder="p0", by="p1") is False  # it lives
        await self.pass_time(self.short + 0.05)
        await table.take("p0", by="p1", lease=30)
        answers = await asyncio.gather(*(table.move(one, holder="p0", by=name) for name in names))
        assert answers.count(True) == 1
        assert await table.adopt(holding(epoch="ffff0000"), by="p1") is True
        assert await table.adopt(holding(epoch="ffff0000"), by="nobody") is False

    async def test_what_waits_for_a_process_is_taken_over_when_nobody_comes(
        self, store: BaseStore
    ) -> None:
        table, one, two = store.processes, holding(), holding(epoch="ffff0000")
        await table.beat("ours", lease=30, position="")
        holder = await table.park(one, seconds=self.short)
        claimed = await table.park(two, seconds=self.short)
        await table.drop(claimed, two)  # a process came
        assert await table.fates([holder, claimed]) == [Fate.ENDING, Fate.UNKNOWN]
        await self.pass_time(self.short + 0.05)
        assert list((await table.beat("ours", lease=30, position="")).passed) == [holder]
        taken = await table.take(holder, by="ours", lease=30)
        assert taken is not None
        assert list(taken.held) == [one]
