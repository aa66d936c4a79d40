"""The page of tenants: the row of each, beside the control in force."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _

from ..conf import get_aliases
from ..exceptions import InvalidTenant
from ..http.dispatch import non_atomic
from ..identifiers import validate_tenant
from ..models import StreamNamespace
from ..operating import rows as rows_in_force
from ..operating import tenants
from ..operating.incidents import incident
from ..process.runtime import runtime
from .acting import FAILURES, Action, ActsAdmin, Plan, ReasonForm, Target, operator
from .plans import rotating

__all__ = ["StreamNamespaceAdmin"]

UNKNOWN = "?"

if TYPE_CHECKING:  # the class of Django takes no parameters when the code runs
    NamespaceModelForm = forms.ModelForm[StreamNamespace]
else:
    NamespaceModelForm = forms.ModelForm


class NamespaceForm(NamespaceModelForm):
    """A tenant: named, so that it can be rotated, or given a time to live."""

    alias = forms.ChoiceField(choices=lambda: [(alias, alias) for alias in get_aliases()])

    class Meta:
        model = StreamNamespace
        fields = ["alias", "tenant", "ttl"]

    def clean_tenant(self) -> str:
        try:
            return validate_tenant(self.cleaned_data["tenant"])
        except InvalidTenant as error:
            raise ValidationError(str(error)) from None


class RetireForm(ReasonForm):
    ttl = forms.FloatField(
        label=_("Seconds to live"),
        min_value=0,
        max_value=10 * 365 * 86_400,
        help_text=_("In place of the TTL of the alias. 0: the TTL of the alias again."),
    )
    existing = forms.BooleanField(
        label=_("Also shorten streams that would be kept longer"), required=False
    )


class NamespaceChangeList(ChangeList):
    """The change list of tenants; it asks the store for those of the page, once an alias."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if request.method != "GET":
            return
        self.result_list = list(self.result_list)
        for error in sorted(set(_compare(self.result_list))):
            messages.warning(request, error)


@admin.register(StreamNamespace)
class StreamNamespaceAdmin(ActsAdmin):
    form = NamespaceForm
    list_display = [
        "tenant",
        "alias",
        "generation",
        "generation_in_store",
        "ttl",
        "ttl_in_store",
        "agrees",
        "updated",
    ]
    search_fields = ["tenant__startswith"]
    actions = ["rotate", "retire"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "add")

    def has_change_permission(
        self, request: HttpRequest, obj: StreamNamespace | None = None
    ) -> bool:
        return self._may(request, "retire")  # the TTL is all that can be changed

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "rotate")

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "retire")

    def get_fieldsets(self, request: HttpRequest, obj: StreamNamespace | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["alias", "tenant"]})]
        saved = ["alias", "tenant", "ttl", "generation", "updated"]
        now = ["comparison", "all_in_store", "key_prefix"]
        return [(None, {"fields": saved}), (_("In the store"), {"fields": now})]

    def get_readonly_fields(
        self, request: HttpRequest, obj: StreamNamespace | None = None
    ) -> list[str]:
        fixed = ["generation", "updated", "comparison", "all_in_store", "key_prefix"]
        return fixed if obj is None else [*fixed, "alias", "tenant"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return NamespaceChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> StreamNamespace | None:
        row: StreamNamespace | None = super().get_object(request, object_id, from_field)
        for error in _compare([] if row is None else [row]):
            if request.method == "GET":
                messages.warning(request, error)
        return row

    # What is in force.

    @admin.display(description=_("in force"))
    def generation_in_store(self, row: StreamNamespace) -> str:
        return UNKNOWN if row.in_force is None else str(row.in_force.generation or "-")

    @admin.display(description=_("in force"))
    def ttl_in_store(self, row: StreamNamespace) -> str:
        return UNKNOWN if row.in_force is None else str(float(row.in_force.ttl or 0) or "-")

    @admin.display(description=_("in force"))
    def all_in_store(self, row: StreamNamespace) -> str:
        if row.in_force is None:
            return UNKNOWN
        lives = _t("that of the alias") if row.in_force.ttl is None else f"{row.in_force.ttl:g}"
        text = _t("Generation: %(generation)s. Time to live: %(ttl)s.")
        return text % {"generation": row.in_force.generation or row.generation, "ttl": lives}

    @admin.display(description=_("same"), boolean=True)
    def agrees(self, row: StreamNamespace) -> bool | None:
        return None if row.in_force is None else row.in_force.agrees_with(row)

    @admin.display(description=_("comparison"))
    def comparison(self, row: StreamNamespace) -> str:
        """Say in words whether row and store agree, and what to do if not."""
        if row.in_force is None:
            return _t("The store did not answer.")
        if row.in_force.generation is None:
            return _t("The store does not know this tenant: what is above counts when it is used.")
        if row.in_force.agrees_with(row):
            return _t("The same is in force.")
        return _t(
            "⚠ They differ: what the store has is in force. Saving this page puts the time to live "
            "in force that you see above, and the later of both generations."
        )

    @admin.display(description=_("keys begin with"))
    def key_prefix(self, row: StreamNamespace) -> str:
        return UNKNOWN if row.in_force is None else row.in_force.key_prefix

    # Changing the TTL.

    @non_atomic
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, extra_context)

    def save_model(
        self, request: HttpRequest, obj: StreamNamespace, form: Any, change: bool
    ) -> None:
        if not change:  # it names a tenant, and says nothing
            super().save_model(request, obj, form, change)
            return
        try:
            with incident(
                Action.RETIRE,
                alias=obj.alias,
                tenant=obj.tenant,
                by=operator(request),
                arguments={"ttl": obj.ttl or 0},
            ) as act:
                StreamNamespace.objects.retire(obj.tenant, alias=obj.alias, ttl=obj.ttl)
                act.counts = {"ttl": obj.ttl, "shortened": 0}
        except FAILURES as error:  # the row is as it was; what was tried is to stay written down
            obj.trouble = str(error)

    def log_change(self, request: HttpRequest, obj: StreamNamespace, message: Any) -> Any:
        return None if obj.trouble else super().log_change(request, obj, message)

    def response_change(self, request: HttpRequest, obj: StreamNamespace) -> HttpResponse:
        if not obj.trouble:
            return super().response_change(request, obj)
        messages.error(request, f"{obj.trouble} {_t('The row is what it was.')}")
        return HttpResponseRedirect(request.get_full_path())

    # Acting on several.

    @admin.action(permissions=["rotate"], description=_("Rotate: make all streams unreachable"))
    def rotate(
        self, request: HttpRequest, queryset: "QuerySet[StreamNamespace]"
    ) -> HttpResponseBase | None:
        return self._confirm(request, queryset, _rotation)

    @admin.action(permissions=["retire"], description=_("Set the time to live"))
    def retire(
        self, request: HttpRequest, queryset: "QuerySet[StreamNamespace]"
    ) -> HttpResponseBase | None:
        return self._confirm(request, queryset, _retirement)


def _compare(rows: Sequence[StreamNamespace]) -> Iterator[str]:
    """Set what is in force on rows; yield why where that is not known."""
    by_alias = attrgetter("alias")
    for alias, group in groupby(sorted(rows, key=by_alias), key=by_alias):
        together = list(group)
        try:
            found = rows_in_force.in_force(alias, together)
        except FAILURES as error:
            yield str(error)
            continue
        for row, now in zip(together, found, strict=True):
            row.in_force = now


def _rotation(rows: Sequence[StreamNamespace]) -> Plan:
    return rotating([_target(row, partial(_rotate, row)) for row in rows])


def _rotate(row: StreamNamespace, said: dict[str, Any]) -> dict[str, int]:
    return {"generation": runtime.call_sync(tenants.rotate, row.alias, row.tenant, **said)}


def _retirement(rows: Sequence[StreamNamespace]) -> Plan:
    return Plan(
        action=Action.RETIRE,
        title=_t("Set the time to live"),
        warning=_t("Streams that these tenants acquire from now on get this time to live."),
        targets=[_target(row, partial(_retire, row)) for row in rows],
        form=RetireForm,
    )


def _retire(row: StreamNamespace, said: dict[str, Any]) -> dict[str, int]:
    return {"shortened": runtime.call_sync(tenants.retire, row.alias, row.tenant, **said)}


def _target(row: StreamNamespace, act: Callable[[dict[str, Any]], dict[str, int]]) -> Target:
    return Target(
        ticket=str(row.pk),
        alias=row.alias,
        tenant=row.tenant,
        name=str(row),
        arguments={},
        act=act,
    )
