"""Answers by workers: the source that an order names, for views with `enqueue`.

The web process saves the question and puts the order on the queue; a worker asks the class for the
answer. All of it is in the table, so that the order has names only.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from ...process.threads import run_sync
from .answers import written
from .turns import Turn, turn_of

if TYPE_CHECKING:
    from .views import ChatView

__all__ = ["PATH", "path_of", "work"]

PATH = f"{__name__}.work"


def path_of(view: type["ChatView"]) -> str:
    """Return the dotted path by which a worker finds a class; raise ImportError without one."""
    path = f"{view.__module__}.{view.__qualname__}"
    if "." in view.__qualname__:
        raise ImportError(f"{path} is not at the top of its module, so no worker finds it.")
    return path


async def work(*, view: str, name: str, stream_id: str) -> Any:
    """Return the source of the answer that waits for this stream."""
    chat: ChatView = import_string(view)(name=name)
    turn: Turn | None = await run_sync(partial(turn_of, stream_id, chat.bounds))
    if turn is None:  # deleted meanwhile
        return ()
    source = partial(chat.answer, turn.conversation, turn.messages)
    return written(turn, source, interval=chat.save_interval)
