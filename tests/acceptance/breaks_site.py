"""The site of frames, with a filter for what a server says of deliberate breaks."""

import asyncio
import os
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from tests.acceptance import frames_site
from tests.acceptance.frames_site import *  # noqa: F403

ROOT_URLCONF = "tests.acceptance.breaks_site"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"breaks": {"()": "resumable_streams.breaks.DeliberateBreaks"}},
    "loggers": {
        name: {"filters": ["breaks"] * (os.environ["FILTERED"] == "yes")}
        for name in ("uvicorn.error", "gunicorn.error")
    },
}


async def fault(request: HttpRequest) -> StreamingHttpResponse:
    """Break off as an application does that has a fault."""

    async def body() -> Any:
        yield b"begun"
        raise asyncio.CancelledError

    return StreamingHttpResponse(body())


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return [path("fault", fault), *frames_site.urlpatterns]
    raise AttributeError(name)
