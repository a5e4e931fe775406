"""What operators see of conversations: states and figures, never what people wrote."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.chat.models import Session, Turn
from apps.chat.usage.models import CostEntry, UsageOverride, UsageWindow


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


class FactAdmin(ReadOnlyAdmin):
    """Rows that explain one another, so that none may go alone."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether their owner is being deleted by somebody who may."""
        page = request.resolver_match.url_name if request.resolver_match else None
        return bool(page and page.startswith("accounts_user_")) and super().has_delete_permission(request, obj)


@admin.register(UsageWindow)
class UsageWindowAdmin(FactAdmin):
    """What people spent of each day and week."""

    list_display = ("starts_at", "kind", "user", "used_microdollars", "forgiven_microdollars", "resets")
    list_filter = ("kind", "starts_at")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    show_full_result_count = False


@admin.register(CostEntry)
class CostEntryAdmin(FactAdmin):
    """What each model call cost."""

    list_display = ("created_at", "user", "provider", "model", "microdollars", "is_estimated", "is_unpriced")
    list_filter = ("is_estimated", "is_unpriced", "provider", "created_at")
    list_select_related = ("user",)
    search_fields = ("user__email", "session__id", "turn__id", "model")
    show_full_result_count = False


@admin.register(UsageOverride)
class UsageOverrideAdmin(admin.ModelAdmin):
    """Limits of single people."""

    list_display = ("user", "daily_limit_microdollars", "weekly_limit_microdollars")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    search_fields = ("user__email",)
    show_full_result_count = False
