"""The example for WSGI servers."""

import os

from resumable_streams.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application = get_wsgi_application()

from example_project.chat import llm  # noqa: E402 - needs the settings

llm.get_model()  # servers run no system checks: a model that cannot answer stops them here
