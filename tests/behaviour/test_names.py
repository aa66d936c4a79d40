"""Somebody with several names, as after a login: each verb looks once, and tells of it once."""

from collections.abc import Callable
from typing import Any

import pytest

from resumable_streams import PUBLIC, InvalidOwner, Role, StreamDoesNotExist, StreamManager
from resumable_streams.control import revoke
from resumable_streams.engine import get_engine
from resumable_streams.signals import owner_checked, stream_acquired, stream_resumed
from tests.tools.readers import read_all
from tests.tools.sources import finished

Hear = Callable[..., list[dict[str, Any]]]

NAMES = ("user:1", "session:a")


async def written(manager: StreamManager, owner: Any = "session:a") -> None:
    await read_all(await manager.arun("chat", finished([b"0123456789"]), owner=owner))


def told(heard: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(one["operation"], one["outcome"], one["owner"]) for one in heard]


@pytest.mark.parametrize("verb", ["status", "resume", "require_resume", "sign", "cancel", "delete"])
async def test_a_stream_from_before_the_login_is_not_foreign_to_its_owner(
    manager: StreamManager, hear: Hear, verb: str
):
    await written(manager)
    heard = hear(owner_checked)
    assert await getattr(manager, "a" + verb)("chat", owner=NAMES)
    assert told(heard) == [(verb.removeprefix("require_"), "match", "session:a")]


async def test_a_stream_from_before_the_login_is_joined_by_its_owner(
    manager: StreamManager, hear: Hear
):
    await written(manager)
    heard = hear(owner_checked, stream_acquired)
    reader = await manager.arun("chat", [b"another"], owner=NAMES)
    assert (reader.role, reader.info.owner) == (Role.CONSUMER, "session:a")
    assert await read_all(reader) == b"0123456789"
    assert [one["owner"] for one in heard] == ["session:a", "session:a"]
    with pytest.raises(StreamDoesNotExist):
        await manager.arun("chat", [b"another"], owner=("user:1", "session:other"))
    await revoke("default", "default", "session:a")
    again = await manager.arun("chat", [b"another"], owner=NAMES)
    assert (again.role, again.info.owner) == (Role.PRODUCER, "user:1")
    assert await read_all(again) == b"another"


async def test_a_resume_is_told_once_with_its_offset(manager: StreamManager, hear: Hear):
    await written(manager)
    heard = hear(stream_resumed)
    reader = await manager.arequire_resume("chat", owner=list(NAMES), offset=4)
    assert [(one["owner"], one["offset"]) for one in heard] == [("session:a", 4)]
    assert await read_all(reader) == b"456789"


@pytest.mark.parametrize("owner", ["session:a", "user:1", "session:other"])
async def test_whoever_asks_looks_once(
    manager: StreamManager, monkeypatch: pytest.MonkeyPatch, owner: str
):
    await written(manager, owner)
    store, looks = get_engine("default").store, []
    status = store.status

    async def counted(keys: Any) -> Any:
        looks.append(keys)
        return await status(keys)

    monkeypatch.setattr(store, "status", counted)
    await manager.aresume("chat", owner=NAMES)
    assert len(looks) == 1


@pytest.mark.parametrize("stream_id", ["chat", "missing"])
async def test_what_is_nobodys_of_them_is_told_once_in_the_first_name(
    manager: StreamManager, hear: Hear, stream_id: str
):
    await written(manager, "user:2")
    heard = hear(owner_checked)
    assert await manager.aresume(stream_id, owner=NAMES) is None
    with pytest.raises(StreamDoesNotExist):
        await manager.asign(stream_id, owner=NAMES)
    outcome = "foreign" if stream_id == "chat" else "missing"
    assert told(heard) == [("resume", outcome, "user:1"), ("sign", outcome, "user:1")]


async def test_each_name_is_revoked_by_itself(manager: StreamManager, hear: Hear):
    await written(manager)
    await revoke("default", "default", "user:1")
    assert await manager.astatus("chat", owner=NAMES)
    await revoke("default", "default", "session:a")
    heard = hear(owner_checked)
    assert await manager.astatus("chat", owner=NAMES) is None
    assert told(heard) == [("status", "revoked", "session:a")]


async def test_a_public_stream_is_read_by_all_and_ended_by_nobody_of_them(manager: StreamManager):
    await written(manager, PUBLIC)
    assert await manager.astatus("chat", owner=NAMES)
    assert await manager.acancel("chat", owner=NAMES) is None
    assert await manager.adelete("chat", owner=(*NAMES, PUBLIC))


@pytest.mark.parametrize("owner", [(), [], None, ("user:1", ""), ("user:1", None), {"user:1"}])
async def test_names_are_at_least_one_and_all_are_owners(manager: StreamManager, owner: Any):
    for verb in (manager.aresume, manager.astatus, manager.acancel, manager.adelete, manager.asign):
        with pytest.raises(InvalidOwner):
            await verb("chat", owner=owner)
