"""System checks: what is wrong with RESUMABLE_STREAMS, and what bites only in production.

    E001 to E011   cannot work
    W001 to W005   works, but not as it reads
    W012           a view that cannot work as the rest of the project is set up
    W013           streams in a database that `cache.clear()` empties
    W006 to W011   with `--deploy`: what the rest of the project, the store or the database disagree
                   with; only W008 to W011 connect to anything
    I001           with `--deploy`: worth knowing

One function a check, all of them in the two lists at the end; `docs/settings.md` has the table.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig, apps

# What the settings of other apps say is theirs: `conf` keeps ours.
from django.conf import settings as project  # noqa: TID251
from django.core.checks import CheckMessage, Error, Info, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db import Error as DatabaseTrouble
from django.db.migrations.loader import MigrationLoader
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from .conf import (
    DEFAULT_OWNER,
    SETTING,
    AliasSettings,
    get_aliases,
    get_raw,
    get_settings,
    problems,
)
from .exceptions import InvalidStoreError, StoreUnavailable
from .process.green import EVENTLET, is_eventlet
from .stores import make_store
from .stores.base import BaseStore
from .stores.memory import MemoryStore

__all__ = ["CHECKS", "DEPLOYMENT_CHECKS", "TAG"]

TAG = "resumable_streams"
LOOK_SECONDS = 5.0

Check = Callable[..., list[CheckMessage]]
Apps = Sequence[AppConfig] | None


def _usable() -> list[AliasSettings]:
    """Return the aliases; none where check_settings has something to say already."""
    if any(problems(get_raw())):
        return []
    return [get_settings(alias) for alias in get_aliases()]


def _stores() -> Iterator[tuple[AliasSettings, BaseStore]]:
    """Yield the stores that can be made; check_backends tells of the others."""
    for settings in _usable():
        try:
            yield settings, make_store(settings)
        except InvalidStoreError:
            continue


def _at(settings: AliasSettings) -> str:
    return f"{SETTING}[{settings.alias!r}]"


# --- Errors -------------------------------------------------------------------------------------


def check_settings(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E001 to E007, E010: what `conf` finds wrong."""
    return [
        Error(problem.message, hint=problem.hint, id=f"resumable_streams.{problem.id}")
        for problem in problems(get_raw())
    ]


def check_backends(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E008: a backend that cannot be made with what it is given; nothing is connected."""
    found: list[CheckMessage] = []
    for settings in _usable():
        try:
            make_store(settings)
        except InvalidStoreError as error:
            hint = f"Correct {_at(settings)}."
            found.append(Error(str(error), hint=hint, id="resumable_streams.E008"))
    return found


def check_callables(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
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


def check_eventlet(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E011: eventlet has patched this process."""
    hint = "See docs/servers.md for the servers that work."
    return [Error(EVENTLET, hint=hint, id="resumable_streams.E011")] if is_eventlet() else []


# --- Settings that disagree with each other -----------------------------------------------------


def check_memory_store(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W001: streams in the memory of one process, with DEBUG off."""
    return [] if project.DEBUG else list(_in_memory())


def check_memory_store_deployed(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W001: the same with `--deploy`, where DEBUG is still on."""
    return list(_in_memory()) if project.DEBUG else []


def _in_memory() -> Iterator[CheckMessage]:
    for settings, store in _stores():
        if isinstance(store, MemoryStore):
            yield Warning(
                f"{_at(settings)} keeps its streams in the memory of one process.",
                hint="Another process does not see them, and a restart loses them. Use "
                "resumable_streams.stores.redis.RedisStore.",
                id="resumable_streams.W001",
            )


def check_shared_keys(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W002: two aliases that write the same keys."""
    sharing: dict[object, list[str]] = defaultdict(list)
    for settings in _usable():
        sharing[_place(settings)].append(settings.alias)
    return [
        Warning(
            f"The stream aliases {', '.join(map(repr, aliases))} share their keys.",
            hint="A stream of one is one of the other, and a rotation of one is not saved for the "
            "other. Give each a KEY_PREFIX of its own.",
            id="resumable_streams.W002",
        )
        for aliases in sharing.values()
        if len(aliases) > 1
    ]


def _place(settings: AliasSettings) -> object:
    where: object = settings.location or settings.cache_alias
    if where is None and settings.backend == f"{MemoryStore.__module__}.{MemoryStore.__name__}":
        where = ("memory of", settings.alias)
    found_by = [repr(settings.options.get(name)) for name in ("sentinels", "service")]
    return settings.backend, where, *found_by, settings.key_prefix


def check_caches(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W013: `cache.clear()` removes all streams, as it empties the database that they are in."""
    found: list[CheckMessage] = []
    for settings, store in _stores():
        if hasattr(store, "emptied_by"):  # a RedisStore
            found += _caches(settings, store)
    return found


def _caches(settings: AliasSettings, store: Any) -> Iterator[CheckMessage]:
    """An alias that only the streams use is the way to go; nobody clears that by the way."""
    own = None if settings.cache_alias == "default" else settings.cache_alias
    if others := [name for name in store.emptied_by() if name != own]:
        yield Warning(
            f"{_at(settings)} keeps its streams in the database of the cache "
            f"{', '.join(map(repr, others))}.",
            hint="`cache.clear()` empties that database, and ends every stream. Give the streams "
            "another database, or server: with CACHE_ALIAS, an entry of CACHES of their own.",
            id="resumable_streams.W013",
        )


def check_finished_ttl(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W003: FINISHED_TTL is longer than TTL."""
    return [
        Warning(
            f"{_at(settings)}: FINISHED_TTL is longer than TTL, and so without effect.",
            hint="A stream that has ended never lives longer than its own TTL. Raise TTL, or leave "
            "FINISHED_TTL out.",
            id="resumable_streams.W003",
        )
        for settings in _usable()
        if settings.finished_ttl is not None and settings.finished_ttl > settings.ttl
    ]


def check_store_timeout(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W004: STORE_TIMEOUT is not shorter than LEASE."""
    return [
        Warning(
            f"{_at(settings)}: STORE_TIMEOUT is not shorter than LEASE.",
            hint="A producer that waits that long for its store comes back to a stream that counts "
            "as lost. Give LEASE half as much again as STORE_TIMEOUT.",
            id="resumable_streams.W004",
        )
        for settings in _usable()
        if settings.store_timeout >= settings.lease
    ]


def check_sweep(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W005: SWEEP is longer than LEASE."""
    return [
        Warning(
            f"{_at(settings)}: SWEEP is longer than LEASE.",
            hint="Readers learn of a dead producer within LEASE + SWEEP seconds: a short LEASE "
            "gains little beside a long SWEEP. A third of LEASE is a good SWEEP.",
            id="resumable_streams.W005",
        )
        for settings in _usable()
        if settings.sweep > settings.lease
    ]


# --- The rest of the project --------------------------------------------------------------------


def check_session_age(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W006: the streams of a visitor live longer than the session that may read them."""
    if not apps.is_installed("django.contrib.sessions"):
        return []
    return [
        Warning(
            f"{_at(settings)}: TTL is longer than SESSION_COOKIE_AGE.",
            hint="What an anonymous visitor streamed stays in the store when nobody can read it "
            "any more. Shorten TTL, or lengthen SESSION_COOKIE_AGE.",
            id="resumable_streams.W006",
        )
        for settings in _usable()
        if settings.owner == DEFAULT_OWNER and settings.ttl > project.SESSION_COOKIE_AGE
    ]


def check_proxies(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W007: the project trusts a proxy, TRUSTED_PROXIES knows of none."""
    names = ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")
    trusting = [name for name in names if getattr(project, name, None)]
    return [
        Warning(
            f"{_at(settings)}: TRUSTED_PROXIES is 0, but {trusting[0]} is set.",
            hint="Behind a proxy, the audit log and the records have its address in place of the "
            "client's. Count the proxies of yours that append to X-Forwarded-For.",
            id="resumable_streams.W007",
        )
        for settings in _usable()
        if trusting and settings.trusted_proxies == 0
    ]


def check_atomic_requests(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W012: async views that Django refuses to call, because of ATOMIC_REQUESTS."""
    atomic = {
        alias for alias, options in connections.settings.items() if options["ATOMIC_REQUESTS"]
    }
    if not atomic or not getattr(project, "ROOT_URLCONF", None):
        return []
    return [
        Warning(
            f"The async view {view.__module__}.{view.__qualname__} fails: ATOMIC_REQUESTS is on.",
            hint=f"Decorate it with {' and '.join(map(_non_atomic, sorted(refused)))}.",
            id="resumable_streams.W012",
        )
        for view in _async_views(get_resolver().url_patterns)
        if (refused := atomic - getattr(view, "_non_atomic_requests", set()))
    ]


def _async_views(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[Callable[..., Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _async_views(pattern.url_patterns)
        elif iscoroutinefunction(pattern.callback):
            yield pattern.callback


def _non_atomic(alias: str) -> str:
    using = "" if alias == DEFAULT_DB_ALIAS else f"(using={alias!r})"
    return f"@transaction.non_atomic_requests{using}"


def check_middleware(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """I001: middleware that is sync only, in a project that is served by ASGI."""
    if not getattr(project, "ASGI_APPLICATION", None):
        return []
    sync_only = [path for path in project.MIDDLEWARE if _is_sync_only(path)]
    if not sync_only:
        return []
    return [
        Info(
            f"Middleware that is sync only: {', '.join(sync_only)}.",
            hint="Under ASGI Django passes every request through a thread for it, until the "
            "headers of the answer are there. Streams work, and are started and resumed slower.",
            id="resumable_streams.I001",
        )
    ]


def _is_sync_only(path: str) -> bool:
    try:
        return not getattr(import_string(path), "async_capable", False)
    except ImportError:
        return False  # which Django says itself, louder


# --- What only a look can tell ------------------------------------------------------------------


def check_eviction(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W008: the server may evict streams; W009: it could not be asked."""
    found: list[CheckMessage] = []
    for settings, store in _stores():
        if hasattr(store, "_nodes"):  # a RedisStore: naming it would import redis for every project
            found += _eviction(settings, store)
    return found


def _eviction(settings: AliasSettings, store: Any) -> Iterator[CheckMessage]:
    try:
        memories = asyncio.run(_memory_of_servers(store))
    except (StoreUnavailable, TimeoutError) as error:
        cause = type(error.__cause__ or error).__name__
        yield Warning(
            f"The server of {_at(settings)} could not be asked for its eviction policy ({cause}).",
            hint="Run the check where the server can be reached, by a user who may use INFO.",
            id="resumable_streams.W009",
        )
        return
    policies = sorted({policy for memory in memories if (policy := _eviction_policy(memory))})
    if policies:
        yield Warning(
            f"The server of {_at(settings)} evicts keys when its memory is full "
            f"({', '.join(policies)}).",
            hint="Readers of an evicted stream get data_lost or 404. Set maxmemory-policy to "
            "noeviction, and bound what is stored with TTL and LIMITS.",
            id="resumable_streams.W008",
        )


async def _memory_of_servers(store: Any) -> list[dict[str, str]]:
    """Return the section Memory of INFO of each primary; servers that hide CONFIG tell it."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            answers = [
                await connection.execute("INFO", "memory")
                for connection in await store._nodes.connections()
            ]
    finally:
        await store.aclose()
    return [_section(answer.decode()) for answer in answers]


def _section(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, _, value in lines}


def _eviction_policy(memory: dict[str, str]) -> str | None:
    """Return by what rule a server evicts; None if it does not, or has no bound to hit."""
    policy = memory.get("maxmemory_policy", "noeviction")
    return None if policy == "noeviction" or memory.get("maxmemory", "0") == "0" else policy


def check_migrations(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W010: tables are missing that an alias needs; W011: the database could not be asked."""
    needing = [s for s, store in _stores() if s.records or store.outlives_process]
    if not needing:
        return []
    database = router.db_for_write(apps.get_model("resumable_streams", "StreamNamespace"))
    try:
        unapplied = list(_unapplied(database))
    except (DatabaseTrouble, ImproperlyConfigured) as error:
        return [
            Warning(
                f"The database {database!r} could not be asked for its migrations "
                f"({type(error).__name__}).",
                hint="Run the check where the database can be reached.",
                id="resumable_streams.W011",
            )
        ]
    return [
        Warning(
            f"The migration {name} of resumable_streams is not applied to {database!r}.",
            hint=f"Run `manage.py migrate`: {', '.join(_at(s) for s in needing)} keeps the "
            f"generations of tenants, and its records, in the database.",
            id="resumable_streams.W010",
        )
        for name in unapplied
    ]


def _unapplied(database: str) -> Iterable[str]:
    loader = MigrationLoader(connections[database])
    for app, name in sorted(loader.disk_migrations):
        if app == "resumable_streams" and (app, name) not in loader.applied_migrations:
            yield name


CHECKS: Sequence[Check] = (
    check_settings,
    check_backends,
    check_callables,
    check_eventlet,
    check_memory_store,
    check_shared_keys,
    check_caches,
    check_finished_ttl,
    check_store_timeout,
    check_sweep,
    check_atomic_requests,
)
DEPLOYMENT_CHECKS: Sequence[Check] = (
    check_memory_store_deployed,
    check_session_age,
    check_proxies,
    check_eviction,
    check_migrations,
    check_middleware,
)

for check in CHECKS:
    register(check, TAG)
for check in DEPLOYMENT_CHECKS:
    register(check, TAG, deploy=True)
