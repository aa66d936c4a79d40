"""The readiness of this process: it does not drain, and its stores answer.

Strangers may ask as often as they like, so callers at the same time share one question to a store,
and nobody waits for longer than ANSWER_SECONDS. The log tells a cause once a minute.
"""

import asyncio
import logging
from collections.abc import Sequence

from ..exceptions import Diagnosis, InvalidStoreError, StoreUnavailable
from ..identifiers import DEFAULT_TENANT
from ..process.runtime import runtime
from ..stores.outages import log_outage
from ..types import PUBLIC
from .connection import open_store

__all__ = ["ANSWER_SECONDS", "why_unready"]

logger = logging.getLogger("resumable_streams.health")

ANSWER_SECONDS = 2.0

_questions: dict[str, asyncio.Task[str]] = {}  # on the home loop only


async def why_unready(aliases: Sequence[str]) -> str:
    """Return why this process should get no requests, without details; "" if it should."""
    if runtime.is_draining:
        return "this process is draining"
    answers = await asyncio.gather(*(runtime.call(_ask, alias) for alias in aliases))
    return ", ".join(filter(None, answers))


async def _ask(alias: str) -> str:
    question = _questions.get(alias)
    # Another loop's is what a fork, or the end of that loop, has left behind.
    if question is None or question.done() or question.get_loop() is not asyncio.get_running_loop():
        name = f"resumable_streams.readiness {alias}"
        question = _questions[alias] = asyncio.create_task(_silence_of(alias), name=name)
    # A caller that leaves does not end the question of the others, which ends soon anyhow.
    return await asyncio.shield(question)


async def _silence_of(alias: str) -> str:
    """Ask the store of an alias for something small, as every request does."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS), open_store(alias) as store:
            await store.get_control(DEFAULT_TENANT, PUBLIC)
    except StoreUnavailable as error:
        log_outage(error)
    except TimeoutError:
        words = f"no answer in {ANSWER_SECONDS:g} seconds"
        log_outage(StoreUnavailable(alias, diagnosis=Diagnosis(words=words)))
    except InvalidStoreError as error:
        logger.error("Not ready: %s", error)
    else:
        return ""
    return f"the stream store {alias!r} does not answer"
