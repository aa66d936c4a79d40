"""The app: checks are registered, and receivers connected, when Django is ready."""

from contextlib import suppress

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.module_loading import import_string

from .conf import get_aliases, get_settings

__all__ = ["ResumableStreamsConfig"]


class ResumableStreamsConfig(AppConfig):
    name = "resumable_streams"
    verbose_name = "Resumable streams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  importing checks registers
        from .operating import audit_log, records, revoke_on

        audit_log.connect()
        revoke_on.configure()
        records.configure()
        # What the first stream would read from disk, on the loop.
        timezone.get_default_timezone()
        _import_backends()


def _import_backends() -> None:
    """Import the stores; what is wrong with them is for the checks to say."""
    with suppress(ImproperlyConfigured):
        for alias in get_aliases():
            with suppress(ImportError):
                import_string(get_settings(alias).backend)
