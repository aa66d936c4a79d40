"""Settings of the example: memory by default, Redis through a django-redis alias with REDIS_URL.

Environment: REDIS_URL, DEMO_MODEL, DEMO_RATE, DEMO_DB (file of the database), DEMO_DEBUG (0 or 1),
SECRET_KEY, WEB_CONCURRENCY (processes of uvicorn); OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL
for DEMO_MODEL=openai.
"""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SECRET_KEY", "for-development-only-" + "0" * 40)
DEBUG = os.environ.get("DEMO_DEBUG", "1") != "0"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

# The model that answers: scripted | recording:<file> | openai, and its events per second.
DEMO_MODEL = os.environ.get("DEMO_MODEL", "scripted")
DEMO_RATE = os.environ.get("DEMO_RATE", "30")

INSTALLED_APPS = [
    "daphne",  # first: its runserver speaks ASGI
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "resumable_streams",
    "resumable_streams.contrib.chat",
    "example_project.chat",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DB", str(BASE_DIR / "demo.sqlite3")),
        "OPTIONS": {  # several server processes may write to one file
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES: dict[str, dict[str, Any]]
RESUMABLE_STREAMS: dict[str, dict[str, Any]]
PROCESSES = int(os.environ.get("WEB_CONCURRENCY", "1"))
if REDIS_URL := os.environ.get("REDIS_URL"):
    # An entry of their own, and a database that no other entry has: `cache.clear()` empties it all.
    CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "streams": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
    }
    RESUMABLE_STREAMS = {
        "default": {
            "BACKEND": "resumable_streams.stores.redis.RedisStore",
            "CACHE_ALIAS": "streams",
            "KEY_PREFIX": "resumable:demo",
        }
    }
    if PROCESSES > 1:  # on one machine a dead process is soon known
        RESUMABLE_STREAMS["default"] |= {"LEASE": 6, "SWEEP": 2}
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    RESUMABLE_STREAMS = {
        "default": {"BACKEND": "resumable_streams.stores.memory.MemoryStore"},
    }

IS_SHARED = bool(REDIS_URL)  # between server processes

TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

REACT_BUILD = BASE_DIR / "example_project" / "frontend" / "dist"  # of `npm run build`
STATICFILES_DIRS = [("react", REACT_BUILD)] if REACT_BUILD.exists() else []
