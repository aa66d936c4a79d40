"""System checks: mistakes in RESUMABLE_STREAMS, and traps that only production has.

    E001 to E012   cannot work
    W001 to W005   works, but differently from what the settings suggest
    W012           a view that cannot work in this project
    W013           streams in a database that `cache.clear()` empties
    W014           the default OWNER without sessions
    W015           the default OWNER with tokens that it cannot know
    W016           CORS_EXPOSE_HEADERS without our headers
    W006, W007     with `--deploy`: settings of the rest of the project that disagree with ours
    I001           with `--deploy`: a pointer to the doctor, which asks servers and databases

Nothing here connects to anything: see `operating/doctor` for that.

One function a check, all of them in the two lists at the end; each store checks its own part
(`BaseStore.check`). `docs/settings.md` has the table.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig, apps

# What the settings of other apps say is theirs: `conf` keeps ours.
from django.conf import settings as project  # noqa: TID251
from django.core.checks import CheckMessage, Error, Info, Warning, register  # noqa: A004
from django.db import DEFAULT_DB_ALIAS, connections
from django.urls import URLPattern, URLResolver, get_resolver

from .conf import (
    DEFAULT_OWNER,
    SETTING,
    USER_OWNERS,
    AliasSettings,
    format_paths,
    get_aliases,
    get_raw,
    get_settings,
    has_sessions,
    load_callable,
    problems,
)
from .exceptions import InvalidStoreError
from .formats import load_format
from .http.response import EXPOSED
from .operating.authenticators import token_schemes
from .process.green import EVENTLET, is_eventlet
from .stores import make_store
from .stores.base import BaseStore
from .views import StreamMixin

__all__ = ["CHECKS", "DEPLOYMENT_CHECKS", "TAG"]

TAG = "resumable_streams"

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


def _patterns() -> Iterator[URLPattern | URLResolver]:
    """Yield all addresses of this site, those below others after them."""
    if not getattr(project, "ROOT_URLCONF", None):
        return
    try:
        patterns = get_resolver().url_patterns
    except Exception:  # which Django's own checks say, louder
        return
    yield from _below(patterns)


def _below(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[URLPattern | URLResolver]:
    for pattern in patterns:
        yield pattern
        if isinstance(pattern, URLResolver):
            yield from _below(pattern.url_patterns)


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
    found: list[CheckMessage] = []
    for settings in _usable():
        for name in ("owner", "tenant", "wait_until"):
            try:
                load_callable(settings, name)
            except InvalidStoreError as error:
                hint = f"Correct {_at(settings)}[{name.upper()!r}]."
                found.append(Error(str(error), hint=hint, id="resumable_streams.E009"))
    return found


def check_formats(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E012: an entry of FORMATS is not the class of a format, or two have one name."""
    found: list[CheckMessage] = []
    paths: dict[str, str] = {}
    for alias, path in format_paths() if _usable() else ():
        try:
            name = load_format(alias, path).name
        except InvalidStoreError as error:
            problem = str(error)
        else:
            first = paths.setdefault(name, path)
            problem = f"The formats {first!r} and {path!r} are both called {name!r}."
            if first == path:
                continue
        hint = f"Correct {SETTING}[{alias!r}]['FORMATS']."
        found.append(Error(problem, hint=hint, id="resumable_streams.E012"))
    return found


def check_eventlet(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """E011: eventlet has patched this process."""
    hint = "See docs/servers.md for the servers that work."
    return [Error(EVENTLET, hint=hint, id="resumable_streams.E011")] if is_eventlet() else []


# --- Settings that disagree with each other -----------------------------------------------------


def check_stores(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W001, W013, and whatever a store of yours finds: see `BaseStore.check`."""
    return [
        message for settings, store in _stores() for message in store.check(settings, deploy=False)
    ]


def check_deployed_stores(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W001 where DEBUG is still on, and the findings of a store of your own."""
    return [
        message for settings, store in _stores() for message in store.check(settings, deploy=True)
    ]


def check_shared_keys(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W002: two aliases that write the same keys."""
    sharing: dict[object, list[str]] = defaultdict(list)
    for settings, store in _stores():
        sharing[_place(settings, store)].append(settings.alias)
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


def _place(settings: AliasSettings, store: BaseStore) -> object:
    where: object = settings.location or settings.cache_alias
    if where is None and not store.outlives_process:
        where = ("memory of", settings.alias)
    found_by = [repr(settings.options.get(name)) for name in ("sentinels", "service")]
    return settings.backend, where, *found_by, settings.key_prefix


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
        if settings.owner in USER_OWNERS and settings.ttl > project.SESSION_COOKIE_AGE
    ]


def check_sessions(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W014: the default OWNER, in a project without sessions."""
    return [
        Warning(
            f"{_at(settings)} uses the default OWNER, and MIDDLEWARE has no SessionMiddleware: "
            f"visitors get 401.",
            hint="Add django.contrib.sessions.middleware.SessionMiddleware and, for users, "
            "django.contrib.auth.middleware.AuthenticationMiddleware; or set OWNER.",
            id="resumable_streams.W014",
        )
        for settings in _usable()
        if settings.owner == DEFAULT_OWNER and not has_sessions()
    ]


def check_token_users(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W015: addresses whose default OWNER does not know the users of REST framework or ninja."""
    aliases = {settings.alias for settings in _usable() if settings.owner == DEFAULT_OWNER}
    patterns = list(_patterns())
    found: list[CheckMessage] = []
    for framework, names in token_schemes(patterns).items():
        for alias in sorted(aliases & _plain_aliases(patterns)):
            found.append(
                Warning(
                    f"{SETTING}[{alias!r}] uses the default OWNER, which does not know the users "
                    f"of {', '.join(names)} ({framework}) at the addresses of streams.",
                    hint=f"To clients that show such a token every stream is missing there. "
                    f"{REMEDIES[framework]} If a middleware sets request.user for them, or they "
                    f"have no streams, silence this check.",
                    id="resumable_streams.W015",
                )
            )
    return found


def _plain_aliases(patterns: Iterable[Any]) -> set[str]:
    """Return the aliases whose streams are at addresses of Django's own views."""
    views = [getattr(pattern, "callback", None) for pattern in patterns]
    return {
        getattr(view, "view_initkwargs", {}).get("using", view.view_class.using)
        for view in views
        if view is not None and issubclass(getattr(view, "view_class", object), StreamMixin)
    }


REMEDIES = {
    "REST framework": "Include `stream_urls()` of resumable_streams.contrib.rest_framework in "
    "place of resumable_streams.urls, or set OWNER to "
    "'resumable_streams.contrib.rest_framework.authenticated_owner'.",
    "ninja": "Add `stream_router()` of resumable_streams.contrib.ninja to your API in place of "
    "resumable_streams.urls, or set OWNER to what its `authenticated_owner(…)` returns.",
}


def check_exposed_headers(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """W016: django-cors-headers replaces the list of headers that scripts may read."""
    exposed = {name.lower() for name in getattr(project, "CORS_EXPOSE_HEADERS", ())}
    missing = [name for name in (*EXPOSED, "Retry-After") if name.lower() not in exposed]
    is_used = any("corsheaders." in path for path in project.MIDDLEWARE)
    if not is_used or not exposed or not missing:
        return []
    return [
        Warning(
            f"CORS_EXPOSE_HEADERS hides headers of streams: {', '.join(missing)}.",
            hint="It replaces the list that our answers bring. Without these headers scripts of "
            "other origins cannot resume: add them, or leave the setting out.",
            id="resumable_streams.W016",
        )
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
    if not atomic:
        return []
    return [
        Warning(
            f"The async view {view.__module__}.{view.__qualname__} fails: ATOMIC_REQUESTS is on.",
            hint=f"Decorate it with {' and '.join(map(_non_atomic, sorted(refused)))}.",
            id="resumable_streams.W012",
        )
        for pattern in _patterns()
        if iscoroutinefunction(view := getattr(pattern, "callback", None))
        and (refused := atomic - getattr(view, "_non_atomic_requests", set()))
    ]


def _non_atomic(alias: str) -> str:
    using = "" if alias == DEFAULT_DB_ALIAS else f"(using={alias!r})"
    return f"@transaction.non_atomic_requests{using}"


def check_doctor(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """I001: server and database are not asked here, but by the doctor."""
    if not any(store.outlives_process for _, store in _stores()):
        return []
    return [
        Info(
            "Server and database of the streams are not asked here.",
            hint="Run `manage.py resumable_streams doctor` on a host that can reach them.",
            id="resumable_streams.I001",
        )
    ]


CHECKS: Sequence[Check] = (
    check_settings,
    check_backends,
    check_callables,
    check_formats,
    check_eventlet,
    check_stores,
    check_shared_keys,
    check_finished_ttl,
    check_store_timeout,
    check_sweep,
    check_sessions,
    check_token_users,
    check_exposed_headers,
    check_atomic_requests,
)
DEPLOYMENT_CHECKS: Sequence[Check] = (
    check_deployed_stores,
    check_session_age,
    check_proxies,
    check_doctor,
)

for check in CHECKS:
    register(check, TAG)
for check in DEPLOYMENT_CHECKS:
    register(check, TAG, deploy=True)
