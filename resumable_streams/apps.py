"""The app: checks are registered when Django is ready."""

from django.apps import AppConfig
from django.utils import timezone

__all__ = ["ResumableStreamsConfig"]


class ResumableStreamsConfig(AppConfig):
    name = "resumable_streams"
    verbose_name = "Resumable streams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers them

        timezone.get_default_timezone()  # the first stream would read it on the loop
