"""URLs of the chat: those below `api/` are what AI SDK clients ask for."""

from django.urls import include, path

from . import views
from .answers import Assistant

app_name = "chat"

urlpatterns = [
    path("", views.page, name="page"),
    path("api/raw", views.RawView.as_view(), name="raw"),
    path("api/", include(Assistant.urls("chat"))),
]
