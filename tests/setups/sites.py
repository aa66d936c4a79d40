"""The settings of the sites: what a project may have around the streams, one thing at a time."""

from typing import Any

import django

__all__ = ["SITES", "WITHOUT_USERS", "WITH_USERS_ONLY", "prefix_of"]

OURS = "tests.setups.middleware."
SESSIONS = "django.contrib.sessions.backends."
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
USUAL = [SESSION, COMMON, CSRF, AUTH, "django.contrib.messages.middleware.MessageMiddleware"]
LOCAL_CACHE = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def around(first: str | None = None, last: str | None = None) -> dict[str, Any]:
    """Return the usual middleware with one before and one behind it."""
    before, behind = [one for one in (first,) if one], [one for one in (last,) if one]
    return {"MIDDLEWARE": [*before, *USUAL, *behind]}


def sessions(engine: str, **more: Any) -> dict[str, Any]:
    return {"SESSION_ENGINE": SESSIONS + engine, "CACHES": LOCAL_CACHE, **more}


SITES: dict[str, dict[str, Any]] = {
    "as Django starts it": {},
    "sync-only middleware": around(OURS + "sync_only", OURS + "sync_only"),
    "async-only middleware": around(OURS + "async_only", OURS + "async_only"),
    "sync and async in turn": {
        "MIDDLEWARE": [OURS + "async_only", *USUAL, OURS + "sync_only", OURS + "async_only"]
    },
    "middleware that reads forms": around(OURS + "reads_form"),
    "middleware that reads bodies": around(OURS + "reads_body"),
    "middleware that writes to the session": around(last=OURS + "counts_visits"),
    "cache of the whole site": {
        **around(
            "django.middleware.cache.UpdateCacheMiddleware",
            "django.middleware.cache.FetchFromCacheMiddleware",
        ),
        "CACHES": LOCAL_CACHE,
    },
    "gzip": around("django.middleware.gzip.GZipMiddleware"),
    "conditional GET": around("django.middleware.http.ConditionalGetMiddleware"),
    "languages": around(last="django.middleware.locale.LocaleMiddleware"),
    "security": around("django.middleware.security.SecurityMiddleware")
    | {"SECURE_CONTENT_TYPE_NOSNIFF": True, "X_FRAME_OPTIONS": "DENY"},
    "login required by middleware": around(
        last="django.contrib.auth.middleware.LoginRequiredMiddleware"
    ),
    "sessions in the database": sessions("db"),
    "sessions in the cache": sessions("cache"),
    "sessions in both": sessions("cached_db"),
    "sessions in cookies": sessions("signed_cookies"),
    "sessions saved every time": {"SESSION_SAVE_EVERY_REQUEST": True},
    "sessions in cookies, saved every time": sessions(
        "signed_cookies", SESSION_SAVE_EVERY_REQUEST=True
    ),
    "CSRF token in the session": {"CSRF_USE_SESSIONS": True},
    "no auth": {"MIDDLEWARE": [SESSION, COMMON, CSRF]},
    "below a path": {"FORCE_SCRIPT_NAME": "/below"},
    "upload handlers of one's own": {
        "FILE_UPLOAD_HANDLERS": ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
    },
}
if django.VERSION >= (6, 0):
    SITES["content security policy"] = around(
        "django.middleware.csp.ContentSecurityPolicyMiddleware"
    )

WITHOUT_USERS = ("no auth",)
WITH_USERS_ONLY = ("login required by middleware",)


def prefix_of(name: str) -> str:
    """Return below which path a site is."""
    return str(SITES.get(name, {}).get("FORCE_SCRIPT_NAME", ""))
