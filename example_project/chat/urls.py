"""URLs of the chat: those below `api/` are what AI SDK clients ask for."""

from django.urls import path

from . import views

app_name = "chat"

urlpatterns = [
    path("", views.page, name="page"),
    path("api/raw", views.RawView.as_view(), name="raw"),
    path("api/chat", views.ask, name="ask"),
    path("api/chat/<str:key>", views.history, name="history"),
    path("api/chat/<str:key>/stream", views.join, name="stream"),
    path("api/chat/<str:key>/stop", views.stop, name="stop"),
]
