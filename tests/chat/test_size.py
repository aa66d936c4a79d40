"""A list and a history take a few milliseconds, however much there is: `make chats`."""

import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from resumable_streams.identifiers import owner_digest

from .site import Visitor

pytestmark = [
    pytest.mark.urls("tests.chat.site"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.benchmark,
]

OWNERS, CONVERSATIONS, MESSAGES = 10, 1_000, 100  # of each owner, of each conversation
MOST_MILLISECONDS = 20
TIMES = 200

FILL = """
INSERT INTO resumable_streams_chat_conversation
    (alias, tenant, chat, owner, owner_digest, key, title, attributes, created, updated)
SELECT 'default', 'default', 'chat', %s, %s, 'c' || n, 'Conversation ' || n, '{}', now(),
    now() - n * interval '1 minute'
FROM generate_series(1, %s) AS n
"""
FILL_MESSAGES = """
INSERT INTO resumable_streams_chat_message
    (conversation_id, key, role, parts, base, metadata, status, error_code, usage,
     earlier_usage, stream_id, created)
SELECT c.id, 'm' || n, CASE n %% 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
    jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat('word ', 80))), 0, '{}',
    'complete', '', '{}', '{}', CASE n %% 2 WHEN 0 THEN 'chat-' || c.id || '-' || n END, now()
FROM generate_series(1, %s) AS n, resumable_streams_chat_conversation AS c
ORDER BY n, c.id
"""


def owner(number: int) -> str:
    return f"user:{number}"


def first_owner(request: Any) -> str:
    return owner(1)


def fill() -> int:
    with connection.cursor() as cursor:
        for number in range(1, OWNERS + 1):
            name = owner(number)
            cursor.execute(FILL, [name, owner_digest(name), CONVERSATIONS])
        cursor.execute(FILL_MESSAGES, [MESSAGES])
        cursor.execute("ANALYZE")
        cursor.execute("SELECT count(*) FROM resumable_streams_chat_message")
        count: int = cursor.fetchone()[0]
    return count


async def milliseconds(act: Callable[[], Awaitable[object]]) -> list[float]:
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        await act()
        taken.append(1_000 * (time.perf_counter() - started))
    return taken


async def test_a_list_and_a_history_are_fast_among_a_million_messages(
    configure_memory: Any, closes_runtime: None, capsys: pytest.CaptureFixture[str]
):
    assert connection.vendor == "postgresql"
    configure_memory(OWNER=f"{__name__}.{first_owner.__name__}")
    assert await sync_to_async(fill)() == OWNERS * CONVERSATIONS * MESSAGES
    visitor = Visitor()
    page = (await visitor.get("")).json()
    assert len(page["conversations"]) == 50
    assert len((await visitor.history("c500"))["messages"]) == MESSAGES
    figures = {
        "list": await milliseconds(lambda: visitor.get("")),
        "next page": await milliseconds(lambda: visitor.get(f"?cursor={page['next']}")),
        "history": await milliseconds(lambda: visitor.get("/c500")),
    }
    lines = [
        f"{name}: p50 {median(taken):.1f} ms, p95 {quantiles(taken, n=20)[-1]:.1f} ms\n"
        for name, taken in figures.items()
    ]
    with capsys.disabled():
        sys.stdout.writelines(lines)
    assert all(median(taken) < MOST_MILLISECONDS for taken in figures.values())
