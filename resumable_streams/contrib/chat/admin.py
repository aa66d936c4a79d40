"""The page of conversations, to be looked at and deleted."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .deleting import delete_conversations
from .models import Conversation, Message

__all__ = ["ConversationAdmin"]


if TYPE_CHECKING:  # the classes of Django take no parameters when the code runs
    Inline = admin.TabularInline[Message, Conversation]
    Admin = admin.ModelAdmin[Conversation]
else:
    Inline, Admin = admin.TabularInline, admin.ModelAdmin

SHOWN = ["created", "role", "text", "status", "error_code", "usage", "key"]


class MessageInline(Inline):
    model = Message
    fields: ClassVar[Any] = SHOWN
    readonly_fields: ClassVar[Any] = SHOWN
    extra = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Conversation)
class ConversationAdmin(Admin):
    list_display = ["updated", "title", "owner", "chat", "alias", "tenant", "running"]
    list_display_links = ["updated", "title"]
    search_fields = ["=key", "=owner"]
    list_per_page = 50
    show_full_result_count = False
    inlines = [MessageInline]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        delete_conversations([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        delete_conversations(list(queryset))
