"""The page of operators' acts."""

from django.contrib import admin

from ..models import IncidentAction
from .acting import ActsAdmin

__all__ = ["IncidentActionAdmin"]


@admin.register(IncidentAction)
class IncidentActionAdmin(ActsAdmin):
    list_display = [
        *("started", "action", "alias", "tenant", "outcome", "counts"),
        *("who", "sudo_user", "host", "reason", "finished"),
    ]
    list_filter = ["action", "outcome"]
    search_fields = ["who", "sudo_user", "host", "reason", "tenant"]
    date_hierarchy = "started"
