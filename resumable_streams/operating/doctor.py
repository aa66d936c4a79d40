"""The doctor: an examination of the project and of each alias, for people of the site.

Each part has a time limit, and a part that fails becomes an observation: none keeps another from
its answer. Nothing is changed.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import fields, replace
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.core.checks import ERROR, WARNING, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseTrouble
from django.db import connections, router
from django.db.migrations.loader import MigrationLoader
from django.utils.module_loading import import_string

from ..conf import (
    DEFAULT_OWNER,
    AliasSettings,
    get_aliases,
    get_raw,
    get_settings,
    has_sessions,
    problems,
    project_setting,
)
from ..control.saved import in_database
from ..exceptions import InvalidStoreError
from ..process.green import is_green
from ..stores import make_store
from ..types import Observation, Verdict
from .connection import open_store

__all__ = ["examine"]

PART_SECONDS = 10.0  # three questions to a store, one after the other, take 9 at most

APP = "resumable_streams"  # the label of the app, and the tag of its checks

USER_MIDDLEWARE = "django.contrib.auth.middleware.AuthenticationMiddleware"

# The store tells its address itself; a location, and options, may hold passwords.
UNTOLD = {"alias", "backend", "location", "options", "debug"}

Observations = Collection[Observation]


async def examine(aliases: Sequence[str] | None = None) -> list[Observation]:
    """Return all observations, those about the project first. Call it on the home loop."""
    parts = [_attempt(check, _in_thread(part)) for check, part in PROJECT.items()]
    parts += [_of_alias(alias) for alias in (get_aliases() if aliases is None else aliases)]
    return [one for found in await asyncio.gather(*parts) for one in found]


async def _in_thread(part: Callable[[], Observations]) -> Observations:
    """Await sync code in a thread of its own, which keeps no process alive if it hangs."""
    if is_green():
        return await in_database(part)
    outcome: Future[Observations] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            try:
                found = part()
            finally:
                connections.close_all()
            outcome.set_result(found)
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="resumable_streams.doctor", daemon=True).start()
    return await asyncio.wrap_future(outcome)


async def _attempt(check: str, part: Any, alias: str = "") -> Observations:
    """Await one part; whatever goes wrong is an observation."""
    try:
        async with asyncio.timeout(PART_SECONDS):
            found: Iterable[Observation] = await part
            return [replace(one, alias=alias) for one in found]
    except TimeoutError:
        message = f"There was no answer in {PART_SECONDS:g} seconds."
    except Exception as error:  # of a store, a check or a middleware of the project's own
        message = f"This could not be found out: {type(error).__name__}."
    return [Observation(check=check, verdict=Verdict.UNKNOWN, message=message, alias=alias)]


# --- An alias -----------------------------------------------------------------------------------


async def _of_alias(alias: str) -> Observations:
    in_force = await asyncio.to_thread(_in_force, alias)  # it may import the backend
    if in_force.verdict is Verdict.FAULT:
        return [in_force]
    return [in_force, *await _attempt("store", _of_store(alias), alias)]


async def _of_store(alias: str) -> Observations:
    async with open_store(alias) as store:
        return await store.examine()


def _in_force(alias: str) -> Observation:
    """Tell the settings that differ from their defaults, without those that may hold a secret."""
    try:
        settings = get_settings(alias)
        make_store(settings)
    except InvalidStoreError as error:
        return _fault("settings", str(error), "Correct RESUMABLE_STREAMS.", alias=alias)
    defaults = AliasSettings(alias=settings.alias)
    changed = [
        f"{one.name.upper()} {getattr(settings, one.name)!r}"
        for one in fields(settings)
        if one.name not in UNTOLD and getattr(settings, one.name) != getattr(defaults, one.name)
    ]
    options = [f"OPTIONS {', '.join(map(str, settings.options))}"] if settings.options else []
    backend = settings.backend.rpartition(".")[2]
    words = ", ".join([backend, *changed, *options, "all others as by default"])
    return _fine("settings", f"{words}.", alias=settings.alias)


# --- The project --------------------------------------------------------------------------------


def _usable() -> list[AliasSettings]:
    if any(problems(get_raw())):
        return []  # which the system checks tell
    return [get_settings(alias) for alias in get_aliases()]


def _system_checks() -> Observations:
    """Run the system checks of this package: settings, leases, aliases, caches, sessions."""
    found = [
        Observation(
            check=str(message.id).removeprefix(f"{APP}."),
            verdict=Verdict.FAULT if message.level >= ERROR else Verdict.WARNING,
            message=message.msg,
            remedy=message.hint or "",
        )
        for message in run_checks(tags=[APP], include_deployment_checks=True)
        if message.level >= WARNING and not message.is_silenced()
    ]
    return found or [_fine("checks", "The system checks find nothing.")]


def _migrations() -> Observations:
    if not any(one.records or make_store(one).outlives_process for one in _usable()):
        return [_fine("migrations", "No alias needs the database.")]
    if not apps.is_installed(APP):
        message = f"{APP!r} is not in INSTALLED_APPS: the generations of tenants are not saved."
        return [_warning("migrations", message, f"Add {APP!r} to INSTALLED_APPS, and migrate.")]
    database = router.db_for_write(apps.get_model(APP, "StreamNamespace"))
    try:
        missing = ", ".join(_unapplied(database))
    except (DatabaseTrouble, ImproperlyConfigured) as error:
        message = f"The database {database!r} does not answer ({type(error).__name__})."
        return [_fault("migrations", message, "Start it, or correct DATABASES.")]
    if missing:
        message = f"Not applied to the database {database!r}: {missing}."
        return [_fault("migrations", message, "Run `manage.py migrate`.")]
    return [_fine("migrations", f"All are applied to the database {database!r}.")]


def _unapplied(database: str) -> Iterator[str]:
    loader = MigrationLoader(connections[database])
    for app, name in sorted(loader.disk_migrations):
        if app == APP and (app, name) not in loader.applied_migrations:
            yield name


def _middleware() -> Observations:
    """Look for the middleware that gives the default OWNER users; W014 looks for sessions."""
    if not any(one.owner == DEFAULT_OWNER for one in _usable()):
        return [_fine("middleware", "No alias has the default OWNER.")]
    if not has_sessions():
        return []
    bases = {base for path in project_setting("MIDDLEWARE") or () for base in _bases(path)}
    if USER_MIDDLEWARE not in bases:
        message = "There is no AuthenticationMiddleware: the default OWNER knows sessions only."
        remedy = f"Add {USER_MIDDLEWARE!r} to MIDDLEWARE, or set the user yourself."
        return [_warning("middleware", message, remedy)]
    return [_fine("middleware", "Sessions and users are there for the default OWNER.")]


def _bases(path: str) -> Iterator[str]:
    """Yield the paths of a middleware and of the classes that it is made of."""
    yield path
    for base in getattr(import_string(path), "__mro__", ()):
        yield f"{base.__module__}.{base.__qualname__}"


def _entry_point() -> Observations:
    """Look into the source of asgi.py or wsgi.py, without running it, for our application."""
    paths = {kind: path for kind in ("ASGI", "WSGI") if (path := _application(kind))}
    if not paths:
        return [_unknown("drain", "Neither ASGI_APPLICATION nor WSGI_APPLICATION is set.")]
    for kind, path in paths.items():
        module = path.rpartition(".")[0]
        ours = f"{APP}.{kind.lower()}"
        if ours in _source(module):
            return [_fine("drain", f"{module} uses {ours}.")]
    modules = " and ".join(path.rpartition(".")[0] for path in paths.values())
    message = f"{modules} do not name our application: a deploy may interrupt answers."
    remedy = (
        f"Use get_asgi_application of {APP}.asgi, or get_wsgi_application of {APP}.wsgi: "
        f"docs/servers.md."
    )
    return [_warning("drain", message, remedy)]


def _application(kind: str) -> str:
    """Return the path of an application; that of ASGI stands beside that of WSGI by default."""
    path: str = project_setting(f"{kind}_APPLICATION") or ""
    if kind == "ASGI" and not path:
        beside: str = project_setting("WSGI_APPLICATION") or ""
        path = beside.replace(".wsgi.", ".asgi.")
        return path if path != beside and _source(path.rpartition(".")[0]) else ""
    return path


def _source(module: str) -> str:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return ""
    get_source = getattr(spec and spec.loader, "get_source", None)
    return (get_source(module) or "") if get_source else ""


PROJECT: dict[str, Callable[[], Observations]] = {
    "checks": _system_checks,
    "migrations": _migrations,
    "middleware": _middleware,
    "drain": _entry_point,
}


def _fine(check: str, message: str, alias: str = "") -> Observation:
    return Observation(check=check, verdict=Verdict.FINE, message=message, alias=alias)


def _unknown(check: str, message: str) -> Observation:
    return Observation(check=check, verdict=Verdict.UNKNOWN, message=message)


def _warning(check: str, message: str, remedy: str) -> Observation:
    return Observation(check=check, verdict=Verdict.WARNING, message=message, remedy=remedy)


def _fault(check: str, message: str, remedy: str, alias: str = "") -> Observation:
    return Observation(
        check=check, verdict=Verdict.FAULT, message=message, remedy=remedy, alias=alias
    )
