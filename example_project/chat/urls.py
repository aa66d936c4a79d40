"""URLs of the chat: those below `api/` are what AI SDK clients ask for."""

from django.conf import settings
from django.urls import include, path

from . import damage, react, views
from .answers import Assistant

app_name = "chat"

urlpatterns = [
    path("", views.page, name="page"),
    path("shared/<str:stream_id>/", views.shared, name="shared"),
    path("api/session", views.session, name="session"),
    path("api/raw", views.RawView.as_view(), name="raw"),
    path("api/agent", views.AgentView.as_view(), name="agent"),
    path("api/share/<str:stream_id>", views.share, name="share"),
    path("api/", include(Assistant.urls("chat"))),
]

if not damage.REASON:
    urlpatterns += [path("api/kill/<str:stream_id>", damage.kill, name="kill")]

if settings.REACT_BUILD.exists():
    urlpatterns += [
        path("react/", react.page, name="react"),
        path("react/<slug:name>", react.page, name="react-page"),
    ]
