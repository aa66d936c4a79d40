"""A site with chats whose questions say, in JSON, how they are to be answered.

`{"count": 10, "every": 0.1}` are ten words at a pace; with `"tool"` the client is asked first, with
`"fail"` the provider breaks off. The caller is whoever the header says. POSTGRES_HOST is the folder
of the socket of a database server; without it the database is a file.
"""

import os
from typing import Any

from tests.acceptance.deploy_site import *  # noqa: F403
from tests.acceptance.deploy_site import DATABASES

ROOT_URLCONF = "tests.acceptance.chat_site"

if host := os.environ.get("POSTGRES_HOST"):
    server = {"HOST": host, "USER": "postgres", "NAME": "postgres"}
    DATABASES["default"] = {"ENGINE": "django.db.backends.postgresql", **server}


def _urls() -> list[Any]:
    # Imported late: this module is the settings, too.
    from django.urls import include, path

    from tests.acceptance.chat_views import Assistant, Queued

    return [
        path("api/", include(Assistant.urls("chat"))),
        path("api/", include(Queued.urls("queued"))),
    ]


def __getattr__(name: str) -> Any:
    if name == "urlpatterns":
        return _urls()
    raise AttributeError(name)
