"""The rows that outlive the streams: generations in force, stream records, operators' acts.

No table has a foreign key to the user model: a row has to outlive the account that it is about,
and may live in another database (`db_for_write` of the routers is asked). None holds a payload.
"""

from collections.abc import Collection, Iterable
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .types import PUBLIC, Owner

__all__ = ["IncidentAction", "StreamNamespace", "StreamRecord"]


GOVERNING = frozenset({"generation", "ttl"})
"""What of a row is in force in the store, not only written down here."""


def _rows() -> Any:
    """Return `operating.rows`, by its name: models lie below it."""
    return import_module("resumable_streams.operating.rows")


class NamespaceQuerySet(models.QuerySet["StreamNamespace"]):
    """Rows of tenants. What is in force is not changed for many of them at once."""

    def update(self, **values: Any) -> int:
        if GOVERNING.intersection(values):
            raise _refusal("update()")
        return super().update(**values)

    def bulk_update(
        self,
        objs: "Iterable[StreamNamespace]",
        fields: Iterable[str],
        batch_size: int | None = None,
    ) -> int:
        fields = list(fields)
        if GOVERNING.intersection(fields):
            raise _refusal("bulk_update()")
        return super().bulk_update(objs, fields, batch_size)

    def bulk_create(self, *args: Any, **named: Any) -> NoReturn:
        raise _refusal("bulk_create()")


def _refusal(method: str) -> TypeError:
    return TypeError(
        f"{method} would change the generation or the ttl of namespaces in the database only, and "
        f"leave what is in force as it is. Call StreamNamespace.objects.rotate(tenant) or "
        f"StreamNamespace.objects.retire(tenant, ttl=seconds), or save() each row."
    )


_Manager = models.Manager.from_queryset(NamespaceQuerySet)


class NamespaceManager(_Manager["StreamNamespace"]):
    """The tenants, as the database has them where it is written, never as a replica has them.

    What a row says decides what is served.
    """

    def get_queryset(self) -> "models.QuerySet[StreamNamespace]":
        using = self._db or router.db_for_write(self.model)
        rows: models.QuerySet[StreamNamespace] = super().get_queryset().using(using)
        return rows

    def rotate(self, tenant: str, *, alias: str = "default", purge_old: bool = False) -> int:
        """Start a new generation of a tenant and return it: nothing older is reached any more.

        It is in force, in every process, when this returns. Database and store have it or neither,
        or the error says which. In a transaction of yours the database has it with your commit.
        With `purge_old` the streams of the older generations are deleted, too.
        """
        generation: int = _rows().rotate(alias, tenant, purge_old=purge_old)
        return generation

    async def arotate(self, tenant: str, *, alias: str = "default", purge_old: bool = False) -> int:
        return await sync_to_async(self.rotate)(tenant, alias=alias, purge_old=purge_old)

    def retire(
        self, tenant: str, *, ttl: float | None, alias: str = "default", existing: bool = False
    ) -> int:
        """Set the TTL of a tenant (seconds), shorter or longer; None or 0: the alias's again.

        It holds for streams that are acquired from now on. With `existing`, those that would be
        kept longer than `ttl` are shortened to it; returns how many were. Saved as by `rotate`.
        """
        shortened: int = _rows().retire(alias, tenant, ttl=ttl, existing=existing)
        return shortened

    async def aretire(
        self, tenant: str, *, ttl: float | None, alias: str = "default", existing: bool = False
    ) -> int:
        return await sync_to_async(self.retire)(tenant, ttl=ttl, alias=alias, existing=existing)


class StreamNamespace(models.Model):
    """What is in force for one tenant of one alias: here in writing, in the store in use.

    Saving a row puts it in force when that is committed; `objects.rotate` and `objects.retire` do
    it at once. A generation only grows. What writes past `save` (fixtures, the models that
    migrations see, SQL) changes the copy alone, which counts when the store has lost the tenant.
    """

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

    in_force: Any = None  # what the store says, once somebody has asked it
    trouble = ""  # why it could not be put in force
    _loaded: dict[str, Any] | None = None  # what governs, as it was read or written last

    class Meta:
        verbose_name = _("namespace")
        verbose_name_plural = _("namespaces")
        ordering = ["alias", "tenant"]
        default_permissions = ("add", "view")
        permissions = [
            ("rotate_streamnamespace", "Can rotate the generation of a namespace"),
            ("retire_streamnamespace", "Can set the time to live of a namespace"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["alias", "tenant"], name="resumable_namespace_unique_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.alias}/{self.tenant} (generation {self.generation})"

    def save(
        self,
        *,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Write the row, and put it in force in the store as soon as that is committed.

        What somebody else has changed since the row was read, and you have not, stays theirs.
        Raises ValueError for a generation below the one that was read, and NotInForce, after the
        commit, if the store does not answer. A new row that says nothing changes nothing there.
        """
        rows = _rows()
        rows.check(self)
        using = using or router.db_for_write(type(self), instance=self)
        fields = GOVERNING if update_fields is None else GOVERNING.intersection(update_fields)
        is_silent = not fields or (self._state.adding and rows.says_nothing(self))
        with transaction.atomic(using=using):
            if fields:
                self._catch_up(fields, using)
            self.write(
                force_insert=force_insert,
                force_update=force_update,
                using=using,
                update_fields=update_fields,
            )
            if not is_silent:
                transaction.on_commit(partial(self._apply, fields, using), using=using)

    save.alters_data = True  # type: ignore[attr-defined]

    def write(self, **named: Any) -> None:
        """Write the row alone: for whoever puts it in force."""
        super().save(**named)
        self._note()

    write.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def from_db(cls, *args: Any, **named: Any) -> "StreamNamespace":
        row = super().from_db(*args, **named)
        row._note()
        return row

    def refresh_from_db(self, *args: Any, **named: Any) -> None:
        super().refresh_from_db(*args, **named)
        self._note()

    def clean(self) -> None:
        super().clean()
        try:
            _rows().check(self)
        except (ValueError, ImproperlyConfigured) as error:
            raise ValidationError(str(error)) from error

    def _note(self) -> None:
        """Remember what was read; fields that were deferred are not known."""
        self._loaded = {k: self.__dict__[k] for k in GOVERNING if k in self.__dict__}

    def _catch_up(self, fields: Collection[str], using: str) -> None:
        """Keep what somebody else has written since this row was read; refuse to go back."""
        rows = type(self)._base_manager.using(using).select_for_update()
        saved, loaded = rows.filter(pk=self.pk).values(*GOVERNING).first(), self._loaded or {}
        if saved is None:
            return
        if "ttl" in fields and "ttl" in loaded and self.ttl == loaded["ttl"]:
            self.ttl = saved["ttl"]
        if "generation" in fields and self.generation < saved["generation"]:
            self._grow(saved["generation"], loaded.get("generation"))

    def _grow(self, saved: int, loaded: int | None) -> None:
        if loaded is None or self.generation < loaded:
            raise ValueError(
                f"A generation only grows: this tenant is at {saved}, and streams of "
                f"{self.generation} must not be reached again. "
                f"StreamNamespace.objects.rotate({self.tenant!r}) starts the next one."
            )
        self.generation = saved

    def _apply(self, fields: Collection[str], using: str) -> None:
        """Put in force what the row says now: somebody may have changed it since our commit."""
        with transaction.atomic(using=using):
            row = type(self)._base_manager.using(using).filter(pk=self.pk)
            # Not by select_for_update: SQLite locks for whoever writes.
            if not row.update(generation=models.F("generation")):
                return  # somebody has deleted it
            saved = row.get()
            in_force = _rows().apply(saved, fields)
            if in_force > saved.generation:  # the store knew a later one
                row.update(generation=in_force)
        if in_force > self.generation:
            self.generation = in_force
            self._note()


class StreamRecord(models.Model):
    """The record of a stream: its owner and client, and how it ended.

    `owner` is empty for a PUBLIC stream: no other owner is. It is found by `owner_digest`, because
    an owner may be longer than what every database can index. A row without a digest is of somebody
    who was forgotten. `streaming` is what was last heard:
    a producer that was killed says nothing any more, and `records.settle` finds that out.
    """

    class Status(models.TextChoices):
        STREAMING = "streaming", _("streaming")
        DONE = "done", _("done")
        ERROR = "error", _("error")
        CANCELLED = "cancelled", _("cancelled")
        REVOKED = "revoked", _("revoked while streaming")
        ROTATED = "rotated", _("rotated away while streaming")
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
            models.Index(fields=["status", "-acquired"], name="resumable_record_status"),
            models.Index(fields=["alias", "tenant", "-ended"], name="resumable_record_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.alias}/{self.tenant}/{self.stream_id}"

    @property
    def stream_owner(self) -> Owner:
        """The owner as the streams know it."""
        return self.owner or PUBLIC


class IncidentAction(models.Model):
    """The proof of an operator's act: who, when, why, its arguments, counts and outcome.

    A row is written before the act, as interrupted, and completed after it. `who` is `os:` and the
    name of the user id that ran a command, or `admin:` and a user name. `sudo_user` is what the
    environment of the command claims: the log of sudo proves it.
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
        FORGET = "forget", _("forget")
        LIST = "list", _("list")
        TAIL = "tail", _("tail")

    class Outcome(models.TextChoices):
        DONE = "done", _("done")
        DRY_RUN = "dry_run", _("dry run, nothing changed")
        FAILED = "failed", _("failed")
        INTERRUPTED = "interrupted", _("running or interrupted")

    action = models.CharField(_("action"), max_length=16, choices=Action.choices)
    alias = models.CharField(
        _("alias"), max_length=100, blank=True, help_text=_("Empty: all of them.")
    )
    tenant = models.CharField(
        _("tenant"), max_length=64, blank=True, help_text=_("Empty: all of them.")
    )
    who = models.CharField(_("who"), max_length=255)
    uid = models.BigIntegerField(_("user id of the process"), null=True, blank=True)
    sudo_user = models.CharField(_("by sudo from"), max_length=255, blank=True)
    host = models.CharField(_("host"), max_length=255, blank=True)
    reason = models.TextField(_("reason"), blank=True)
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
        return f"{self.action} {self.alias or '*'}/{self.tenant or '*'} by {self.who}"
