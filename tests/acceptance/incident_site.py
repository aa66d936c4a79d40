"""A site for the incident: the caller's headers say who asks. Settings and URLs in one module."""

import asyncio
import os
from typing import Any

from tests.acceptance.site_settings import *  # noqa: F403
from tests.acceptance.site_settings import INSTALLED_APPS, MIDDLEWARE, RESUMABLE_STREAMS

ROOT_URLCONF = "tests.acceptance.incident_urls"
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "daphne"]
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]
RESUMABLE_STREAMS["default"].update(
    OWNER="tests.acceptance.incident_site.owner", TENANT="tests.acceptance.incident_site.tenant"
)
LOGGING = {  # the audit log as a site would have it: everything, to where stderr goes
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {
        "resumable_streams.audit": {
            "handlers": ["console"],
            "level": os.environ.get("AUDIT_LEVEL", "INFO"),
        }
    },
}
TICK_SECONDS = float(os.environ.get("TICK_SECONDS", "0.02"))


def owner(request: Any) -> str | None:
    name = request.headers.get("X-User")
    return name and f"user:{name}"


def tenant(request: Any) -> str:
    name: str = request.headers.get("X-Tenant", "default")
    return name


async def ticking() -> Any:
    """Produce until somebody stops it."""
    number = 0
    while True:
        yield b"%08d\n" % number
        number += 1
        await asyncio.sleep(TICK_SECONDS)
