"""The example for ASGI servers: pages, and streams by WebSocket."""

import os

from django.urls import path

from resumable_streams.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

django = get_asgi_application()

from example_project.chat import llm  # noqa: E402 - needs the settings
from resumable_streams.consumers import StreamConsumer, with_websockets  # noqa: E402 - the same

# Browsers send cookies from any page: `with_websockets` checks from which one a socket comes.
application = with_websockets(django, [path("ws/streams/", StreamConsumer.as_asgi())])

llm.get_model()  # servers run no system checks: a model that cannot answer stops them here
