"""The addresses of health: `path("health/", include("resumable_streams.health_urls"))`.

They have an `include` of their own, as `urls` takes any name for the id of a stream.
"""

from django.urls import path

from .health import LivenessView, ReadinessView

__all__ = ["app_name", "urlpatterns"]

app_name = "resumable_streams_health"

urlpatterns = [
    path("live/", LivenessView.as_view(), name="live"),
    path("ready/", ReadinessView.as_view(), name="ready"),
]
