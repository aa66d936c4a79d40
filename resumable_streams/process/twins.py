"""Sync twins: the same verb for code without an event loop, named as Django does, and typed.

The coroutine function is `aresume`, its twin `resume`. One line makes it, so the two never differ.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from ..compat import running_loop
from .databases import close_idle
from .runtime import runtime

__all__ = ["sync_twin"]

P = ParamSpec("P")
T = TypeVar("T")


def sync_twin(
    function: Callable[P, Coroutine[Any, Any, T]], *, lets_go: bool = False
) -> Callable[P, T]:
    """Return the sync form of a coroutine function, or method, whose name begins with an `a`.

    It waits in the caller's thread while the home loop does the work, and raises
    SynchronousOnlyOperation where an event loop runs: there it would block the loop that it waits
    for. With `lets_go` it closes the thread's idle database connections before it waits, if it is
    given a `request`.
    """
    name = function.__name__.removeprefix("a")
    qualname = f"{function.__qualname__.rpartition('.')[0]}.{name}".lstrip(".")
    accept = signature(function).bind

    @wraps(function)
    def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        _refuse_in_a_loop(name, function.__name__)
        try:
            accept(*args, **kwargs)
        except TypeError as error:  # or it would name the other verb
            raise TypeError(f"{qualname}() {error}") from None
        if lets_go and kwargs.get("request") is not None:
            close_idle()
        return runtime.call_sync(function, *args, **kwargs)

    twin.__name__ = name
    twin.__qualname__ = qualname
    return twin


def _refuse_in_a_loop(name: str, twin: str) -> None:
    if running_loop() is not None:
        raise SynchronousOnlyOperation(
            f"You cannot call {name}() from an async context: use `await {twin}()`."
        )
