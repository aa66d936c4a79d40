"""Settings of the site of `origins`, for a process of its own: its page is at `localhost`."""

from .origins import MIDDLEWARE as ORIGINS
from .origins import documented

SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["resumable_streams"]
ROOT_URLCONF = "tests.frameworks.origins"
MIDDLEWARE = ORIGINS
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_SAMESITE = None
USE_TZ = True
RESUMABLE_STREAMS = {"default": {"DRAIN_TIMEOUT": 0}}

CORS_ALLOW_HEADERS = documented()["CORS_ALLOW_HEADERS"]
CORS_ALLOWED_ORIGIN_REGEXES = [r"http://localhost:\d+"]
