"""The page of operators' acts."""

from typing import Any

from django.contrib import admin
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from ..models import IncidentAction
from .acting import ActsAdmin
from .appearance import badge, time_of
from .narrowing import BoundedPaginator, StartedFilter

__all__ = ["IncidentActionAdmin"]

MOST_COUNTS = 4
Outcome = IncidentAction.Outcome

BADGES = {Outcome.DONE: "done", Outcome.FAILED: "error", Outcome.INTERRUPTED: "streaming"}
"""The state of a stream whose badge an outcome looks like."""


@admin.register(IncidentAction)
class IncidentActionAdmin(ActsAdmin):
    list_display = ["result", "action", "where", "who", "when", "counted", "why"]
    list_display_links = ["action"]
    list_filter = ["action", "outcome", StartedFilter]
    search_fields = ["who", "sudo_user", "host", "reason", "tenant"]
    sortable_by = ["when"]
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    @admin.display(description=_("outcome"))
    def result(self, act: IncidentAction) -> str:
        outcome = Outcome(act.outcome)
        return badge(BADGES.get(outcome, ""), str(outcome.label), word=outcome.value)

    @admin.display(description=_("tenant"))
    def where(self, act: IncidentAction) -> str:
        return f"{act.alias or '*'}/{act.tenant or '*'}"

    @admin.display(description=_("started"), ordering="started")
    def when(self, act: IncidentAction) -> str:
        return time_of(act.started)

    @admin.display(description=_("counts"))
    def counted(self, act: IncidentAction) -> str:
        """Say the counts in words; the page of the act has all of them."""
        counts: dict[str, Any] = act.counts if isinstance(act.counts, dict) else {}
        said = [f"{number} {name.replace('_', ' ')}" for name, number in counts.items()]
        more = ["…"] if len(said) > MOST_COUNTS else []
        return ", ".join(said[:MOST_COUNTS] + more) or "-"

    @admin.display(description=_("reason"), empty_value="-")
    def why(self, act: IncidentAction) -> str | None:
        return Truncator(act.reason).chars(60) or None
