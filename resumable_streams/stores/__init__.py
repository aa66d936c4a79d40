"""The home of the streams: the contract (`base`), the stores that keep it, and `make_store`."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils.module_loading import import_string

from ..conf import AliasSettings
from ..exceptions import InvalidStoreError
from .base import BaseStore

__all__ = ["make_store", "replaced_by"]

EXTRAS = {"redis": "redis", "hiredis": "redis"}
"""Which extra of this package installs a module that a store imports."""


def make_store(settings: AliasSettings) -> BaseStore:
    """Construct the store of an alias; raise InvalidStoreError if the settings do not fit it."""
    if _replacement is not None:
        return _replacement(
            alias=settings.alias,
            key_prefix=settings.key_prefix,
            location=settings.location,
            limits=settings.limits,
        )
    where = f"of the stream alias {settings.alias!r}"
    try:
        backend = import_string(settings.backend)
    except ImportError as error:
        raise InvalidStoreError(
            f"BACKEND {settings.backend!r} {where} cannot be imported. {_remedy(error)}".rstrip()
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, BaseStore)):
        raise InvalidStoreError(f"BACKEND {settings.backend!r} {where} is not a BaseStore.")
    options: dict[str, Any] = dict(settings.options)
    if settings.cache_alias is not None:
        options["cache_alias"] = settings.cache_alias
    ours = {
        "alias": settings.alias,
        "key_prefix": settings.key_prefix,
        "location": settings.location,
        "limits": settings.limits,
    }
    if ours.keys() & options:
        raise InvalidStoreError(f"OPTIONS {where} may not name {', '.join(ours)}.")
    given = {**ours, **options}
    try:
        inspect.signature(backend).bind(**given)
    except TypeError as error:
        raise InvalidStoreError(
            f"OPTIONS {where} do not fit {backend.__name__}: {error}."
        ) from None
    store: BaseStore = backend(**given)
    return store


_replacement: type[BaseStore] | None = None


@contextmanager
def replaced_by(store_class: type[BaseStore]) -> Iterator[None]:
    """Have every alias use a store of this class, whatever BACKEND and OPTIONS say; for tests."""
    global _replacement
    before, _replacement = _replacement, store_class
    try:
        yield
    finally:
        _replacement = before


def _remedy(error: ImportError) -> str:
    """Return how to install what could not be imported, if an extra of this package does."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS or not isinstance(error, ModuleNotFoundError):
        return ""
    return f"{module} is not installed: pip install 'django-resumable-streams[{EXTRAS[module]}]'."
