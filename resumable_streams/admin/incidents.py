"""The page of operators' acts."""

from django.contrib import admin

from ..models import IncidentAction
from .acting import ActsAdmin

__all__ = ["IncidentActionAdmin"]


@admin.register(IncidentAction)
class IncidentActionAdmin(ActsAdmin):
    list_display = ["started", "action", "alias", "tenant", "who", "outcome", "counts", "finished"]
    list_filter = ["action", "outcome"]
    search_fields = ["who", "tenant"]
    date_hierarchy = "started"
