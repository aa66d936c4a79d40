"""Producers that use the ORM, in tests with a transaction: they share it."""

import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, connections, transaction
from django.test import AsyncClient, Client

from resumable_streams.process.threads import closing_what_it_opens
from resumable_streams.testing import isolated_streams, produced, transactions

from . import site

pytestmark = [
    pytest.mark.urls(site.__name__),
    pytest.mark.usefixtures("resumable_streams"),
    pytest.mark.django_db,
]


def in_a_thread(function: Any) -> Any:
    """Return what a function returns in a thread of its own, or raise what it raises."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


@pytest.mark.parametrize("address", ["/counting/", "/in-thread/"])
def test_a_producer_sees_the_rows_of_a_sync_test_and_the_test_sees_its_rows(
    address: str, client: Client
):
    site.play("a", "b")
    Group.objects.create(name="of the test")
    assert b"".join(client.post(address)) == b"a1b2"
    produced()
    assert Group.objects.count() == 3


@pytest.mark.parametrize("address", ["/counting/", "/in-thread/"])
async def test_a_producer_sees_the_rows_of_an_async_test_and_the_test_sees_its_rows(
    address: str, async_client: AsyncClient
):
    site.play("a", "b")
    await Group.objects.acreate(name="of the test")
    response: Any = await async_client.post(address)
    assert b"".join([part async for part in response]) == b"a1b2"
    assert await Group.objects.acount() == 3


@pytest.mark.parametrize("once_more", [1, 2])
def test_a_test_begins_without_the_rows_of_the_one_before(once_more: int):
    assert not Group.objects.exists()
    in_a_thread(lambda: Group.objects.create(name="left behind"))


def test_a_block_waits_until_another_thread_has_read_the_rows_of_its_insert(
    monkeypatch: pytest.MonkeyPatch,
):
    inserted, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr("time.sleep", lambda seconds: go_on.set())

    def insert() -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO auth_group (name) VALUES ('theirs') RETURNING id")
            inserted.set()
            go_on.wait(10)
            cursor.fetchall()

    thread = threading.Thread(target=insert)
    thread.start()
    inserted.wait(10)
    with transaction.atomic():
        go_on.set()  # of other databases the rows are read already
        Group.objects.create(name="ours")
    thread.join()
    assert Group.objects.count() == 2


def test_a_statement_waits_until_the_block_of_another_thread_is_left(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(transactions, "TURN_SECONDS", 0.1)
    inside, go_on = threading.Event(), threading.Event()

    def undo() -> None:
        with transaction.atomic():
            Group.objects.create(name="undone")
            inside.set()
            go_on.wait(10)
            transaction.set_rollback(True)

    thread = threading.Thread(target=undo)
    thread.start()
    inside.wait(10)
    with pytest.raises(OperationalError, match="Leave `atomic` before you wait"):
        Group.objects.create(name="too early")
    go_on.set()
    thread.join()
    Group.objects.create(name="kept")
    assert list(Group.objects.values_list("name", flat=True)) == ["kept"]


def test_blocks_of_many_threads_do_not_mix():
    def work(number: int) -> None:
        for turn in range(5):
            with transaction.atomic():
                Group.objects.create(name=f"{number} {turn}")
                with transaction.atomic():
                    Group.objects.create(name=f"{number} {turn} undone")
                    transaction.set_rollback(True)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Group.objects.count() == 20
    assert not Group.objects.filter(name__contains="undone").exists()


def test_who_waits_too_long_for_a_turn_is_told_for_whom(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transactions, "TURN_SECONDS", 0.1)
    with (
        transaction.atomic(),
        pytest.raises(OperationalError, match="thread MainThread has been inside"),
    ):
        in_a_thread(Group.objects.count)
    assert in_a_thread(Group.objects.count) == 0


def test_a_thread_that_closes_its_connections_leaves_that_of_the_test_open():
    Group.objects.create(name="of the test")
    in_a_thread(connections.close_all)
    in_a_thread(lambda: closing_what_it_opens(Group.objects.count))
    assert Group.objects.count() == 1
    assert not connection.needs_rollback


async def test_code_of_asgiref_runs_in_the_transaction_too():
    await sync_to_async(Group.objects.create)(name="of the test")
    assert await sync_to_async(lambda: connection.in_atomic_block)()


def test_nothing_of_it_stays():
    close = connection.close
    with isolated_streams():
        assert in_a_thread(lambda: connections["default"]) is connections["default"]
        assert connection.close != close
    assert connection.close == close
    assert connection.allow_thread_sharing  # by the fixture
    assert len(connection.execute_wrappers) == 1
    assert in_a_thread(Group.objects.count) == 0


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_each_thread_has_a_connection_of_its_own(client: Client):
    site.play("a", "b")
    Group.objects.create(name="of the test")
    assert b"".join(client.post("/counting/")) == b"a1b2"
    assert in_a_thread(lambda: connections["default"]) is not connections["default"]
    produced()
    assert Group.objects.count() == 3


async def test_the_end_of_a_request_leaves_the_connection_of_the_test_open(
    async_client: AsyncClient,
):
    site.play("a", "b")
    await Group.objects.acreate(name="of the test")
    response: Any = await async_client.post("/counting/")
    async for _ in response:
        break
    response.close()  # tells Django that the request has finished
    assert await Group.objects.filter(name="of the test").aexists()
