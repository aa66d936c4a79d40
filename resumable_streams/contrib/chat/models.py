"""Conversations and their messages."""

from typing import Any

from django.db import models, router
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ...types import PUBLIC, Owner

__all__ = ["Conversation", "FormerStream", "Message"]


class PrimaryManager(models.Manager[Any]):
    """The rows as the database has them where it is written: a replica may be a moment behind."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().using(self._db or router.db_for_write(self.model))


class Conversation(models.Model):
    """A conversation of one owner in one chat, which is the name of its addresses.

    `key` is the id that clients know it by, unique within the owner and the chat.

    `running` is the stream of the answer that is being written, as far as anybody said; `claimed`
    is when that stream was about to be started.
    """

    alias = models.CharField(_("alias"), max_length=100)
    tenant = models.CharField(_("tenant"), max_length=64)
    chat = models.CharField(_("chat"), max_length=100)
    owner = models.TextField(_("owner"), blank=True)  # empty: PUBLIC
    owner_digest = models.CharField(_("owner digest"), max_length=32)
    key = models.CharField(_("key"), max_length=128)
    title = models.CharField(_("title"), max_length=200, blank=True)
    attributes = models.JSONField(_("attributes"), default=dict, blank=True)
    created = models.DateTimeField(_("created"), default=timezone.now)
    updated = models.DateTimeField(_("updated"), default=timezone.now)
    running = models.CharField(
        _("running stream"), max_length=256, unique=True, null=True, blank=True, editable=False
    )
    claimed = models.DateTimeField(_("claimed"), null=True, blank=True, editable=False)

    objects = PrimaryManager()
    messages: "models.Manager[Message]"

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ["-updated", "-id"]
        default_permissions = ("view", "delete")
        constraints = [
            models.UniqueConstraint(
                fields=["owner_digest", "key", "chat", "tenant", "alias"],
                name="resumable_chat_unique_key",
            ),
        ]
        indexes = [
            models.Index(fields=["owner_digest", "-updated", "-id"], name="resumable_chat_latest"),
        ]

    def __str__(self) -> str:
        return self.title or self.key

    @property
    def stream_owner(self) -> Owner:
        """The owner as the streams know it."""
        return self.owner or PUBLIC


class Message(models.Model):
    """A question or an answer, in the parts of the AI SDK's UI messages.

    The first `base` parts of an answer were there before its present stream began: it goes on after
    the result of a tool. `earlier_usage` is what had been used by then.
    A `running` answer is what was last saved of it.
    """

    class Role(models.TextChoices):
        USER = "user", _("user")
        ASSISTANT = "assistant", _("assistant")
        SYSTEM = "system", _("system")

    class Status(models.TextChoices):
        RUNNING = "running", _("running")
        COMPLETE = "complete", _("complete")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("failed")

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    key = models.CharField(_("key"), max_length=128)
    role = models.CharField(_("role"), max_length=9, choices=Role.choices)
    parts = models.JSONField(_("parts"), default=list)
    base = models.PositiveIntegerField(_("earlier parts"), default=0, editable=False)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    status = models.CharField(
        _("status"), max_length=8, choices=Status.choices, default=Status.COMPLETE
    )
    error_code = models.CharField(_("error code"), max_length=64, blank=True)
    usage = models.JSONField(_("usage"), default=dict, blank=True)
    earlier_usage = models.JSONField(_("earlier usage"), default=dict, editable=False)
    stream_id = models.CharField(
        _("stream"), max_length=256, unique=True, null=True, blank=True, editable=False
    )
    created = models.DateTimeField(_("created"), default=timezone.now)
    ended = models.DateTimeField(_("ended"), null=True, blank=True)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "key"], name="resumable_chat_unique_message"
            ),
        ]
        indexes = [models.Index(fields=["conversation", "id"], name="resumable_chat_in_order")]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:40]}"

    @property
    def text(self) -> str:
        """The text of the message, without its other parts."""
        return "".join(part.get("text", "") for part in self.parts if part.get("type") == "text")

    def as_ui_message(self) -> dict[str, Any]:
        """Return the message as the AI SDK has it. An answer that is being written has no parts.

        A client adds the parts that it reads from the stream to those that it has.
        """
        is_running = self.status == self.Status.RUNNING
        metadata = {**self.metadata, "status": self.status, "created": self.created.isoformat()}
        if self.usage:
            metadata["usage"] = self.usage
        if self.error_code:
            metadata["error"] = self.error_code
        return {
            "id": self.key,
            "role": self.role,
            "parts": [] if is_running else self.parts,
            "metadata": metadata,
        }


class FormerStream(models.Model):
    """A stream that no message has any more, until it is deleted."""

    conversation = models.ForeignKey(
        Conversation, on_delete=models.SET_NULL, related_name="former_streams", null=True
    )
    alias = models.CharField(_("alias"), max_length=100)
    tenant = models.CharField(_("tenant"), max_length=64)
    stream_id = models.CharField(_("stream"), max_length=256, unique=True)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("former stream")
        verbose_name_plural = _("former streams")
        default_permissions = ()

    def __str__(self) -> str:
        return self.stream_id
