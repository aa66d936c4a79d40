"""Django settings of the suite: the smallest project that has every part the app touches."""

import os
import tempfile
from pathlib import Path
from typing import Any

SECRET_KEY = "tests"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEMO_MODEL, DEMO_RATE = "scripted", "30"  # of the example, whose checks a test of it imports
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "resumable_streams",
    "resumable_streams.contrib.chat",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

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

# In a file: Django never closes connections to a database in memory that other threads opened.
SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": ":memory:",
    "TEST": {"NAME": str(Path(tempfile.gettempdir()) / f"suite-{os.getpid()}.sqlite3")},
}
POSTGRESQL: dict[str, Any] = {
    "ENGINE": "django.db.backends.postgresql",
    "USER": "postgres",
    "NAME": "postgres",
    "HOST": os.environ.get("DATABASE_HOST", ""),  # of the suite's own server, once it is there
    "OPTIONS": {"pool": {"min_size": 1, "max_size": 4, "timeout": 10}},
}
DATABASES = {
    "default": {"sqlite": SQLITE, "postgresql": POSTGRESQL}[os.environ.get("DATABASE", "sqlite")]
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

RESUMABLE_STREAMS = {"default": {"BACKEND": "resumable_streams.stores.memory.MemoryStore"}}
