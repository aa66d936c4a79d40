"""A project that has no addresses of ours."""

from django.urls import path

from .test_views import Raw

urlpatterns = [path("raw/", Raw.as_view())]
