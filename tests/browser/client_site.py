"""A site whose pages use client.js and its element. Settings, URLs and views in one module."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse

SECRET_KEY = "x" * 50
DEBUG = True  # static files are served
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.staticfiles", "resumable_streams"]
STATIC_URL = "static/"
ROOT_URLCONF = "tests.browser.client_site"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
USE_TZ = True
RESUMABLE_STREAMS = {"default": {"DRAIN_TIMEOUT": 0}}

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```html\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEFORE = '<!doctype html><meta charset="utf-8"><title>A stream</title>'

asked: list[None] = []


async def words() -> AsyncIterator[str]:
    """Yield a text at the pace of a model."""
    asked.append(None)
    for number in range(100):
        yield f"{number} é€😀 "
        await asyncio.sleep(0.05)


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from django.contrib.staticfiles.urls import staticfiles_urlpatterns
    from django.middleware.csrf import get_token
    from django.template import Context, Engine
    from django.urls import include, path

    from resumable_streams.views import AcquireView

    class Answer(AcquireView):
        format = "ui_message"

        async def produce(self, request: HttpRequest) -> AsyncIterator[str]:
            async for word in words():
                yield word

    def page(request: HttpRequest) -> HttpResponse:
        """Answer with the page of docs/javascript.md that has no script of its own."""
        block = BLOCK.findall((DOCS / "javascript.md").read_text())[-1]
        template = Engine(builtins=["django.templatetags.static"]).from_string(BEFORE + block)
        return HttpResponse(template.render(Context({"csrf_token": get_token(request)})))

    def other(request: HttpRequest) -> HttpResponse:
        get_token(request)
        return HttpResponse("<!doctype html><title>Elsewhere</title>")

    def count(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{len(asked)}")

    return [
        path("", page),
        path("other/", other),
        path("count/", count),
        path("answer/", Answer.as_view()),
        path("streams/", include("resumable_streams.urls")),
        *staticfiles_urlpatterns(),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
