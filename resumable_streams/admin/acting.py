"""Acting on rows: a page that asks, a deed for each row, and an account of how it went."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core import signing
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
from .appearance import LOOK, STYLES

__all__ = ["FAILURES", "Action", "ActsAdmin", "Plan", "ReasonForm", "Target", "operator"]

MOST_SELECTED = 500
MOST_MESSAGES = 5
STEP_SECONDS = 2.0  # of acting in one request; then a page shows the progress, and goes on
SALT = "resumable_streams.admin.acting"
FAILURES = (StreamError, InvalidStoreError, DatabaseTrouble, ValueError)

Action = IncidentAction.Action

if TYPE_CHECKING:  # the classes of Django take no parameters when the code runs
    AnyAdmin = admin.ModelAdmin[Any]
else:
    AnyAdmin = admin.ModelAdmin


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One object that an action applies to."""

    ticket: str
    """The value of the box that selected it, by which the next request finds it again."""
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

    class Media:
        css: ClassVar = {"all": [STYLES]}

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
        return self._decide(request, plan(selected))

    def _decide(self, request: HttpRequest, plan: Plan) -> HttpResponseBase | None:
        """Ask, or act for as long as a request may take; None once everything is done."""
        confirmed = "confirmed" in request.POST
        form = plan.form(request.POST if confirmed else None)
        if plan.targets and not (confirmed and form.is_valid()):
            return self._page(request, plan, form, "confirm_action", plan.targets)
        result = Result.carried(request)
        left = _perform(request, plan, form, result)
        if left:
            more = {"result": result, "all": result.tried + len(left)}
            return self._page(request, plan, form, "action_progress", left, **more)
        self._report(request, plan, result)
        return None

    def _page(
        self,
        request: HttpRequest,
        plan: Plan,
        form: forms.Form,
        template: str,
        targets: Sequence[Target],
        **more: Any,
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": plan.title,
            "warning": plan.warning,
            "targets": targets,
            "form": form,
            "said": [(name, request.POST[name]) for name in form.fields if name in request.POST],
            "action": request.POST["action"],
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "opts": self.model._meta,
            "media": form.media + LOOK,
            **more,
        }
        return TemplateResponse(request, f"admin/resumable_streams/{template}.html", context)

    def _report(self, request: HttpRequest, plan: Plan, result: "Result") -> None:
        for error in result.errors:
            messages.error(request, error)
        if result.failed > len(result.errors):
            messages.error(request, _t("… and %d more.") % (result.failed - len(result.errors)))
        level = messages.SUCCESS if result.done else messages.WARNING
        text = _t("%(title)s: %(done)d of %(all)d done.")
        counted = {"title": plan.title, "done": result.done, "all": result.tried}
        notes = [_NOTES[reason] % count for reason, count in sorted(result.undone.items()) if count]
        messages.add_message(request, level, " ".join([text % counted, *notes]))


_NOTES = {
    "gone": _("%d gone already: nothing was left to do."),
    "ended": _("%d had ended already: nothing was left to do."),
}


@dataclass(slots=True)
class Result:
    """How the targets of a plan fared: done, with nothing left to do (by reason), or failed.

    It is carried from request to request, signed, until all have been tried. `silent` are the
    aliases whose store did not answer: one time limit is enough.
    """

    done: int = 0
    failed: int = 0
    undone: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @classmethod
    def carried(cls, request: HttpRequest) -> "Result":
        """Return the result of the requests before this one."""
        try:
            so_far = signing.loads(request.POST.get("so_far", ""), salt=SALT)
        except signing.BadSignature:
            return cls()
        return cls(**so_far)

    def dumps(self) -> str:
        return signing.dumps(asdict(self), salt=SALT, compress=True)

    @property
    def tried(self) -> int:
        return self.done + self.failed + sum(self.undone.values())

    def add(self, counts: Mapping[str, int]) -> None:
        """Count a target that was acted upon; the first reason for which nothing was done."""
        reason = next((reason for reason in _NOTES if counts.get(reason)), None)
        if reason is None:
            self.done += 1
        else:
            self.undone[reason] = self.undone.get(reason, 0) + 1

    def fail(self, words: str) -> None:
        self.failed += 1
        if len(self.errors) < MOST_MESSAGES:
            self.errors.append(words)


def _perform(
    request: HttpRequest, plan: Plan, form: forms.Form, result: Result
) -> Sequence[Target]:
    """Do what was confirmed, each with its incident; return what is left after STEP_SECONDS."""
    said = dict(form.cleaned_data) if plan.targets else {}
    reason, end = said.pop("reason", ""), time.monotonic() + STEP_SECONDS
    for number, target in enumerate(plan.targets):
        if number and time.monotonic() >= end:
            return plan.targets[number:]
        if target.alias in result.silent:
            result.fail(_t("%s: not tried, the store does not answer.") % target)
            continue
        try:
            result.add(_act(request, plan, target, reason, said))
        except FAILURES as error:
            result.fail(f"{target}: {error}")
            if isinstance(error, StoreUnavailable):
                result.silent.append(target.alias)
    return ()


def _act(
    request: HttpRequest, plan: Plan, target: Target, reason: str, said: dict[str, Any]
) -> Mapping[str, int]:
    with incident(
        plan.action,
        alias=target.alias,
        tenant=target.tenant,
        by=operator(request),
        reason=reason,
        arguments={**target.arguments, **said},
    ) as act:
        counts = act.counts = target.act(said)
    return counts
