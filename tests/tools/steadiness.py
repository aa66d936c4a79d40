"""What makes a test red on a busy machine, as far as its source tells: it waits for a time."""

import ast
from collections.abc import Iterator

__all__ = ["hasty"]

SHORT_SECONDS = 5
SLEEPS = "a sleep that waits: see `eventually`, `until` and `pass_time` in tests.tools.waiting"
HURRIES = f"less than {SHORT_SECONDS} seconds: see `within` in tests.tools.waiting, or give more"

Loop = ast.For | ast.AsyncFor | ast.While
Function = ast.FunctionDef | ast.AsyncFunctionDef
Leaves = ast.Break | ast.Return | ast.Assert


def hasty(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and remedy of each sleep that waits for a state, and of each bound that is short.

    A sleep that paces is no fault: in a generator, in a `for`, or in a `while True` that only its
    cancellation ends.
    """
    yield from _hasty(ast.parse(source), paces=False)


def _hasty(node: ast.AST, *, paces: bool) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Call):
        yield from _judged(node, paces=paces)
    if isinstance(node, Function):
        paces = any(isinstance(one, ast.Yield) for one in ast.walk(node)) and not _is_fixture(node)
    elif isinstance(node, Loop):
        paces = paces or not isinstance(node, ast.While) or _is_endless(node)
    for child in ast.iter_child_nodes(node):
        yield from _hasty(child, paces=paces)


def _judged(call: ast.Call, *, paces: bool) -> Iterator[tuple[int, str]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "sleep" and not paces and _seconds(call) != 0:
        yield call.lineno, SLEEPS
    if name in ("timeout", "wait_for"):
        seconds = _seconds(call)
        if seconds is not None and seconds < SHORT_SECONDS:
            yield call.lineno, HURRIES


def _seconds(call: ast.Call) -> float | None:
    """Return the last thing a call is given, if that is a number in so many words."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)][-1:]
    value = given[0].value if given and isinstance(given[0], ast.Constant) else None
    return value if isinstance(value, int | float) else None


def _is_fixture(function: Function) -> bool:
    names = (ast.unparse(decorator) for decorator in function.decorator_list)
    return any("fixture" in name or "contextmanager" in name for name in names)


def _is_endless(loop: ast.While) -> bool:
    is_true = isinstance(loop.test, ast.Constant) and bool(loop.test.value)
    return is_true and not any(isinstance(one, Leaves) for one in ast.walk(loop))
