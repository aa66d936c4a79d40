"""System checks: everything that is wrong with RESUMABLE_STREAMS, found at start."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from .conf import SETTING, AliasSettings, get_aliases, get_raw, get_settings, problems
from .engine import make_store
from .exceptions import InvalidStoreError

__all__ = ["check_backends", "check_callables", "check_settings"]


@register
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E007: what `conf` finds wrong."""
    return [
        Error(problem.message, hint=problem.hint, id=f"resumable_streams.{problem.id}")
        for problem in problems(get_raw())
    ]


def _usable() -> list[AliasSettings]:
    """Return the aliases; none where check_settings has something to say already."""
    if any(problems(get_raw())):
        return []
    return [get_settings(alias) for alias in get_aliases()]


@register
def check_backends(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E008: a backend that cannot be made with what it is given; nothing is connected."""
    found: list[CheckMessage] = []
    for settings in _usable():
        try:
            make_store(settings)
        except InvalidStoreError as error:
            found.append(
                Error(
                    str(error),
                    hint=f"Correct {SETTING}[{settings.alias!r}].",
                    id="resumable_streams.E008",
                )
            )
    return found


@register
def check_callables(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E009: OWNER, TENANT or WAIT_UNTIL is not a callable that can be imported."""
    return [
        Error(
            f"{name} {path!r} of the stream alias {settings.alias!r} is not a callable to import.",
            hint="Name a module-level function by its dotted path.",
            id="resumable_streams.E009",
        )
        for settings in _usable()
        for name, path in (
            ("OWNER", settings.owner),
            ("TENANT", settings.tenant),
            ("WAIT_UNTIL", settings.wait_until),
        )
        if path is not None and not _is_callable(path)
    ]


def _is_callable(path: str) -> bool:
    try:
        return callable(import_string(path))
    except ImportError:
        return False
