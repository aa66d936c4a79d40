"""Django settings of a site that a real server serves: SITE says which, SITE_DATABASE where."""

import os
from typing import Any, cast

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE

from .sites import OURS, SITES

ROOT_URLCONF = "tests.setups.site"
WSGI_APPLICATION = "tests.setups.application.wsgi"
DATABASES = cast(
    Any,
    {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["SITE_DATABASE"],
            "ATOMIC_REQUESTS": os.environ["SITE"] == "everything",
            "OPTIONS": {"timeout": 20},
        }
    },
)
EVERYTHING: dict[str, Any] = {
    "MIDDLEWARE": [
        "django.middleware.cache.UpdateCacheMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        OURS + "sync_only",
        OURS + "reads_form",
        *MIDDLEWARE,
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        OURS + "counts_visits",
        OURS + "async_only",
        "django.middleware.cache.FetchFromCacheMiddleware",
    ],
    "SESSION_ENGINE": "django.contrib.sessions.backends.cached_db",
    "SESSION_SAVE_EVERY_REQUEST": True,
    "CSRF_USE_SESSIONS": True,
}
FILES: dict[str, Any] = {
    "SESSION_ENGINE": "django.contrib.sessions.backends.file",
    "SESSION_FILE_PATH": os.path.dirname(os.environ["SITE_DATABASE"]),
}
globals().update(
    {**SITES, "everything": EVERYTHING, "sessions in files": FILES}[os.environ["SITE"]]
)
