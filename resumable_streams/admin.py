"""The operator's pages: namespaces, records, and what operators did. No payload is ever shown.

Rows are never edited or deleted by hand (`clear_records` deletes old records). What can be done is
an action: it has a permission of its own, a page that asks again, and leaves an IncidentAction. A
store that does not answer is a message, not an error page.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db import Error as DatabaseTrouble
from django.db import connections, router, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.text import Truncator
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from . import namespaces
from .conf import get_aliases
from .exceptions import InvalidStoreError, InvalidTenant, StoreUnavailable, StreamError
from .incidents import incident
from .keys import owner_digest, validate_tenant
from .models import IncidentAction, StreamNamespace, StreamRecord
from .records import look
from .runtime import runtime
from .types import StreamStatus

__all__ = ["IncidentActionAdmin", "StreamNamespaceAdmin", "StreamRecordAdmin"]

MOST_SELECTED = 500
MOST_MESSAGES = 5
FAILURES = (StreamError, InvalidStoreError, DatabaseTrouble, ValueError)

Action = IncidentAction.Action
View = TypeVar("View", bound=Callable[..., HttpResponseBase])

if TYPE_CHECKING:  # the classes of Django take no parameters when the code runs
    NamespaceModelForm = forms.ModelForm[StreamNamespace]
    AnyAdmin = admin.ModelAdmin[Any]
else:
    NamespaceModelForm, AnyAdmin = forms.ModelForm, admin.ModelAdmin


# Acting.


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Be one thing an action acts on: an act of its own, with a name for people."""

    alias: str
    tenant: str
    name: str
    arguments: dict[str, Any]
    act: Callable[[dict[str, Any]], dict[str, int]]
    """Gets what the form says, does it, and returns what to count."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Be what an action is about to do, until somebody says yes."""

    action: Action
    title: str
    warning: str
    targets: Sequence[Target]
    form: type[forms.Form] = forms.Form


def _not_atomic(view: View) -> View:
    """Keep ATOMIC_REQUESTS from holding a transaction around acts that use other connections."""
    for using in connections:
        view = transaction.non_atomic_requests(using=using)(view)
    return view


class ActsAdmin(AnyAdmin):
    """Read-only rows with actions that ask, act and write down what was done.

    What an operator sees and acts upon is read where it is written, never from a replica.
    """

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        return super().get_queryset(request).using(router.db_for_write(self.model))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @_not_atomic
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, extra_context)

    def _may(self, request: HttpRequest, verb: str) -> bool:
        opts = self.model._meta
        return request.user.has_perm(f"{opts.app_label}.{verb}_{opts.model_name}")

    def _confirm(
        self,
        request: HttpRequest,
        rows: "QuerySet[Any]",
        plan: Callable[[Sequence[Any]], Plan],
    ) -> HttpResponseBase | None:
        """Ask on the first call, act on the second; None goes back to the list."""
        selected = list(rows[: MOST_SELECTED + 1])
        if len(selected) > MOST_SELECTED:
            text = _t("Select at most %d, or use the command `resumable_streams`.")
            messages.error(request, text % MOST_SELECTED)
            return None
        planned = plan(selected)
        confirmed = "confirmed" in request.POST
        form = planned.form(request.POST if confirmed else None)
        if not planned.targets or (confirmed and form.is_valid()):
            self._report(request, planned, _perform(request, planned, form))
            return None
        return self._ask(request, planned, selected, form)

    def _ask(
        self, request: HttpRequest, plan: Plan, selected: Sequence[Any], form: forms.Form
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": plan.title,
            "warning": plan.warning,
            "targets": plan.targets,
            "rows": selected,
            "form": form,
            "action": request.POST["action"],
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "opts": self.model._meta,
            "media": form.media,
        }
        return TemplateResponse(request, "admin/resumable_streams/confirm_action.html", context)

    def _report(self, request: HttpRequest, plan: Plan, outcome: "Outcome") -> None:
        for error in outcome.errors[:MOST_MESSAGES]:
            messages.error(request, error)
        if len(outcome.errors) > MOST_MESSAGES:
            more = len(outcome.errors) - MOST_MESSAGES
            messages.error(request, _t("… and %d more.") % more)
        level = messages.SUCCESS if outcome.done else messages.WARNING
        text = _t("%(title)s: %(done)d of %(all)d done.")
        counted = {"title": plan.title, "done": outcome.done, "all": len(plan.targets)}
        notes = [
            _NOTES[reason] % count for reason, count in sorted(outcome.undone.items()) if count
        ]
        messages.add_message(request, level, " ".join([text % counted, *notes]))


_NOTES = {
    "gone": _("%d gone already: nothing was left to do."),
    "ended": _("%d had ended already: nothing was left to do."),
}


@dataclass(slots=True)
class Outcome:
    """How the targets of a plan fared: done, with nothing left to do (by reason), or failed."""

    done: int = 0
    undone: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, counts: Mapping[str, int]) -> None:
        reasons = {reason: counts[reason] for reason in _NOTES if counts.get(reason)}
        self.undone.update(reasons)
        self.done += not reasons


def _perform(request: HttpRequest, plan: Plan, form: forms.Form) -> Outcome:
    """Do what was confirmed, each with its incident; return how it went."""
    said = form.cleaned_data if plan.targets else {}
    who = f"admin:{request.user.get_username()}"
    outcome = Outcome()
    silent: set[str] = set()
    for target in plan.targets:
        if target.alias in silent:  # one time limit is enough
            outcome.errors.append(_t("%s: not tried, the store does not answer.") % target)
            continue
        try:
            with incident(
                plan.action,
                alias=target.alias,
                tenant=target.tenant,
                who=who,
                arguments={**target.arguments, **said},
            ) as act:
                act.counts = target.act(said)
            outcome.add(act.counts)
        except FAILURES as error:
            outcome.errors.append(f"{target}: {error}")
            if isinstance(error, StoreUnavailable):
                silent.add(target.alias)
    return outcome


# Namespaces.


class NamespaceForm(NamespaceModelForm):
    """Name a tenant whose generation has never been changed, so that it can be."""

    alias = forms.ChoiceField(choices=lambda: [(alias, alias) for alias in get_aliases()])

    class Meta:
        model = StreamNamespace
        fields = ["alias", "tenant"]

    def clean_tenant(self) -> str:
        try:
            return validate_tenant(self.cleaned_data["tenant"])
        except InvalidTenant as error:
            raise ValidationError(str(error)) from None


class RotateForm(forms.Form):
    purge_old = forms.BooleanField(
        label=_("Also delete the streams of the older generations now"), required=False
    )


class RetireForm(forms.Form):
    ttl = forms.FloatField(
        label=_("Seconds to live"),
        min_value=0,
        max_value=10 * 365 * 86_400,
        help_text=_("0 removes the override of this tenant."),
    )
    existing = forms.BooleanField(label=_("Also shorten what is there"), required=False)


@admin.register(StreamNamespace)
class StreamNamespaceAdmin(ActsAdmin):
    form = NamespaceForm
    list_display = ["tenant", "alias", "generation", "ttl", "updated"]
    search_fields = ["tenant__startswith"]
    actions = ["rotate", "retire"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add")

    def get_fields(self, request: HttpRequest, obj: StreamNamespace | None = None) -> list[Any]:
        return ["alias", "tenant"] + (["generation", "ttl", "updated"] if obj else [])

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "rotate")

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "retire")

    @admin.action(permissions=["rotate"], description=_("Rotate: make all streams unreachable"))
    def rotate(
        self, request: HttpRequest, queryset: "QuerySet[StreamNamespace]"
    ) -> HttpResponseBase | None:
        return self._confirm(request, queryset, _rotation)

    @admin.action(permissions=["retire"], description=_("Retire: let streams live shorter"))
    def retire(
        self, request: HttpRequest, queryset: "QuerySet[StreamNamespace]"
    ) -> HttpResponseBase | None:
        return self._confirm(request, queryset, _retirement)


def _rotation(rows: Sequence[StreamNamespace]) -> Plan:
    def rotate(row: StreamNamespace) -> Callable[[dict[str, Any]], dict[str, int]]:
        return lambda said: {
            "generation": runtime.call_sync(namespaces.rotate, row.alias, row.tenant, **said)
        }

    return Plan(
        action=Action.ROTATE,
        title=_t("Rotate"),
        warning=_t(
            "Every stream of these tenants becomes unreachable for everybody, at once and for "
            "good: running ones stop, attached readers end. New streams work."
        ),
        targets=[_target(row, rotate(row)) for row in rows],
        form=RotateForm,
    )


def _retirement(rows: Sequence[StreamNamespace]) -> Plan:
    def retire(row: StreamNamespace) -> Callable[[dict[str, Any]], dict[str, int]]:
        return lambda said: {
            "shortened": runtime.call_sync(namespaces.retire, row.alias, row.tenant, **said)
        }

    return Plan(
        action=Action.RETIRE,
        title=_t("Retire"),
        warning=_t("Streams of these tenants live as long as you say from now on."),
        targets=[_target(row, retire(row)) for row in rows],
        form=RetireForm,
    )


def _target(row: StreamNamespace, act: Callable[[dict[str, Any]], dict[str, int]]) -> Target:
    return Target(alias=row.alias, tenant=row.tenant, name=str(row), arguments={}, act=act)


# Records.


class AliasFilter(admin.SimpleListFilter):
    """Filter by what is configured: the table is too long to ask it."""

    title = _("alias")
    parameter_name = "alias"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in get_aliases()]

    def queryset(
        self, request: HttpRequest, queryset: "QuerySet[StreamRecord]"
    ) -> "QuerySet[StreamRecord]":
        return queryset.filter(alias=self.value()) if self.value() else queryset


class RecordChangeList(ChangeList):
    """Look at the streams of the page in one batch an alias."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if request.method != "GET":
            return
        self.result_list = list(self.result_list)
        for error in sorted(set(_look(self.result_list))):
            messages.warning(request, error)


@admin.register(StreamRecord)
class StreamRecordAdmin(ActsAdmin):
    list_display = [
        "acquired",
        "stream_id",
        "alias",
        "tenant",
        "who",
        "user",
        "ip",
        "request_id",
        "status",
        "now",
        "error_code",
        "size",
        "duration",
    ]
    list_display_links = ["acquired", "stream_id"]
    list_filter = ["status", AliasFilter]
    list_per_page = 50
    list_max_show_all = 200
    show_full_result_count = False
    date_hierarchy = "acquired"
    search_fields = ["stream_id"]  # shows the box; `get_search_results` says what is searched
    search_help_text = _("The whole owner (or its digest), user id, IP, request id or stream id.")
    actions = ["cancel", "erase", "revoke"]

    def get_fields(self, request: HttpRequest, obj: StreamRecord | None = None) -> list[Any]:
        return [field.name for field in StreamRecord._meta.fields if field.name != "id"] + ["now"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: StreamRecord | None = None
    ) -> list[str]:
        return ["now"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RecordChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[StreamRecord]", search_term: str
    ) -> tuple["QuerySet[StreamRecord]", bool]:
        """Search whole values only: each has an index, whatever the length of the table."""
        term = search_term.strip()
        return (queryset.filter(_matches(term)) if term else queryset), False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "cancel")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "erase")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "revoke")

    @admin.display(description=_("owner"), ordering="owner_digest")
    def who(self, record: StreamRecord) -> str:
        return Truncator(record.owner).chars(40) if record.owner else _t("(public)")

    @admin.display(description=_("now"))
    def now(self, record: StreamRecord) -> str:
        """Show what the stream is now, not what was last heard of it."""
        if record.status_now is None:
            list(_look([record]))
        return str(record.status_now)

    @admin.action(permissions=["cancel"], description=_("Cancel the streams"))
    def cancel(
        self, request: HttpRequest, queryset: "QuerySet[StreamRecord]"
    ) -> HttpResponseBase | None:
        return self._confirm(request, queryset, lambda rows: _cancellation(request, rows))

    @admin.action(permissions=["erase"], description=_("Delete the streams, keep the records"))
    def erase(
        self, request: HttpRequest, queryset: "QuerySet[StreamRecord]"
    ) -> HttpResponseBase | None:
        return self._confirm(request, queryset, lambda rows: _erasure(request, rows))

    @admin.action(permissions=["revoke"], description=_("Revoke the owners"))
    def revoke(
        self, request: HttpRequest, queryset: "QuerySet[StreamRecord]"
    ) -> HttpResponseBase | None:
        if queryset.filter(owner="").exists():
            messages.warning(request, _t("Public streams have no owner to revoke: left out."))
        return self._confirm(request, queryset.exclude(owner=""), _revocation)


def _matches(term: str) -> Q:
    matches = Q(owner_digest=owner_digest(term)) | Q(owner_digest=term)
    matches |= Q(user=term) | Q(request_id=term) | Q(stream_id=term)
    try:
        return matches | Q(ip=str(ipaddress.ip_address(term)))
    except ValueError:
        return matches


def _look(records: Sequence[StreamRecord]) -> Iterator[str]:
    """Set what the streams of `records` are now; yield why where that is not known."""
    by_alias = attrgetter("alias")
    for alias, group in groupby(sorted(records, key=by_alias), key=by_alias):
        rows = list(group)
        try:
            infos = look(alias, rows)
        except FAILURES as error:
            for row in rows:
                row.status_now = "?"
            yield str(error)
            continue
        for row, info in zip(rows, infos, strict=True):
            row.status_now = "gone" if info is None else str(info.status)


def _cancellation(request: HttpRequest, rows: Sequence[StreamRecord]) -> Plan:
    return Plan(
        action=Action.CANCEL,
        title=_t("Cancel streams"),
        warning=_t("These streams end now, if they have not ended. What was written stays."),
        targets=[_stream(row, partial(_cancel, request, row)) for row in rows],
    )


def _cancel(request: HttpRequest, row: StreamRecord, said: dict[str, Any]) -> dict[str, int]:
    (info,) = look(row.alias, [row])
    ended = info and runtime.call_sync(
        namespaces.cancel_incarnation, row.alias, info, request=request
    )
    if info is None or ended is None:
        return {"cancelled": 0, "gone": 1}
    if info.is_streaming and ended.status is StreamStatus.CANCELLED:
        return {"cancelled": 1}
    return {"cancelled": 0, "ended": 1}


def _erasure(request: HttpRequest, rows: Sequence[StreamRecord]) -> Plan:
    return Plan(
        action=Action.DELETE,
        title=_t("Delete streams"),
        warning=_t(
            "These streams and all that they hold are removed now, and cannot come back. So are "
            "those that nobody can reach any more, after a revocation or a rotation. A stream that "
            "was begun later under the same id stays."
        ),
        targets=[_stream(row, partial(_erase, request, row)) for row in rows],
    )


def _erase(request: HttpRequest, row: StreamRecord, said: dict[str, Any]) -> dict[str, int]:
    (info,) = look(row.alias, [row])
    was_there = info is not None and runtime.call_sync(
        namespaces.delete_incarnation, row.alias, info, request=request
    )
    return {"deleted": 1} if was_there else {"deleted": 0, "gone": 1}


def _stream(row: StreamRecord, act: Callable[[dict[str, Any]], dict[str, int]]) -> Target:
    arguments = {
        "stream_id": row.stream_id,
        "generation": row.generation,
        "epoch": row.epoch,
        "owner_digest": row.owner_digest,
    }
    return Target(alias=row.alias, tenant=row.tenant, name=str(row), arguments=arguments, act=act)


def _revocation(rows: Sequence[StreamRecord]) -> Plan:
    def revoke(row: StreamRecord) -> Callable[[dict[str, Any]], dict[str, int]]:
        def act(said: dict[str, Any]) -> dict[str, int]:
            runtime.call_sync(namespaces.revoke, row.alias, row.tenant, row.stream_owner)
            return {"owners": 1}

        return act

    owners = {(row.alias, row.tenant, row.owner): row for row in rows if row.owner}
    return Plan(
        action=Action.REVOKE,
        title=_t("Revoke owners"),
        warning=_t(
            "All streams that these owners have started so far become unreachable, not only the "
            "selected ones: running ones stop, attached readers end. New streams work."
        ),
        targets=[
            Target(
                alias=alias,
                tenant=tenant,
                name=f"{alias}/{tenant}: {Truncator(owner).chars(80)}",
                arguments={"owner_digest": row.owner_digest},
                act=revoke(row),
            )
            for (alias, tenant, owner), row in owners.items()
        ],
    )


# What operators did.


@admin.register(IncidentAction)
class IncidentActionAdmin(ActsAdmin):
    list_display = ["started", "action", "alias", "tenant", "who", "outcome", "counts", "finished"]
    list_filter = ["action", "outcome"]
    search_fields = ["who", "tenant"]
    date_hierarchy = "started"
