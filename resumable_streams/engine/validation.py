"""The settings of all aliases at the start of a server, which runs no system checks.

Nothing is connected here.
"""

import logging
import os
import re
import sys

from ..conf import (
    DEFAULT_OWNER,
    AliasSettings,
    get_aliases,
    get_settings,
    has_sessions,
    load_callable,
)
from ..formats import load_format
from ..stores import make_store

__all__ = ["refuse_wrong_settings", "worker_processes"]

logger = logging.getLogger("resumable_streams.start")

NO_SESSIONS = (
    "The stream alias %r uses the default OWNER, and MIDDLEWARE has no SessionMiddleware: visitors "
    "get 401. Add django.contrib.sessions.middleware.SessionMiddleware (and, for users, "
    "django.contrib.auth.middleware.AuthenticationMiddleware), or set OWNER."
)
MANY_MEMORIES = (
    "The stream alias %r keeps its streams in the memory of each process, and this server has %d "
    "of them: a stream is found (404 otherwise) by one process only. Set BACKEND to "
    "resumable_streams.stores.redis.RedisStore, or start one process."
)
_COMMAND = re.compile(r"(?:^| )(?:--workers|-w)[ =]?(\d+)")


def refuse_wrong_settings() -> None:
    """Raise InvalidStoreError for what cannot work, and warn of what rarely does."""
    for alias in get_aliases():
        settings = get_settings(alias)
        for name in ("owner", "tenant", "wait_until"):
            if not _is_being_imported(getattr(settings, name)):
                load_callable(settings, name)
        for path in settings.formats:
            if not _is_being_imported(path):
                load_format(alias, path)
        _warn(settings, outlives_process=make_store(settings).outlives_process)


def _is_being_imported(path: str | None) -> bool:
    """Return whether a path leads into a module that imports the application, and goes on then.

    It may define the function later. If it does not, the first use of the setting says so.
    """
    module = sys.modules.get((path or "").rpartition(".")[0])
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


def _warn(settings: AliasSettings, *, outlives_process: bool) -> None:
    if settings.owner == DEFAULT_OWNER and not has_sessions():
        logger.warning(NO_SESSIONS, settings.alias)
    if not outlives_process and (processes := worker_processes()) > 1:
        logger.warning(MANY_MEMORIES, settings.alias, processes)


def worker_processes() -> int:
    """Return how many processes this server was asked for, as far as its command tells.

    uvicorn, gunicorn, granian and hypercorn take `--workers`, the first two WEB_CONCURRENCY, too. A
    configuration file is not read.
    """
    asked = " ".join([os.environ.get("GUNICORN_CMD_ARGS", ""), *sys.argv[1:]])
    found = _COMMAND.findall(asked) or [os.environ.get("WEB_CONCURRENCY", "1")]
    return int(found[-1]) if found[-1].isdigit() else 1
