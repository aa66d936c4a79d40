"""URLs of the example: the chat, the streams, the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.chat.urls")),
    path("streams/", include("resumable_streams.urls")),
    path("admin/", admin.site.urls),
]
