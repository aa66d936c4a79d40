"""Slots in the model: every order of two askers, every death, and many random lives.

The protocol without one of its parts has to break, or the model would see nothing.
"""

import os
from dataclasses import replace
from itertools import product

import pytest

from .slots import Asker, Broken, Rules, Slots, in_every_order, play

POLICIES = ("join", "replace", "refuse")
PAIRS = list(product(POLICIES, POLICIES))
IS_NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
STEPS = [7, 7] if IS_NIGHTLY else [5, 5]  # the rest in turns
LIVES = 100_000 if IS_NIGHTLY else 5_000


@pytest.mark.parametrize("policies", PAIRS, ids="-".join)
@pytest.mark.parametrize("ids", ["ab", "aa"])
@pytest.mark.parametrize("occupied", ["", "x"])
def test_two_askers_never_both_run(policies: tuple[str, str], ids: str, occupied: str) -> None:
    asked = list(zip(policies, ids, strict=True))
    for order in in_every_order(STEPS):
        slots = Slots(asked, Rules(), occupied=occupied)
        follow(slots, order)
        slots.settle()


@pytest.mark.parametrize("policies", PAIRS, ids="-".join)
@pytest.mark.parametrize("occupied", ["", "x"])
def test_after_a_death_at_any_step_the_slot_comes_free(
    policies: tuple[str, str], occupied: str
) -> None:
    asked = list(zip(policies, "ab", strict=True))
    for dies_after, order in product(range(8), in_every_order([5, 4])):
        slots = Slots(asked, Rules(), occupied=occupied)
        follow(slots, order, dies_after=dies_after)
        slots.settle()


def follow(slots: Slots, order: list[int], *, dies_after: int | None = None) -> None:
    """Step the askers in this order; the first of them dies after so many steps."""
    taken = 0
    for number in order:
        asker = slots.askers[number]
        if number == 0 and taken == dies_after:
            asker.die()
        if not asker.is_over:
            asker.step()
            taken += number == 0


def test_replace_against_one_that_finishes() -> None:
    """The end of the occupant comes at every step of whoever replaces it."""
    for ends_at in range(10):
        slots = Slots([("replace", "a")], Rules(), occupied="x")
        (asker,) = slots.askers
        for step in range(10):
            if step == ends_at:
                slots.world.end(1, "x")
            if not asker.is_over:
                asker.step()
        assert asker.answer == "produced"
        assert slots.world.running() == [asker.started]


def test_the_same_stream_id_is_no_obstacle() -> None:
    slots = Slots([("refuse", "x")], Rules(), occupied="x")
    slots.settle()
    assert [asker.answer for asker in slots.askers] == ["joined"]


@pytest.mark.parametrize("first", range(0, LIVES, LIVES // 10))
def test_random_lives_keep_the_promise(first: int) -> None:
    for seed in range(first, first + LIVES // 10):
        play(seed, Rules())


@pytest.mark.parametrize("part", ["confirms", "compares_start", "ends_first", "outlives"])
def test_a_protocol_without_one_of_its_parts_breaks(part: str) -> None:
    rules = replace(Rules(), **{part: False})
    with pytest.raises(Broken):
        try_everything(rules)


def try_everything(rules: Rules) -> None:
    """Let the first of two askers die at any step of any order; then live at random."""
    for dies_after, order in product(range(6), in_every_order([5, 5])):
        slots = Slots([("replace", "a"), ("join", "b")], rules)
        follow(slots, order, dies_after=dies_after)
        slots.settle()
    for seed in range(2_000):
        play(seed, rules)


def test_an_asker_that_joins_waits_for_one_that_is_not_elected_yet() -> None:
    slots = Slots([("replace", "a"), ("join", "b")], Rules())
    first, second = slots.askers
    for _ in range(2):
        first.step()  # it has taken the slot
    assert isinstance(second, Asker)
    for _ in range(6):
        second.step()
    assert not second.answer
    for asker in (first, second):
        while not asker.is_over:
            asker.step()
    assert [first.answer, second.answer] == ["produced", "joined"]
