"""A site with the pages of the admin, streams that run, and records. All in one module.

`UNFOLD=1` puts django-unfold in front of Django's own admin.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

SECRET_KEY = "x" * 50
DEBUG = True  # static files are served
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    *(["unfold"] if os.environ.get("UNFOLD") else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "resumable_streams",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
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
        "NAME": os.environ.get("DATABASE_FILE", ":memory:"),
        "OPTIONS": {"timeout": 60},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.browser.admin_site"
STATIC_URL = "static/"
USE_TZ = True
MEMORY = "resumable_streams.stores.memory.MemoryStore"
REDIS = "resumable_streams.stores.redis.RedisStore"
AWAY = {"BACKEND": REDIS, "LOCATION": "redis://127.0.0.1:1/0", "STORE_TIMEOUT": 0.2}
RESUMABLE_STREAMS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": MEMORY, "RECORDS": True, "DRAIN_TIMEOUT": 0},
    **({"agents": AWAY} if os.environ.get("AWAY") else {}),
}

TENANTS = {"default": 4, "acme": 14, "a-customer-with-a-long-name": 2}
ENDS = ("done", "done", "error", "done", "cancelled", "done", "revoked", "lost")
CODES = {"error": "source_failed", "cancelled": "replaced"}
HOUR = 3_600


async def words() -> AsyncIterator[str]:
    """Yield a text without an end."""
    number = 0
    while True:
        yield f"word {number} " * 20
        number += 1
        await asyncio.sleep(0.2)


def _fill(request: HttpRequest) -> HttpResponse:
    """Log a superuser in, start streams, and write an hour of records."""
    from django.contrib.auth import login
    from django.contrib.auth.models import User

    from resumable_streams import streams

    user, _ = User.objects.get_or_create(username="jane", is_staff=True, is_superuser=True)
    login(request, user)
    for tenant, count in TENANTS.items():
        for number in range(count):
            name = f"chat-{number}-of-a-conversation-in-{tenant}"
            streams.run(name, words, owner=f"user:{number % 3}", tenant=tenant)
    _write_records()
    return HttpResponseRedirect("/admin/resumable_streams/streamrecord/live/")


def _write_records() -> None:
    from datetime import timedelta

    from django.utils import timezone

    from resumable_streams.identifiers import owner_digest
    from resumable_streams.models import StreamRecord

    now = timezone.now()
    rows = []
    for number in range(400):
        owner, status = f"user:{number % 7}", ENDS[number % len(ENDS)]
        began = now - timedelta(seconds=(number * 97 * (1 + number % 3)) % HOUR + 20)
        row = StreamRecord(
            alias="default",
            tenant="acme" if number % 3 else "default",
            generation=1,
            stream_id=f"chat-{number}-of-a-conversation",
            epoch=f"{number:x}",
            owner=owner,
            owner_digest=owner_digest(owner),
            acquired=began,
            ended=began + timedelta(seconds=15),
            status=status,
            error_code=CODES.get(status, ""),
            size=number * 997,
            duration=15.3,
        )
        rows.append(row)
    StreamRecord.objects.bulk_create(rows)


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from django.contrib import admin
    from django.contrib.staticfiles.urls import staticfiles_urlpatterns
    from django.urls import path

    from resumable_streams.admin import acting

    # Zero: each row that is acted upon takes a request of its own.
    acting.STEP_SECONDS = float(os.environ.get("STEP_SECONDS", acting.STEP_SECONDS))
    return [
        path("fill/", _fill),
        path("favicon.ico", lambda request: HttpResponse()),
        path("admin/", admin.site.urls),
        *staticfiles_urlpatterns(),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
