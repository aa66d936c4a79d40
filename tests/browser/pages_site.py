"""The site of the pages of docs/code: settings, and the parts that the docs leave to the reader."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "docs" / "code"
NPM = ROOT / "tests" / "npm" / "node_modules"

SECRET_KEY = "x" * 50
DEBUG = True  # static files are served
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.staticfiles", "resumable_streams"]
STATIC_URL = "static/"
STATICFILES_DIRS = [NPM / "htmx.org" / "dist", NPM / "htmx-ext-sse"]
ROOT_URLCONF = "tests.browser.pages_site"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [CODE],
        "OPTIONS": {"context_processors": ["tests.browser.pages_site.nonce"]},
    }
]
USE_TZ = True
ALIAS: dict[str, Any] = {"DRAIN_TIMEOUT": 0}
if "REDIS_URL" in os.environ:
    ALIAS |= {
        "BACKEND": "resumable_streams.stores.redis.RedisStore",
        "LOCATION": os.environ["REDIS_URL"],
        "KEY_PREFIX": os.environ["KEY_PREFIX"],
        "LEASE": 1.5,
        "SWEEP": 0.5,
    }
ALIAS["MAX_RESPONSE_SECONDS"] = float(os.environ.get("MAX_RESPONSE_SECONDS", "3600"))
PACE = float(os.environ.get("PACE", "0.1"))
RESUMABLE_STREAMS = {"default": ALIAS}

COUNT = 120
SHOWN = [f"{number} é€😀 <b>" for number in range(COUNT)]
"""The texts of the fragments."""

NONCE = "bm9uY2U"
POLICY = f"default-src 'none'; connect-src 'self'; script-src 'nonce-{NONCE}'; style-src 'none'"
BETWEEN = "\n& more"


def nonce(request: Any) -> dict[str, str]:
    return {"csp_nonce": NONCE}


async def words(question: str) -> AsyncIterator[Any]:
    """Yield fragments at the pace of a model: elements, and text between them."""
    from django.utils.html import format_html

    from resumable_streams.sse import retry

    for text in SHOWN:
        yield retry(0.1)  # EventSource waits for 3 s otherwise
        yield format_html("<p\n>{}</p>", text)
        yield BETWEEN
        await asyncio.sleep(PACE)


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from django.contrib.staticfiles.urls import staticfiles_urlpatterns
    from django.http import HttpResponse
    from django.template import engines
    from django.urls import path

    from resumable_streams import streams
    from resumable_streams.owners import get_identity

    # Seconds, so that a body ends often in a short test; the package has a format of this name.
    frames: Any = import_module("resumable_streams.formats.sse")
    frames.COME_BACK_AFTER = 0.1, 0.2
    answers: Any = ModuleType("mysite.answers")
    answers.words = words
    sys.modules.update({"mysite": ModuleType("mysite"), "mysite.answers": answers})
    spec = spec_from_file_location("pages_of_the_docs", CODE / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    pages = module_from_spec(spec)
    spec.loader.exec_module(pages)

    async def strict(request: Any) -> Any:
        """Answer with the page of the element under a strict Content-Security-Policy."""
        response = await pages.page(request, "element.html")
        response["Content-Security-Policy"] = POLICY
        return response

    async def stock(request: Any) -> Any:
        """Answer with the page of HTMX without our part of it."""
        response = await pages.page(request, "htmx.html")
        response.content = response.content.replace(b"resumable_streams/htmx.js", b"none.js")
        return response

    def target(request: Any) -> Any:
        """Answer with a page that shows the last fragment alone, elsewhere on it."""
        tag = '{% resumable_stream url format="html" target="#answer" replace=True %}'
        page = f'{{% load resumable_streams %}}<p id="answer">…</p>{tag}'
        context = {"url": request.GET["url"]}
        return HttpResponse(engines.all()[0].from_string(page).render(context, request))

    async def stop(request: Any) -> Any:
        """Cancel the answer of the one who asks."""
        identity = await get_identity(request, using="default")
        running = await streams.aactive("answer", owner=identity)
        assert running is not None
        await streams.acancel(running.stream_id, owner=identity)
        return HttpResponse("stopped")

    def log_out(request: Any) -> Any:
        request.session.flush()
        return HttpResponse("out")

    return [
        path("", lambda request: HttpResponse("here")),
        path("stop/", stop),
        path("log-out/", log_out),
        path("strict/", strict),
        path("stock/", stock),
        path("target/", target),
        *pages.urlpatterns,
        *staticfiles_urlpatterns(),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
