"""Every verb is there twice: `arun` for async code, `run` for sync code."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from resumable_streams import StreamManager
from resumable_streams.contrib import celery

VERBS = [
    name
    for name, found in inspect.getmembers(StreamManager, inspect.iscoroutinefunction)
    if not name.startswith("_")
]
PAIRS = [(getattr(StreamManager, name[1:]), getattr(StreamManager, name)) for name in VERBS]
PAIRS.append((celery.enqueue, celery.aenqueue))


def test_every_verb_of_the_streams_is_a_pair():
    assert VERBS == [
        "aactive",
        "aaudit",
        "acancel",
        "acollect",
        "adelete",
        "adoctor",
        "aenqueue",
        "alist",
        "apurge",
        "arequire_resume",
        "aresume",
        "aretire",
        "arevoke",
        "arotate",
        "arun",
        "asign",
        "astatus",
    ]


@pytest.mark.parametrize(("twin", "verb"), PAIRS, ids=lambda found: found.__qualname__)
def test_a_twin_has_its_own_name_and_the_signature_and_docstring_of_its_verb(
    twin: Callable[..., Any], verb: Callable[..., Any]
):
    assert "a" + twin.__name__ == verb.__name__
    assert twin.__qualname__.rpartition(".")[0] == verb.__qualname__.rpartition(".")[0]
    assert inspect.signature(twin) == inspect.signature(verb)
    assert twin.__doc__ == verb.__doc__
    assert not inspect.iscoroutinefunction(twin)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda streams: streams.status("chat"), r"\.status\(\) missing a required.*'owner'"),
        (
            lambda streams: streams.resume("chat", owner="a", ofset=1),
            r"\.resume\(\) got an unexpected keyword argument 'ofset'",
        ),
    ],
    ids=["missing", "misspelt"],
)
def test_a_twin_names_itself_when_its_arguments_are_wrong(
    memory_manager: StreamManager, call: Callable[[Any], Any], message: str
):
    with pytest.raises(TypeError, match=message):
        call(memory_manager)


async def test_a_twin_refuses_to_block_the_loop_it_would_wait_for(memory_manager: StreamManager):
    with pytest.raises(SynchronousOnlyOperation, match=r"use `await astatus\(\)`"):
        memory_manager.status("chat", owner="a")
    status = sync_to_async(memory_manager.status)
    assert await status("chat", owner="a") is None
