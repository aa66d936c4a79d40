"""The app: checks are registered, and receivers connected, when Django is ready."""

from django.apps import AppConfig
from django.utils import timezone

__all__ = ["ResumableStreamsConfig"]


class ResumableStreamsConfig(AppConfig):
    name = "resumable_streams"
    verbose_name = "Resumable streams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import audit, checks, records  # noqa: F401  importing checks registers them

        audit.connect()
        records.configure()
        timezone.get_default_timezone()  # the first stream would read it on the loop
