"""What operators see of conversations: states and figures, never what people wrote."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.chat.models import Session, Turn


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that the product alone writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    """Conversations."""

    fields = ("id", "user", "is_dry_run", "prompt_tokens", "completion_tokens", "created_at", "updated_at")
    list_display = ("id", "user", "prompt_tokens", "completion_tokens", "updated_at")
    list_select_related = ("user",)
    search_fields = ("id", "user__email")
    show_full_result_count = False


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    """Runs of the copilot."""

    list_display = ("id", "status", "mode", "origin", "attempt", "lost_leases", "step", "created_at", "ended_at")
    list_filter = ("status", "mode", "origin")
    search_fields = ("id", "session__id")
    show_full_result_count = False
