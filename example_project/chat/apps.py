"""The chat as a Django app."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Register the chat and its system check."""

    name = "example_project.chat"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import what registers itself."""
        from . import checks  # noqa: F401
