"""Acting on rows: a page that asks, a deed for each row, and an account of how it went."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import Error as DatabaseTrouble
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..exceptions import InvalidStoreError, StoreUnavailable, StreamError
from ..http.dispatch import non_atomic
from ..models import IncidentAction
from ..operating.incidents import Operator, incident

__all__ = ["FAILURES", "Action", "ActsAdmin", "Plan", "ReasonForm", "Target", "operator"]

MOST_SELECTED = 500
MOST_MESSAGES = 5
FAILURES = (StreamError, InvalidStoreError, DatabaseTrouble, ValueError)

Action = IncidentAction.Action

if TYPE_CHECKING:  # the classes of Django take no parameters when the code runs
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One object that an action applies to."""

    alias: str
    tenant: str
    name: str
    arguments: dict[str, Any]
    act: Callable[[dict[str, Any]], dict[str, int]]
    """Gets what the form says, does it, and returns what to count."""

    def __str__(self) -> str:
        return self.name


class ReasonForm(forms.Form):
    """The question of an action, with the reason that its IncidentAction keeps."""

    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=1_000,
        help_text=_("Kept with the action, in the database and in the log."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an action is about to do, until somebody says yes."""

    action: Action
    title: str
    warning: str
    targets: Sequence[Target]
    form: type[ReasonForm] = ReasonForm


def operator(request: HttpRequest) -> Operator:
    """Return the user who acts in the admin."""
    return Operator(who=f"admin:{request.user.get_username()}")


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

    @non_atomic  # what is done here, other connections do
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

    def _report(self, request: HttpRequest, plan: Plan, result: "Result") -> None:
        for error in result.errors[:MOST_MESSAGES]:
            messages.error(request, error)
        if len(result.errors) > MOST_MESSAGES:
            more = len(result.errors) - MOST_MESSAGES
            messages.error(request, _t("… and %d more.") % more)
        level = messages.SUCCESS if result.done else messages.WARNING
        text = _t("%(title)s: %(done)d of %(all)d done.")
        counted = {"title": plan.title, "done": result.done, "all": len(plan.targets)}
        notes = [_NOTES[reason] % count for reason, count in sorted(result.undone.items()) if count]
        messages.add_message(request, level, " ".join([text % counted, *notes]))


_NOTES = {
    "gone": _("%d gone already: nothing was left to do."),
    "ended": _("%d had ended already: nothing was left to do."),
}


@dataclass(slots=True)
class Result:
    """How the targets of a plan fared: done, with nothing left to do (by reason), or failed."""

    done: int = 0
    undone: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, counts: Mapping[str, int]) -> None:
        reasons = {reason: counts[reason] for reason in _NOTES if counts.get(reason)}
        self.undone.update(reasons)
        self.done += not reasons


def _perform(request: HttpRequest, plan: Plan, form: forms.Form) -> Result:
    """Do what was confirmed, each with its incident; return how it went."""
    said = dict(form.cleaned_data) if plan.targets else {}
    reason, who = said.pop("reason", ""), operator(request)
    result = Result()
    silent: set[str] = set()
    for target in plan.targets:
        if target.alias in silent:  # one time limit is enough
            result.errors.append(_t("%s: not tried, the store does not answer.") % target)
            continue
        try:
            with incident(
                plan.action,
                alias=target.alias,
                tenant=target.tenant,
                by=who,
                reason=reason,
                arguments={**target.arguments, **said},
            ) as act:
                act.counts = target.act(said)
            result.add(act.counts)
        except FAILURES as error:
            result.errors.append(f"{target}: {error}")
            if isinstance(error, StoreUnavailable):
                silent.add(target.alias)
    return result
