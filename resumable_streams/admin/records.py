"""The page of stream records: each stream, its owner, its present state, and the actions on it."""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial, reduce
from itertools import groupby
from operator import attrgetter, or_
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext as _t
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..conf import get_aliases
from ..control import revoke
from ..identifiers import owner_digest
from ..models import StreamRecord
from ..operating.incarnation import delete_incarnation
from ..operating.settling import look
from ..process.runtime import runtime
from .acting import FAILURES, Action, Plan, Target
from .appearance import badge, lasting, owner_link, shortened, size_of, time_of
from .live import ShowsLive
from .narrowing import AliasFilter, BoundedPaginator, DateRangeFilter, TenantFilter
from .plans import cancel_one, cancelling, revoking

__all__ = ["StreamRecordAdmin"]


class RecordChangeList(ChangeList):
    """The change list of records; it looks at the streams of the page in one batch an alias."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if request.method != "GET":
            return
        self.result_list = list(self.result_list)
        for error in sorted(set(_look(self.result_list))):
            messages.warning(request, error)

    @property
    def words(self) -> str:
        """Say how many records there are, as far as they were counted."""
        found = self.result_count
        if self.paginator.is_partial:
            text = _t("More than %s records; these are the newest. Narrow them down, or search.")
            return text % number_format(found, force_grouping=True)
        text = ngettext("%s record", "%s records", found)
        return text % number_format(found, force_grouping=True) if found else _t("No records")

    @property
    def of_owner(self) -> str:
        """Return the digest of the owner whose records these are; empty for those of all."""
        return str(self.params.get("owner_digest", ""))

    @property
    def of_everybody(self) -> str:
        """Return the query of the same list for all owners."""
        return str(self.get_query_string(remove=["owner_digest"]))


@admin.register(StreamRecord)
class StreamRecordAdmin(ShowsLive):
    list_display = ["state", "error", "stream", "who", "where", "started", "amount"]
    list_display_links = ["stream"]
    sortable_by = ["started"]  # it has an index, whatever else is chosen
    list_filter = ["status", DateRangeFilter, TenantFilter, AliasFilter]
    list_per_page = 30
    list_max_show_all = 200
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count the whole table
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
        """Search whole values only: each has an index, whatever the length of the table.

        First it is asked what the term is. A list by one of its meanings comes from one index, in
        order; one by all of them would be put together and sorted, however long.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        rows = StreamRecord.objects.using(queryset.db).order_by()
        found = [meaning for meaning in _meanings(term) if rows.filter(meaning).exists()]
        return (queryset.filter(reduce(or_, found)) if found else queryset.none()), False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "cancel")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "erase")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self._may(request, "revoke")

    @admin.display(description=_("status"))
    def state(self, record: StreamRecord) -> str:
        """Show how the stream ended, and what it is now where that is something else."""
        shown = badge(record.status, record.get_status_display())
        if record.status_now in (None, record.status):
            return shown
        return format_html('{} <span class="rs-now">{}</span>', shown, _now(record.status_now))

    @admin.display(description=_("error"), empty_value="-")
    def error(self, record: StreamRecord) -> str | None:
        words = ((word,) for word in record.error_code.split("_"))
        return format_html_join(mark_safe("_<wbr>"), "{}", words) or None  # narrow columns wrap it

    @admin.display(description=_("stream"))
    def stream(self, record: StreamRecord) -> str:
        return shortened(record.stream_id)

    @admin.display(description=_("owner"))
    def who(self, record: StreamRecord) -> str:
        return owner_link(record.owner_digest, is_public=not record.owner)

    @admin.display(description=_("tenant"))
    def where(self, record: StreamRecord) -> str:
        tenant = shortened(record.tenant)
        if len(get_aliases()) == 1:
            return tenant
        return format_html("{}/<wbr>{}", record.alias, tenant)

    @admin.display(description=_("started"), ordering="acquired")
    def started(self, record: StreamRecord) -> str:
        return time_of(record.acquired)

    @admin.display(description=_("size"))
    def amount(self, record: StreamRecord) -> str:
        if record.size is None:
            return "-"
        time = "" if record.duration is None else _t("in %s") % lasting(record.duration)
        words = '<span class="rs-nowrap">{}</span> <span class="rs-now">{}</span>'
        return format_html(words, size_of(record.size), time)

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
            messages.warning(
                request, _t("Public and forgotten streams have no owner to revoke: left out.")
            )
        return self._confirm(request, queryset.exclude(owner=""), _revocation)


def _meanings(term: str) -> Iterator[Q]:
    """Yield what a search can mean."""
    yield Q(owner_digest=owner_digest(term))
    yield Q(owner_digest=term)
    yield Q(user=term)
    yield Q(request_id=term)
    yield Q(stream_id=term)
    with suppress(ValueError):
        yield Q(ip=str(ipaddress.ip_address(term)))


def _now(status: str) -> str:
    """Say what a stream is now."""
    return _t("now %s") % status


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
    return cancelling([_stream(row, partial(_cancel, request, row)) for row in rows])


def _cancel(request: HttpRequest, row: StreamRecord, said: dict[str, Any]) -> dict[str, int]:
    (info,) = look(row.alias, [row])
    return cancel_one(request, row.alias, info)


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
        delete_incarnation, row.alias, info, request=request
    )
    return {"deleted": 1} if was_there else {"deleted": 0, "gone": 1}


def _stream(row: StreamRecord, act: Callable[[dict[str, Any]], dict[str, int]]) -> Target:
    arguments = {
        "stream_id": row.stream_id,
        "generation": row.generation,
        "epoch": row.epoch,
        "owner_digest": row.owner_digest,
    }
    return Target(
        ticket=str(row.pk),
        alias=row.alias,
        tenant=row.tenant,
        name=str(row),
        arguments=arguments,
        act=act,
    )


def _revoke(row: StreamRecord, said: dict[str, Any]) -> dict[str, int]:
    runtime.call_sync(revoke, row.alias, row.tenant, row.stream_owner)
    return {"owners": 1}


def _revocation(rows: Sequence[StreamRecord]) -> Plan:
    owners = {(row.alias, row.tenant, row.owner): row for row in rows if row.owner}
    return revoking(
        [
            Target(
                ticket=str(row.pk),
                alias=alias,
                tenant=tenant,
                name=f"{alias}/{tenant}: {Truncator(owner).chars(80)}",
                arguments={"owner_digest": row.owner_digest},
                act=partial(_revoke, row),
            )
            for (alias, tenant, owner), row in owners.items()
        ]
    )
