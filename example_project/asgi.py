"""The example for ASGI servers."""

import os
from typing import Any

from resumable_streams.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application: Any = get_asgi_application()

from django.conf import settings  # noqa: E402 - needs the name of the settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402 - the same

from example_project.chat import llm  # noqa: E402 - needs the settings

if settings.DEBUG:  # runserver serves static files by itself, uvicorn does not
    application = ASGIStaticFilesHandler(application)

llm.get_model()  # servers run no system checks: a model that cannot answer stops them here
