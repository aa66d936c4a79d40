"""The operations page: live streams of a tenant, charts of the last hour, and the acts on them.

Each view of the page reads the store: a part of the index of live streams, never a scan. A store
that does not answer is a message with cause and remedy.
"""

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _t

from ..conf import get_aliases, get_settings
from ..exceptions import InvalidTenant
from ..http.dispatch import non_atomic
from ..identifiers import DEFAULT_TENANT, validate_tenant
from ..models import StreamRecord
from ..operating.live import CensusOfAlias, LivePage, LiveRow, count_live, find_live, list_live
from ..process.runtime import runtime
from ..types import PUBLIC
from .acting import FAILURES, ActsAdmin
from .appearance import LOOK, SHORT_DIGEST, lasting, shortened, size_of, time_of
from .charts import Chart, charts_of_the_last_hour
from .choosing import ACTS, PLANNERS, Scope, chosen_scope, ticket_of

__all__ = ["ShowsLive"]

PAGE = 50
MOST_TENANTS = 12
MOST_TYPED = 1_024
NAME = "resumable_streams_live"


class ShowsLive(ActsAdmin):
    """The list of records, with the operations page beside it, at `live/`.

    Whoever may view records may see it. It has no model: its acts need the permissions that they
    need on the lists of records and tenants.
    """

    def get_urls(self) -> list[URLPattern]:
        live = path("live/", self.admin_site.admin_view(self.live_view), name=NAME)
        return [live, *super().get_urls()]

    @non_atomic  # other connections do the acts
    def live_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._show(request)
        answer = self._act(request) or HttpResponseRedirect(request.get_full_path())
        return cast(HttpResponse, answer)

    def _act(self, request: HttpRequest) -> HttpResponseBase | None:
        name = request.POST.get("action", "")
        if name not in _allowed(request):
            raise PermissionDenied
        scope = chosen_scope(request)
        tickets = request.POST.getlist(ACTION_CHECKBOX_NAME)[:PAGE]
        if not tickets:
            messages.warning(request, _t("Select the streams first."))
            return None
        try:
            plan = PLANNERS[name](request, scope, tickets)
        except FAILURES as error:
            messages.error(request, str(error))
            return None
        return self._decide(request, plan)

    def _show(self, request: HttpRequest) -> TemplateResponse:
        request.current_app = self.admin_site.name
        census = runtime.call_sync(count_live, get_aliases())
        scope = _scope(request, _busiest(census))
        page, troubles = _live(scope, {one.alias: one.trouble for one in census if one.trouble})
        charts, no_charts = _charts(scope)
        context = {
            **self.admin_site.each_context(request),
            **_tenants(census),
            **_pages(scope, page),
            "title": _t("Live streams"),
            "opts": self.opts,
            "media": LOOK,
            "scope": scope,
            "here": scope.query(),
            "aliases": get_aliases(),
            "troubles": troubles,
            "charts": charts,
            "no_charts": no_charts,
            "acts": _allowed(request),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "now": time_of(timezone.now()),
        }
        return TemplateResponse(request, "admin/resumable_streams/live.html", context)


def _allowed(request: HttpRequest) -> dict[str, Any]:
    """Return the acts that this user may do, with their words."""
    return {name: words for name, (needed, words) in ACTS.items() if request.user.has_perm(needed)}


def _scope(request: HttpRequest, busiest: Scope | None) -> Scope:
    """Return the tenant to show: the one that a request names, or the busiest."""
    given, aliases = request.GET, get_aliases()
    shown = Scope(alias=aliases[0], tenant=DEFAULT_TENANT) if busiest is None else busiest
    if given.get("alias", shown.alias) != shown.alias and given["alias"] in aliases:
        shown = Scope(alias=given["alias"], tenant=DEFAULT_TENANT)
    tenant = given.get("tenant", "").strip() or shown.tenant
    try:
        validate_tenant(tenant)
    except InvalidTenant:
        messages.warning(request, _t("No tenant can have this name."))
        tenant = shown.tenant
    return Scope(
        alias=shown.alias,
        tenant=tenant,
        term=given.get("q", "").strip()[:MOST_TYPED],
        cursor=given.get("after", ""),
    )


def _busiest(census: Sequence[CensusOfAlias]) -> Scope | None:
    """Return the tenant with the most live streams."""
    counted = [(one.tenants[0][1], one.alias, one.tenants[0][0]) for one in census if one.tenants]
    if not counted:
        return None
    _, alias, tenant = max(counted, key=lambda row: row[0])
    return Scope(alias=alias, tenant=tenant)


def _live(scope: Scope, troubles: dict[str, str]) -> tuple[LivePage | None, list[str]]:
    """Return the streams to show, None where they are not known, and why not."""
    page = None
    if scope.alias not in troubles:  # one time limit is enough
        try:
            page = _found(scope)
        except FAILURES as error:
            troubles = {**troubles, scope.alias: str(error)}
    return page, sorted(troubles.values())


def _found(scope: Scope) -> LivePage:
    if scope.term:
        return runtime.call_sync(find_live, scope.alias, scope.tenant, scope.term, limit=PAGE)
    return runtime.call_sync(list_live, scope.alias, scope.tenant, cursor=scope.cursor, limit=PAGE)


def _pages(scope: Scope, page: LivePage | None) -> dict[str, Any]:
    """Return the streams to show, and the ways to those before and after them."""
    if page is None:
        return {"page": None}
    return {
        "page": page,
        "rows": [_cells(scope, row) for row in page.rows],
        "older": page.next and scope.query(after=page.next),
        "newest": scope.cursor and scope.query(),
    }


def _tenants(census: Sequence[CensusOfAlias]) -> dict[str, Any]:
    """Return the busiest tenants of all aliases, and how many streams and tenants there are."""
    counted = [
        (Scope(alias=one.alias, tenant=tenant), count)
        for one in census
        for tenant, count in one.tenants
    ]
    counted.sort(key=lambda row: -row[1])
    shown = counted[:MOST_TENANTS]
    return {
        "tenants": [{"scope": one, "where": one.query(), "count": count} for one, count in shown],
        "more_tenants": len(counted) - len(shown),
        "live": sum(count for _, count in counted),
    }


def _charts(scope: Scope) -> tuple[list[Chart], str]:
    """Return the charts, or why there are none."""
    try:
        if not get_settings(scope.alias).records:
            return [], _t("Charts come from stream records: set RECORDS of this alias to True.")
        using = router.db_for_write(StreamRecord)
        return charts_of_the_last_hour(using, scope.alias, scope.tenant), ""
    except FAILURES as error:
        return [], str(error)


def _cells(scope: Scope, row: LiveRow) -> dict[str, Any]:
    """Return a row as the template shows it: the owner as a digest that leads to its streams."""
    info = row.info
    owner = _t("(public)") if info.owner is PUBLIC else shortened(row.digest, most=SHORT_DIGEST)
    return {
        "ticket": ticket_of(info),
        "stream_id": info.stream_id,
        "stream": _stream(scope, info.stream_id),
        "owner": format_html('<a href="{}">{}</a>', scope.query(q=row.digest), owner),
        "age": lasting(row.age),
        "size": size_of(info.size),
        "rate": f"{size_of(row.rate)}/s",
        "readers": row.readers,
    }


def _stream(scope: Scope, stream_id: str) -> str:
    """Return a short id; a link to the record where there are records."""
    short = shortened(stream_id, most=24)
    if not get_settings(scope.alias).records:
        return short
    records = reverse("admin:resumable_streams_streamrecord_changelist")
    return format_html('<a href="{}?{}">{}</a>', records, urlencode({"q": stream_id}), short)
