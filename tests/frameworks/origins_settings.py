"""Settings of the site of `origins`, some from docs/clients.md. Its page is at `localhost`."""

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "clients.md").read_text()


def documented() -> dict[str, Any]:
    """Return the settings of the page."""
    _, _, section = PAGE.partition("\n## Other origins\n")
    (code,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    settings: dict[str, Any] = {}
    exec(code, settings)
    return {name: value for name, value in settings.items() if name.isupper()}


SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["resumable_streams"]
ROOT_URLCONF = "tests.frameworks.origins"
MIDDLEWARE = [
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "tests.frameworks.origins.token_middleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
USE_TZ = True
RESUMABLE_STREAMS = {"default": {"DRAIN_TIMEOUT": 0}}

CORS_ALLOW_HEADERS = documented()["CORS_ALLOW_HEADERS"]
CORS_ALLOWED_ORIGIN_REGEXES = [r"http://localhost:\d+"]
