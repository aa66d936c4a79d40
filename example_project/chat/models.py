"""Chats and their messages; the bytes of a running answer are not here but in its stream."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone

START_TIME = timedelta(seconds=5)


class Chat(models.Model):
    """Be a conversation of one owner, under the id that the client chose.

    Two owners may choose the same id without learning of each other.
    """

    owner = models.CharField(max_length=1024)
    key = models.CharField(max_length=128)
    stream_id = models.CharField(max_length=256, blank=True)  # of the latest answer
    asked = models.CharField(max_length=128, blank=True)  # key of the message it answers
    claimed = models.DateTimeField(
        null=True
    )  # when the stream got its id; it exists a little later
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="chat_of_owner"),
        ]
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return self.key

    @property
    def is_starting(self) -> bool:
        """Tell whether the latest stream may not exist yet, rather than not any more."""
        return self.claimed is not None and timezone.now() - self.claimed < START_TIME


class Message(models.Model):
    """Be one message, saved when it is complete; an answer's key is the id of its stream."""

    class Role(models.TextChoices):
        """Name who speaks."""

        USER = "user"
        ASSISTANT = "assistant"

    class Status(models.TextChoices):
        """Name how an answer ended."""

        COMPLETE = "complete"
        STOPPED = "stopped"
        FAILED = "failed"

    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="messages")
    key = models.CharField(max_length=256)
    role = models.CharField(max_length=9, choices=Role)
    text = models.TextField(blank=True)
    status = models.CharField(max_length=8, choices=Status, default=Status.COMPLETE)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chat", "key"], name="message_of_chat"),
        ]
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:40]}"
