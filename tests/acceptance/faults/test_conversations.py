"""Two hundred chats at once with random faults: every question and every answered word is saved."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.tools.waiting import eventually, pass_time

from ..talks import COUNT, LEASE, WORDS, Talk, client_of, outcome, start, text_of
from .load import Verdict
from .report import Report

__all__ = ["start"]

CHATS = 200


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_two_hundred_conversations_with_random_faults_keep_every_word(
    start: Any, report: Report
) -> None:
    """Clients leave or stop, providers fail, and one of two processes is killed meanwhile."""
    chance = random.Random(11)
    doomed, other = start(), start()
    async with client_of(doomed) as there, client_of(other) as here:
        talks = [Talk(chance.choice([there, here]), f"c{number}") for number in range(CHATS)]

        async def hold(talk: Talk) -> None:
            fate = chance.choice(["leave", "stop", "fail", "read", "read"])
            words = chance.randrange(1, COUNT) if fate in ("leave", "stop") else None
            await pass_time(chance.random() * 2)
            try:
                await talk.ask(words, every=0.1, **({"fail": 1} if fate == "fail" else {}))
                if fate == "stop":
                    await talk.client.post(f"/api/chat/{talk.key}/stop")
            except httpx.TransportError:
                assert talk.client is there  # its process was killed

        held = asyncio.gather(*map(hold, talks))
        await pass_time(4)
        await eventually(lambda: sum(bool(talk.read) for talk in talks) > CHATS / 2)
        doomed.kill()
        killed = time.monotonic()
        await held
        verdict = Verdict(0.0, 0, 0, 0, Counter())
        for talk in talks:
            messages = await talk.history(here)
            if not messages:  # killed before it was asked
                assert (talk.client, talk.read) == (there, "")
                continue
            answer = await talk.ended(here)
            judge(talk, answer, verdict)
        verdict.seconds = time.monotonic() - killed
    report.put(
        f"{CHATS} chats, 1 of 2 processes killed (lease {LEASE} s)",
        "Redis, SQLite",
        verdict,
    )
    assert (verdict.lost, verdict.wrong) == (0, 0)
    assert verdict.ends.total() > CHATS / 2


def judge(talk: Talk, answer: dict[str, Any], verdict: Verdict) -> None:
    """Compare what was read with what is saved, which is a part of the whole, and nothing twice."""
    assert verdict.lost is not None
    assert verdict.wrong is not None
    status, code = outcome(answer)
    verdict.ends[code or status] += 1
    verdict.lost += talk.lacks(answer)
    verdict.wrong += not WORDS.startswith(text_of(answer))
