"""The generic addresses of streams: `path("streams/", include("resumable_streams.urls"))`."""

from django.urls import path

from .views import CancelView, ResumeView, StatusView

app_name = "resumable_streams"

urlpatterns = [
    path("<str:stream_id>/", ResumeView.as_view(), name="stream"),
    path("<str:stream_id>/status/", StatusView.as_view(), name="status"),
    path("<str:stream_id>/cancel/", CancelView.as_view(), name="cancel"),
]
