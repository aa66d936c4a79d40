"""Narrowing long lists: filters that ask no table, and a count that stops early.

A list over a million rows costs as much as its page. Every filter has an index of `StreamRecord`
behind it, and nothing counts the whole table.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from ..conf import get_aliases
from ..models import StreamNamespace

__all__ = [
    "MOST_COUNTED",
    "AliasFilter",
    "BoundedPaginator",
    "DateRangeFilter",
    "StartedFilter",
    "TenantFilter",
]

MOST_COUNTED = 1_000
MOST_SUGGESTED = 50


if TYPE_CHECKING:  # the class of Django takes no parameters when the code runs
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator


class BoundedPaginator(AnyPaginator):
    """Pages of the first `MOST_COUNTED` rows. What lies behind is neither counted nor shown."""

    @cached_property
    def _counted(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows[: MOST_COUNTED + 1].count()

    @property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def is_partial(self) -> bool:
        return self._counted > MOST_COUNTED


class AliasFilter(admin.SimpleListFilter):
    """A filter by the configured aliases: the table is too long to ask it."""

    title = _("alias")
    parameter_name = "alias"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(alias, alias) for alias in get_aliases()]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(alias=self.value()) if self.value() else queryset


class FormFilter(admin.ListFilter):
    """A filter with a form in place of links: its values are too many to list."""

    template = "admin/resumable_streams/filter_form.html"
    fields: ClassVar[Mapping[str, Any]] = {}
    """The label of each parameter."""
    input_type = "text"

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.fields:
            given = params.pop(name, [])
            self.used_parameters[name] = str(given[-1] if given else "").strip()

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self.fields)

    def suggestions(self) -> list[str]:
        """Return values to choose from; others are as good."""
        return []

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield the form, and a link that clears it."""
        others = {
            name: values
            for name, values in changelist.filter_params.items()
            if name not in {*self.fields, "p", "e"}
        }
        yield {
            "others": [(name, value) for name, values in others.items() for value in values],
            "inputs": [
                {"name": name, "label": label, "value": self.used_parameters[name]}
                for name, label in self.fields.items()
            ],
            "type": self.input_type,
            "suggestions": self.suggestions(),
            "selected": any(self.used_parameters.values()),
            "clear": changelist.get_query_string(remove=list(self.fields)),
        }


class TenantFilter(FormFilter):
    """A filter by the name of a tenant, with the tenants that have a row for a start."""

    title = _("tenant")
    fields: ClassVar[Mapping[str, Any]] = {"tenant": _("Tenant")}

    def suggestions(self) -> list[str]:
        names = StreamNamespace.objects.order_by("tenant").values_list("tenant", flat=True)
        return list(names.distinct()[:MOST_SUGGESTED])

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        tenant = self.used_parameters["tenant"]
        if not tenant:
            return queryset
        aliases = list(get_aliases())  # the index has them first
        return queryset.filter(tenant=tenant, alias__in=aliases) if aliases else queryset.none()


class DateRangeFilter(FormFilter):
    """A filter by the day of the start, from and until inclusive, in the current time zone."""

    title = _("date")
    fields: ClassVar[Mapping[str, Any]] = {"from": _("From"), "until": _("Until")}
    input_type = "date"
    moment: ClassVar[str] = "acquired"
    """The field that is compared."""

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        if first := self.used_parameters["from"]:
            queryset = queryset.filter(**{f"{self.moment}__gte": _midnight(_day(str(first)))})
        if last := self.used_parameters["until"]:
            end = _midnight(_day(str(last)) + timedelta(days=1))
            queryset = queryset.filter(**{f"{self.moment}__lt": end})
        return queryset


class StartedFilter(DateRangeFilter):
    """The same for the acts of operators."""

    moment = "started"


def _day(text: str) -> date:
    """Return the day that was typed; for anything else, the admin shows the list unfiltered."""
    try:
        day = parse_date(text)
    except ValueError:  # well written, but in no calendar
        day = None
    if day is None:
        raise IncorrectLookupParameters
    return day


def _midnight(day: date) -> datetime:
    moment = datetime.combine(day, time.min)
    return timezone.make_aware(moment) if timezone.is_aware(timezone.now()) else moment
