"""The generic addresses of streams: `path("streams/", include("resumable_streams.urls"))`."""

from django.urls import URLPattern, path

from .conf import DEFAULT_ALIAS
from .views import CancelView, ListView, ResumeView, StatusView

__all__ = ["app_name", "stream_urls", "urlpatterns"]

app_name = "resumable_streams"


def stream_urls(using: str = DEFAULT_ALIAS) -> tuple[list[URLPattern], str]:
    """Return the addresses of the streams of an alias, as `include()` takes them.

    Give each alias a namespace: `path("drafts/", include(stream_urls("drafts"), "drafts"))` is
    reversed as `drafts:list`, `drafts:stream`, `drafts:status` and `drafts:cancel`.
    """
    patterns = [
        path("", ListView.as_view(using=using), name="list"),
        path("<str:stream_id>/", ResumeView.as_view(using=using), name="stream"),
        path("<str:stream_id>/status/", StatusView.as_view(using=using), name="status"),
        path("<str:stream_id>/cancel/", CancelView.as_view(using=using), name="cancel"),
    ]
    return patterns, app_name


urlpatterns, _ = stream_urls()
