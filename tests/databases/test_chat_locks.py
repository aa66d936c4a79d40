"""The rows of chats on a database that locks them: everybody takes the conversation first."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import Settings

from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.saving import AnswerEnd, save_end
from tests.ledger import ALIAS, open_database
from tests.postgres import Postgres
from tests.tools.waiting import until

CHAT = "resumable_streams_chat"

Session = psycopg.Connection[tuple[Any, ...]]


class ChatRouter:
    """The app of chats in a database of its own."""

    def db_for_write(self, model: Any, **named: Any) -> str | None:
        return ALIAS if model._meta.app_label == CHAT else None

    db_for_read = db_for_write


@pytest.fixture
def other(postgres_server: Postgres, settings: Settings, django_db_blocker: Any) -> Iterator[Any]:
    """Keep chats on PostgreSQL, and return the session of another process."""
    database = postgres_server.create(f"chats_{uuid4().hex}")
    with (
        django_db_blocker.unblock(),
        open_database(postgres_server.entry(database), settings),
        postgres_server.connect(database) as session,
    ):
        settings.DATABASE_ROUTERS = [ChatRouter()]
        call_command("migrate", CHAT, database=ALIAS, verbosity=0)
        yield session
    postgres_server.drop(database)


def running_answer() -> Message:
    conversation = Conversation.objects.create(owner_digest="x", key="c", running="chat-1")
    message: Message = Message.objects.create(
        conversation=conversation, key="a", role="assistant", status="running", stream_id="chat-1"
    )
    return message


def closing(act: partial[Any]) -> Any:
    try:
        return act()
    finally:
        connections.close_all()


def waits_for_a_lock(other: Session) -> bool:
    found = other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return found is not None and found[0] > 0


@pytest.mark.parametrize("change", ["DELETE FROM {}_message", "UPDATE {}_message SET base = 0"])
def test_an_end_that_is_saved_and_a_change_of_its_conversation_wait_for_each_other(
    other: Session, change: str
):
    """Deleted, or gone on with, as its answer ends: no deadlock, and each is done."""
    answer = running_answer()
    end = AnswerEnd(status="complete")
    with ThreadPoolExecutor(1) as threads:
        with other.transaction():
            other.execute(f"SELECT * FROM {CHAT}_conversation FOR UPDATE")
            saving = threads.submit(closing, partial(save_end, "chat-1", end))
            until(lambda: waits_for_a_lock(other))
            other.execute(change.format(CHAT))
        saving.result()
    assert not Conversation.objects.filter(running="chat-1").exists()
    assert not Message.objects.filter(pk=answer.pk, status="running").exists()
