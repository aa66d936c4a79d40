"""The only reader of `django.conf`: `RESUMABLE_STREAMS` as frozen settings, one per alias.

Everything that can be wrong with the setting is found by `problems()`, which the system checks
report and `get_settings()` refuses to work with. Durations are seconds, sizes are bytes.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from django.conf import settings as django_settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.signals import setting_changed
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string

from .exceptions import InvalidStoreError
from .types import Limits

__all__ = [
    "AliasSettings",
    "Problem",
    "csrf_middleware",
    "format_paths",
    "get_aliases",
    "get_raw",
    "get_settings",
    "handles_signals",
    "has_sessions",
    "load_callable",
    "problems",
    "project_setting",
    "session_cookie_name",
    "session_cookie_options",
    "user_model",
]

SETTING = "RESUMABLE_STREAMS"
DEFAULT_ALIAS = "default"
DEFAULT_OWNER = "resumable_streams.owners.user_or_session"
USER_OWNERS = (DEFAULT_OWNER, "resumable_streams.contrib.rest_framework.authenticated_owner")
"""The OWNERs of ours: they name a user by its primary key, and visitors by their session."""
MEMORY = "resumable_streams.stores.memory.MemoryStore"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasSettings:
    """The settings of one alias of RESUMABLE_STREAMS; `docs/settings.md` explains each."""

    alias: str
    backend: str = MEMORY
    location: str | None = field(default=None, repr=False)  # may hold a password
    cache_alias: str | None = None
    key_prefix: str = "resumable"
    ttl: float = 86_400
    finished_ttl: float | None = None
    lease: float = 15
    sweep: float = 5
    drain_timeout: float = 10
    handle_signals: bool = True
    store_timeout: float = 10
    limits: Limits = field(default_factory=Limits)
    owner: str = DEFAULT_OWNER
    tenant: str | None = None
    wait_until: str | None = None
    hook_errors: str = "raise"
    records: bool = False
    trusted_proxies: int = 0
    keep_alive: float | None = 15
    max_response_seconds: float | None = None
    revoke_on: Collection[str] = ()
    formats: Collection[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # so may these
    debug: bool = False

    @property
    def election(self) -> float:
        """Return how many seconds an election counts that is not confirmed."""
        return 2 * self.lease


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings, with the id of its system check."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Rule:
    """The values that a setting accepts: in code, and in words."""

    accepts: Callable[[object], bool]
    words: str


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _seconds(low: float, high: float = 10 * 365 * 86_400) -> Rule:
    return Rule(lambda v: _number(v, low, high), f"a number of seconds from {low:g} to {high:g}")


def _optional(rule: Rule) -> Rule:
    return Rule(lambda v: v is None or rule.accepts(v), f"None or {rule.words}")


_DOTTED = Rule(
    lambda v: isinstance(v, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", v) is not None,
    "a dotted path",
)
_PATHS = Rule(
    lambda v: isinstance(v, list | tuple) and all(map(_DOTTED.accepts, v)), "a list of dotted paths"
)
_TEXT = Rule(lambda v: isinstance(v, str) and v != "", "a string that is not empty")
_COUNT = Rule(
    lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 1, "a whole number from 1"
)
_BOOL = Rule(lambda v: isinstance(v, bool), "True or False")
_MAPPING = Rule(lambda v: isinstance(v, Mapping), "a dictionary")

REVOKE_EVENTS = ("logout", "password_change", "deactivate", "delete")
WITHOUT_REQUEST = frozenset(REVOKE_EVENTS) - {"logout"}
"""The events of REVOKE_ON without a request: only an OWNER of ours can name a user then."""

RULES: dict[str, Rule] = {
    "BACKEND": _DOTTED,
    "LOCATION": _optional(_TEXT),
    "CACHE_ALIAS": _optional(_TEXT),
    "KEY_PREFIX": Rule(
        lambda v: isinstance(v, str) and re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", v) is not None,
        "1 to 128 characters of A-Z, a-z, 0-9, '_', '.', ':', '-'",
    ),
    "TTL": _seconds(1),
    "FINISHED_TTL": _optional(_seconds(1)),
    "LEASE": _seconds(0.2, 3_600),
    "SWEEP": _seconds(0.1, 300),
    "DRAIN_TIMEOUT": _seconds(0, 3_600),
    "HANDLE_SIGNALS": _BOOL,
    "STORE_TIMEOUT": _seconds(0.1, 300),
    "LIMITS": _MAPPING,
    "OWNER": _DOTTED,
    "TENANT": _optional(_DOTTED),
    "WAIT_UNTIL": _optional(_DOTTED),
    "HOOK_ERRORS": Rule(lambda v: v in ("raise", "log"), "'raise' or 'log'"),
    "RECORDS": _BOOL,
    "TRUSTED_PROXIES": Rule(
        lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 32,
        "a whole number from 0 to 32",
    ),
    "KEEP_ALIVE": _optional(_seconds(0.1, 3_600)),
    "MAX_RESPONSE_SECONDS": _optional(_seconds(1)),
    "REVOKE_ON": Rule(
        lambda v: isinstance(v, list | tuple) and all(one in REVOKE_EVENTS for one in v),
        "a list of 'logout', 'password_change', 'deactivate' and 'delete'",
    ),
    "FORMATS": _PATHS,
    "OPTIONS": _MAPPING,
}
LIMIT_RULES: dict[str, Rule] = {
    "MAX_CHUNK_BYTES": _optional(_COUNT),
    "MAX_ENTRIES_PER_STREAM": _optional(_COUNT),
    "MAX_STREAM_BYTES": _optional(_COUNT),
    "MAX_STREAMS": _optional(_COUNT),
    "MAX_STREAMS_PER_OWNER": _optional(_COUNT),
}


def user_model() -> str:
    """Return the label of this site's model of users."""
    return str(django_settings.AUTH_USER_MODEL)


def has_sessions() -> bool:
    """Return whether this site has a middleware that gives requests a session."""
    return any(map(_gives_sessions, django_settings.MIDDLEWARE))


def _gives_sessions(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:  # which Django says itself, louder
        return True
    return not isinstance(middleware, type) or issubclass(middleware, SessionMiddleware)


def csrf_middleware() -> type[CsrfViewMiddleware] | None:
    """Return the middleware that protects this site from forged requests; None: it has none."""
    return next(filter(None, map(_protecting, django_settings.MIDDLEWARE)), None)


def _protecting(path: str) -> type[CsrfViewMiddleware] | None:
    try:
        middleware = import_string(path)
    except ImportError:
        return None
    is_one = isinstance(middleware, type) and issubclass(middleware, CsrfViewMiddleware)
    return middleware if is_one else None


def load_callable(settings: AliasSettings, name: str) -> Callable[..., Any] | None:
    """Return the function that a setting names now (a test may patch it); None without one.

    Raises InvalidStoreError, with the cause, for a path that leads to none.
    """
    path = getattr(settings, name)
    if path is None:
        return None
    where = f"{name.upper()} {path!r} of the stream alias {settings.alias!r}"
    remedy = "Name a function of a module by its dotted path, as in 'mysite.owners.owner'."
    try:
        function = import_string(path)
    except ImportError as error:
        raise InvalidStoreError(f"{where} cannot be imported: {error}. {remedy}") from error
    if not callable(function):
        kind = type(function).__name__
        raise InvalidStoreError(f"{where} cannot be called: it is a {kind}. {remedy}")
    return cast(Callable[..., Any], function)


def session_cookie_name() -> str:
    """Return the name of this site's session cookie."""
    return str(django_settings.SESSION_COOKIE_NAME)


def session_cookie_options() -> dict[str, Any]:
    """Return with which attributes this site sets its session cookie."""
    return {
        "path": django_settings.SESSION_COOKIE_PATH,
        "domain": django_settings.SESSION_COOKIE_DOMAIN,
        "secure": django_settings.SESSION_COOKIE_SECURE,
        "samesite": django_settings.SESSION_COOKIE_SAMESITE,
    }


def project_setting(name: str) -> Any:
    """Return a setting of the project itself; None if it is not set."""
    return getattr(django_settings, name, None)


def handles_signals() -> bool:
    """Return whether this process may handle signals; one alias that says no is enough."""
    try:
        return all(get_settings(alias).handle_signals for alias in get_aliases())
    except InvalidStoreError:  # the system checks tell
        return True


def format_paths() -> list[tuple[str, str]]:
    """Return the alias and the path of each entry of FORMATS; this process knows them all."""
    found: dict[str, str] = {}
    for alias in get_aliases():
        with suppress(InvalidStoreError):  # the system checks tell
            for path in get_settings(alias).formats:
                found.setdefault(path, alias)
    return [(alias, path) for path, alias in found.items()]


def get_raw() -> object:
    """Return RESUMABLE_STREAMS as it stands in the settings module."""
    return getattr(django_settings, SETTING, {DEFAULT_ALIAS: {}})


def problems(raw: object) -> Iterator[Problem]:
    """Yield everything that is wrong with a value of RESUMABLE_STREAMS."""
    if not isinstance(raw, Mapping):
        yield Problem("E001", f"{SETTING} is not a dictionary.", "Map aliases to their settings.")
        return
    if DEFAULT_ALIAS not in raw:
        yield Problem(
            "E002", f"{SETTING} has no 'default' alias.", "Name the alias you use most 'default'."
        )
    for alias, entry in raw.items():
        yield from _alias_problems(alias, entry)


def _alias_problems(alias: object, entry: object) -> Iterator[Problem]:
    where = f"{SETTING}[{alias!r}]"
    if not isinstance(alias, str):
        yield Problem("E003", f"{where} is not named by a string.", "Aliases are strings.")
        return
    if not isinstance(entry, Mapping):
        yield Problem("E003", f"{where} is not a dictionary.", "Give it at least a 'BACKEND'.")
        return
    yield from _rule_problems(where, entry, RULES)
    if isinstance(entry.get("LIMITS"), Mapping):
        yield from _rule_problems(f"{where}['LIMITS']", entry["LIMITS"], LIMIT_RULES)
    yield from _combination_problems(where, entry)


def _rule_problems(
    where: str, entry: Mapping[str, object], rules: Mapping[str, Rule]
) -> Iterator[Problem]:
    for name, value in entry.items():
        rule = rules.get(name)
        if rule is None:
            yield Problem(
                "E004", f"{where} has an unknown key {name!r}.", f"Known: {', '.join(rules)}."
            )
        elif not rule.accepts(value):
            yield Problem("E005", f"{where}[{name!r}] is not valid.", f"It is {rule.words}.")


def _combination_problems(where: str, entry: Mapping[str, object]) -> Iterator[Problem]:
    if entry.get("LOCATION") and entry.get("CACHE_ALIAS"):
        yield Problem(
            "E006", f"{where} has both LOCATION and CACHE_ALIAS.", "The connection has one source."
        )
    ttl, lease = entry.get("TTL", 86_400), entry.get("LEASE", 15)
    if _number(ttl, 0, 1e12) and _number(lease, 0, 1e12) and float(ttl) <= float(lease):  # type: ignore[arg-type]
        yield Problem(
            "E007",
            f"{where}: TTL is not longer than LEASE.",
            "A stream has to outlive the detection of its dead producer.",
        )
    events = entry.get("REVOKE_ON") or ()
    is_ours = not entry.get("TENANT") and entry.get("OWNER", DEFAULT_OWNER) in USER_OWNERS
    listed = events if isinstance(events, list | tuple) else ()
    # In their order, and not by a set: a wrong list may hold what cannot be hashed.
    alone = [repr(event) for event in listed if event in list(WITHOUT_REQUEST)]
    if alone and not is_ours:
        yield Problem(
            "E010",
            f"{where} has {', '.join(alone)} in REVOKE_ON, and an OWNER or a TENANT.",
            "They are asked about requests, and these events come without one: call `revoke`.",
        )


def get_aliases() -> list[str]:
    """Return the configured aliases, `default` among them."""
    raw = get_raw()
    return [str(alias) for alias in raw] if isinstance(raw, Mapping) else [DEFAULT_ALIAS]


@cache
def get_settings(alias: str = DEFAULT_ALIAS) -> AliasSettings:
    """Return the settings of `alias`; raise InvalidStoreError where the checks report an error."""
    raw = get_raw()
    for problem in problems(raw):
        raise InvalidStoreError(f"{problem.message} {problem.hint}")
    if not isinstance(raw, Mapping) or alias not in raw:
        known = ", ".join(map(repr, get_aliases()))
        raise InvalidStoreError(f"{SETTING} has no alias {alias!r}; it has {known}.")
    entry = {name.lower(): value for name, value in raw[alias].items()}
    limits = {name.lower(): value for name, value in entry.pop("limits", {}).items()}
    return AliasSettings(
        alias=alias, limits=Limits(**limits), debug=bool(django_settings.DEBUG), **entry
    )


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting in (SETTING, "DEBUG"):
        get_settings.cache_clear()


setting_changed.connect(_forget)
