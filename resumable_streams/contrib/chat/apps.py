"""The app of chats: its receivers are connected when Django is ready."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

__all__ = ["ChatConfig"]


class ChatConfig(AppConfig):
    name = "resumable_streams.contrib.chat"
    label = "resumable_streams_chat"
    verbose_name = _("Chats")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import moving, saving

        saving.connect()
        moving.connect()
