"""What outlives the streams: generations in force, who streamed what, what operators did.

No table has a foreign key to the user model: a row has to outlive the account that it is about,
and may live in another database (`db_for_write` of the routers is asked). None holds a payload.
"""

from django.db import models, router
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .types import PUBLIC, Owner

__all__ = ["IncidentAction", "StreamNamespace", "StreamRecord"]


class NamespaceManager(models.Manager["StreamNamespace"]):
    """The rows as the database has them where it is written, never as a replica has them.

    What a row says decides what is served.
    """

    def get_queryset(self) -> "models.QuerySet[StreamNamespace]":
        using = self._db or router.db_for_write(self.model)
        return super().get_queryset().using(using)


class StreamNamespace(models.Model):
    """Keep what is in force for one tenant of one alias, in case that the store forgets it."""

    alias = models.CharField(_("alias"), max_length=100)
    tenant = models.CharField(_("tenant"), max_length=64)
    generation = models.PositiveBigIntegerField(_("generation"), default=1)
    ttl = models.FloatField(
        _("time to live"),
        null=True,
        blank=True,
        help_text=_("Seconds that streams of this tenant live; empty: as the alias has it."),
    )
    updated = models.DateTimeField(_("updated"), auto_now=True)

    objects = NamespaceManager()

    class Meta:
        verbose_name = _("namespace")
        verbose_name_plural = _("namespaces")
        ordering = ["alias", "tenant"]
        default_permissions = ("add", "view")
        permissions = [
            ("rotate_streamnamespace", "Can rotate the generation of a namespace"),
            ("retire_streamnamespace", "Can shorten the life of the streams of a namespace"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["alias", "tenant"], name="resumable_namespace_unique_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias}/{self.tenant} (generation {self.generation})"


class StreamRecord(models.Model):
    """Tell who started a stream, from where, and how it ended.

    `owner` is empty for a PUBLIC stream: no other owner is. It is found by `owner_digest`, because
    an owner may be longer than what every database can index. `streaming` is what was last heard:
    a producer that was killed says nothing any more, and `records.settle` finds that out.
    """

    class Status(models.TextChoices):
        STREAMING = "streaming", _("streaming")
        DONE = "done", _("done")
        ERROR = "error", _("error")
        CANCELLED = "cancelled", _("cancelled")
        DELETED = "deleted", _("gone while streaming")
        LOST = "lost", _("ended unseen")

    alias = models.CharField(_("alias"), max_length=100)
    tenant = models.CharField(_("tenant"), max_length=64)
    generation = models.PositiveBigIntegerField(_("generation"), null=True, blank=True)
    stream_id = models.CharField(_("stream id"), max_length=256)
    epoch = models.CharField(_("incarnation"), max_length=64, blank=True)
    owner = models.TextField(_("owner"), blank=True)
    owner_digest = models.CharField(_("owner digest"), max_length=32)
    user = models.CharField(_("user id"), max_length=255, blank=True)
    request_id = models.CharField(_("request id"), max_length=200, blank=True)
    ip = models.GenericIPAddressField(_("IP address"), null=True, blank=True)
    acquired = models.DateTimeField(_("acquired"))
    ended = models.DateTimeField(_("ended"), null=True, blank=True)
    status = models.CharField(
        _("status"), max_length=16, choices=Status.choices, default=Status.STREAMING
    )
    error_code = models.CharField(_("error code"), max_length=64, blank=True)
    size = models.PositiveBigIntegerField(_("bytes"), null=True, blank=True)
    duration = models.FloatField(_("seconds"), null=True, blank=True)

    status_now: str | None = None  # what the stream is, once somebody has asked its store

    class Meta:
        verbose_name = _("stream record")
        verbose_name_plural = _("stream records")
        ordering = ["-acquired", "-pk"]
        get_latest_by = "acquired"
        default_permissions = ("view",)
        permissions = [
            ("cancel_streamrecord", "Can cancel the stream of a record"),
            ("erase_streamrecord", "Can delete the stream of a record"),
            ("revoke_streamrecord", "Can revoke the owner of a record"),
        ]
        constraints = [
            # One election; so a batch whose fate is unknown can be written again.
            models.UniqueConstraint(
                fields=["stream_id", "tenant", "alias", "acquired"],
                name="resumable_record_unique_election",
            ),
        ]
        indexes = [
            models.Index(fields=["-acquired"], name="resumable_record_acquired"),
            models.Index(fields=["owner_digest", "-acquired"], name="resumable_record_owner"),
            models.Index(fields=["user", "-acquired"], name="resumable_record_user"),
            models.Index(fields=["ip", "-acquired"], name="resumable_record_ip"),
            models.Index(fields=["request_id"], name="resumable_record_request"),
            models.Index(fields=["alias", "tenant", "-acquired"], name="resumable_record_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.alias}/{self.tenant}/{self.stream_id}"

    @property
    def stream_owner(self) -> Owner:
        """The owner as the streams know it."""
        return self.owner or PUBLIC


class IncidentAction(models.Model):
    """Prove what an operator did: with what arguments, to how much, and how it went.

    A row is written before the act, as interrupted, and completed after it.
    """

    class Action(models.TextChoices):
        AUDIT = "audit", _("audit")
        PURGE = "purge", _("purge")
        ROTATE = "rotate", _("rotate")
        REVOKE = "revoke", _("revoke")
        CANCEL = "cancel", _("cancel")
        RETIRE = "retire", _("retire")
        REAP = "reap", _("reap")
        DELETE = "delete", _("delete")

    class Outcome(models.TextChoices):
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        INTERRUPTED = "interrupted", _("running or interrupted")

    action = models.CharField(_("action"), max_length=16, choices=Action.choices)
    alias = models.CharField(_("alias"), max_length=100)
    tenant = models.CharField(
        _("tenant"), max_length=64, blank=True, help_text=_("Empty: all of them.")
    )
    who = models.CharField(_("who"), max_length=255)
    started = models.DateTimeField(_("started"), default=timezone.now)
    finished = models.DateTimeField(_("finished"), null=True, blank=True)
    arguments = models.JSONField(_("arguments"), default=dict, blank=True)
    counts = models.JSONField(_("counts"), default=dict, blank=True)
    outcome = models.CharField(
        _("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.INTERRUPTED
    )
    error = models.TextField(_("error"), blank=True)

    class Meta:
        verbose_name = _("incident action")
        verbose_name_plural = _("incident actions")
        ordering = ["-started", "-pk"]
        get_latest_by = "started"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-started"], name="resumable_action_started"),
            models.Index(fields=["alias", "tenant", "-started"], name="resumable_action_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.alias}/{self.tenant or '*'} by {self.who}"
