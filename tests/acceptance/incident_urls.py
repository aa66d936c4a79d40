"""URLs of the incident's site: start a stream, and the generic views."""

from typing import Any

from django.http import HttpRequest
from django.urls import include, path

from resumable_streams.views import AcquireView

from .incident_site import ticking


class Start(AcquireView):
    def get_stream_id(self, request: HttpRequest) -> str | None:
        return request.GET.get("id")

    def produce(self, request: HttpRequest) -> Any:
        return ticking()


urlpatterns = [
    path("start/", Start.as_view()),
    path("streams/", include("resumable_streams.urls")),
]
