"""Turns that are begun at once, each in a thread with a connection of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from resumable_streams.contrib.chat.models import Conversation, Message
from resumable_streams.contrib.chat.places import Place
from resumable_streams.contrib.chat.questions import Question
from resumable_streams.contrib.chat.turns import Newest, Turn, begin

from .site import text

AT_ONCE = 2  # of a pool of four; other threads of the suite may hold the rest
ROUNDS = 10

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(act: Callable[[int], Turn]) -> list[Turn]:
    """Call `act` in several threads at the same moment."""
    barrier = Barrier(AT_ONCE)

    def run(number: int) -> Turn:
        try:
            connections["default"].ensure_connection()
            barrier.wait(timeout=30)
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(run, range(AT_ONCE)))


@pytest.mark.parametrize("same", [True, False], ids=["one question", "several questions"])
def test_of_turns_at_once_one_is_begun_and_the_others_find_it(same: bool):
    place = Place(alias="default", chat="chat", tenant="default", owners=("ada",))
    connections.close_all()  # a pool of four has one for each thread
    for number in range(ROUNDS):

        def ask(thread: int, key: str = f"c{number}") -> Turn:
            asked = "q" if same else f"q{thread}"
            question = Question(conversation=key, key=asked, parts=text("Why?"))
            return begin(place.begin(key), question, last=Newest(messages=100), title="")

        turns = at_once(ask)
        assert sorted(turn.is_new for turn in turns) == [False] * (AT_ONCE - 1) + [True]
        assert len({turn.answer.pk for turn in turns}) == 1
        others = [turn.is_same for turn in turns if not turn.is_new]
        assert others == [same] * (AT_ONCE - 1)
    assert Conversation.objects.count() == ROUNDS
    assert Message.objects.count() == 2 * ROUNDS
