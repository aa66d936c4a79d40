"""Appends without a task, and what makes a stream leave that path and come back to it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from resumable_streams import StreamManager, StreamReader
from resumable_streams.engine import get_engine
from resumable_streams.exceptions import StreamFailed
from resumable_streams.formats.items import ItemEncoder
from resumable_streams.process.runtime import runtime
from resumable_streams.producing.appender import Appender
from resumable_streams.reading.tail import Tail
from resumable_streams.signals import stream_appended
from resumable_streams.stores.base import BaseStore, PendingAppend
from resumable_streams.stores.memory import MemoryStore
from resumable_streams.stores.redis import RedisStore
from resumable_streams.types import ErrorCode
from tests.tools.readers import read_all, read_until
from tests.tools.sources import Tap, produced
from tests.tools.streams import Configure
from tests.tools.waiting import eventually

STORES: tuple[type[BaseStore], ...] = (MemoryStore, RedisStore)


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the appends of each path."""
    counted: Counter[str] = Counter()

    def count(store: type[BaseStore], name: str) -> None:
        original = getattr(store, name)

        def counting(self: BaseStore, *arguments: Any, **named: Any) -> Any:
            counted[name] += 1
            return original(self, *arguments, **named)

        monkeypatch.setattr(store, name, counting)

    for store in STORES:
        for name in ("append", "begin_append"):
            count(store, name)
    return counted


class Around(PendingAppend):
    """An append of the package, whose answers somebody else hears."""

    def __init__(self, append: PendingAppend, hear: Callable[[PendingAppend, bool], None]):
        self.append = append
        self._hear = hear

    def take(self) -> tuple[int, bytes, int] | None:
        return self.append.take()

    def answered(self, is_stored: bool) -> None:
        self._hear(self.append, is_stored)


@pytest.fixture
def hear_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Return a function that has another one hear the answers of both stores first."""

    def put(hear: Callable[[PendingAppend, bool], None]) -> None:
        for store in STORES:
            original = store.begin_append

            def begin(
                self: BaseStore, key: Any, claim: Any, append: Any, original: Any = original
            ) -> bool:
                begun: bool = original(self, key, claim, Around(append, hear))
                return begun

            monkeypatch.setattr(store, "begin_append", begin)

    return put


async def give(tap: Tap, reader: StreamReader, *chunks: bytes) -> None:
    """Give chunks, each once the one before has been read."""
    for chunk in chunks:
        tap.give(chunk)
        assert await read_until(reader, reader.offset + len(chunk)) == chunk


async def rest_of(reader: StreamReader) -> tuple[bytes, str]:
    """Return what a reader gets until its stream fails, and the code of that."""
    data = b""
    try:
        async for part in reader:
            data += part
    except StreamFailed as failure:
        return data, failure.code
    return data, ""


async def test_only_the_first_bytes_take_a_task(
    manager: StreamManager, paths: Counter[str]
) -> None:
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a", b"b", b"c", b"d")
    assert paths == {"append": 1, "begin_append": 3}
    tap.end()
    assert await read_all(reader) == b""
    assert paths == {"append": 1, "begin_append": 3}


async def test_receivers_of_each_append_may_come_and_go(
    manager: StreamManager, paths: Counter[str]
) -> None:
    told: list[bytes] = []

    async def hear(size: int, **named: Any) -> None:
        told.append(b"." * size)

    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a", b"b")
    stream_appended.connect(hear)
    try:
        await give(tap, reader, b"cc", b"d")
        await eventually(lambda: told == [b"..", b"."])
    finally:
        stream_appended.disconnect(hear)
    paths.clear()
    await give(tap, reader, b"e", b"f", b"g")
    assert paths["begin_append"] >= 2
    tap.end()
    assert await read_all(reader) == b""


async def test_sync_receivers_are_told_of_each_append_on_this_path(
    manager: StreamManager, paths: Counter[str], hear: Any
) -> None:
    appends = hear(stream_appended)
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a", b"bb", b"c")
    await eventually(lambda: len(appends) == 3)
    assert [(one["offset"], one["size"], one["chunks"]) for one in appends] == [
        (0, 1, 1),
        (1, 2, 1),
        (3, 1, 1),
    ]
    assert {(one["stream_id"], one["owner"]) for one in appends} == {("s", "a")}
    assert paths == {"append": 1, "begin_append": 2}


asked_by: ContextVar[str] = ContextVar("asked_by")


async def test_a_receiver_of_this_path_runs_in_the_context_of_the_producer(
    manager: StreamManager,
) -> None:
    found: list[str] = []

    def look(**named: Any) -> None:
        found.append(asked_by.get("nobody"))

    stream_appended.connect(look)
    asked_by.set("the view")
    try:
        tap = Tap()
        reader = await manager.arun("s", tap, owner="a")
        await give(tap, reader, b"a", b"b", b"c")
        await eventually(lambda: len(found) == 3)
    finally:
        stream_appended.disconnect(look)
    assert found == [found[0]] * 3


@pytest.mark.parametrize(("hook_errors", "code"), [("raise", ErrorCode.HOOK_FAILED), ("log", "")])
async def test_what_a_receiver_of_this_path_raises_goes_where_hook_errors_says(
    configure: Configure, manager: StreamManager, hook_errors: str, code: str
) -> None:
    configure(HOOK_ERRORS=hook_errors)

    def fail(offset: int, **named: Any) -> None:
        if offset:
            raise ValueError("a mistake of the site")

    stream_appended.connect(fail)
    try:
        tap = Tap()
        reader = await manager.arun("s", tap, owner="a")
        await give(tap, reader, b"a")
        tap.give(b"b")
        tap.end()
        assert await rest_of(reader) == (b"b", code)
    finally:
        stream_appended.disconnect(fail)


async def test_an_append_whose_answer_is_lost_is_made_good_with_a_task(
    manager: StreamManager, paths: Counter[str], hear_answers: Any
) -> None:
    hear_answers(lambda append, is_stored: append.answered(False))
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a", b"b", b"c")
    tap.end()
    assert await read_all(reader) == b""
    assert reader.info.entries == 3  # what was there already was not counted again
    assert paths["append"] == 3


async def test_an_append_keeps_its_offset_when_it_is_made_good(
    manager: StreamManager, hear_answers: Any
) -> None:
    """A look at the stream finds its bytes before their answer comes, or is found to be lost."""
    late: list[PendingAppend] = []
    hear_answers(lambda append, is_stored: late.append(append))
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a")
    tap.give(b"b")
    await eventually(lambda: late)
    engine = get_engine("default")
    tail = engine.hub.open(reader.info, reader._key)
    tail.learn(await engine.store.look(tail.key))
    assert tail.window.end == 2
    late[0].answered(False)
    tap.end()
    assert await read_all(reader) == b"b"
    assert (reader.info.size, reader.info.entries) == (2, 2)


async def test_only_what_was_sent_before_has_less_patience_left(
    manager: StreamManager, hear_answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []
    append = Appender.append

    async def count(self: Appender, chunks: list[bytes], **named: Any) -> None:
        spent.append(named["spent"])
        if len(spent) == 2:
            stream_appended.connect(wait)
        await append(self, chunks, **named)

    async def wait(**named: Any) -> None:
        pass

    monkeypatch.setattr(Appender, "append", count)
    hear_answers(lambda append, is_stored: append.answered(False))
    tap = Tap()
    try:
        reader = await manager.arun("s", tap, owner="a")
        await give(tap, reader, b"a", b"b", b"c", b"d")
    finally:
        stream_appended.disconnect(wait)
    assert spent[1] > 0
    assert [spent[0], *spent[2:]] == [0.0, 0.0, 0.0]


async def test_an_encoder_may_return_what_is_like_bytes(
    manager: StreamManager, paths: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ItemEncoder, "text", lambda encoder, text: bytearray(text.encode()))
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    for text in "abc":
        tap.give(text)
        assert await anext(reader) == text.encode()
    tap.end()
    assert await read_all(reader) == b""
    assert paths["append"] == 1


@pytest.mark.parametrize("store", STORES)
async def test_a_store_that_changes_append_alone_is_asked_for_each(
    configure_memory: Configure,
    configure_redis: Configure,
    closes_runtime: None,
    monkeypatch: pytest.MonkeyPatch,
    store: type[BaseStore],
) -> None:
    appended: list[bytes] = []

    class Changed(store):  # type: ignore[misc,valid-type]
        async def append(
            self, key: Any, claim: Any, offset: int, data: bytes, *, chunks: int = 1
        ) -> int:
            appended.append(data)
            size: int = await super().append(key, claim, offset, data, chunks=chunks)
            return size

    monkeypatch.setattr("tests.behaviour.test_fast_path.Changed", Changed, raising=False)
    configure = configure_redis if store is RedisStore else configure_memory
    configure(BACKEND="tests.behaviour.test_fast_path.Changed")
    tap = Tap()
    reader = await StreamManager().arun("s", tap, owner="a")
    await give(tap, reader, b"a", b"b", b"c")
    assert appended == [b"a", b"b", b"c"]


async def test_a_store_that_begins_nothing_is_complete(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in STORES:
        monkeypatch.setattr(store, "begin_append", BaseStore.begin_append)
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a", b"b", b"c")
    tap.end()
    assert await read_all(reader) == b""
    assert reader.info.entries == 3


async def test_a_late_answer_of_a_stream_that_was_interrupted_changes_nothing(
    manager: StreamManager, hear_answers: Any
) -> None:
    late: list[PendingAppend] = []
    hear_answers(lambda append, is_stored: late.append(append))
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a")
    tap.give(b"b")
    await eventually(lambda: late)
    for task in runtime._tasks:  # as a drain does
        task.cancel()
    await produced()
    late[0].answered(True)
    assert await rest_of(reader) == (b"b", ErrorCode.INTERRUPTED)  # once, from the store


async def test_a_fault_on_this_path_ends_the_stream(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback has nobody who would see its exception: the stream would hang."""
    original = Tail.push

    def push(tail: Tail, offset: int, data: bytes, appended_at: float = 0.0) -> None:
        if offset:
            raise ValueError("a mistake of ours")
        original(tail, offset, data, appended_at)

    monkeypatch.setattr(Tail, "push", push)
    tap = Tap()
    reader = await manager.arun("s", tap, owner="a")
    await give(tap, reader, b"a")
    tap.give(b"b")
    with pytest.raises(StreamFailed):
        await read_all(reader)


async def test_chunks_of_one_turn_leave_together(
    redis_manager: StreamManager, paths: Counter[str]
) -> None:
    go = asyncio.Event()

    async def source() -> Any:
        yield b"first"
        await go.wait()
        for number in range(1_000):
            yield b"%d," % number

    reader = await redis_manager.arun("s", source, owner="a")
    assert await anext(reader) == b"first"
    go.set()
    assert await read_all(reader) == b"".join(b"%d," % number for number in range(1_000))
    assert paths == {"append": 1, "begin_append": 1}
    assert reader.info.entries == 1_001
