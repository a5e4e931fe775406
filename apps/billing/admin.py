"""What operators see of credits, and how they give some."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from apps.billing import services
from apps.billing.models import Balance, CreditTransaction


class GrantForm(forms.ModelForm):
    """Gives credits to somebody."""

    amount_cents = forms.IntegerField(min_value=1, max_value=100_000_000, label="Credits, in cents")
    reason = forms.CharField(max_length=500, help_text="Kept in the ledger, with your id; the person doesn't see it.")
    # Made with the form, so that sending it twice gives once.
    grant_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    class Meta:
        model = CreditTransaction
        fields = ("user", "amount_cents")


@admin.register(CreditTransaction)
class CreditTransactionAdmin(admin.ModelAdmin):
    """The ledger: lines are read here; adding one is a grant."""

    form = GrantForm
    list_display = ("created_at", "user", "type", "amount_cents", "running_balance_cents", "key", "is_active")
    list_filter = ("type", "is_active", "created_at")
    list_select_related = ("user",)
    search_fields = ("key", "user__email")
    raw_id_fields = ("user",)
    ordering = ("-created_at", "-number")
    show_full_result_count = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the whole line, or the form of a grant."""
        if obj is None:
            return ("user", "amount_cents", "reason", "grant_id")
        names = ("id", "user", "number", "type", "amount_cents", "running_balance_cents", "key", "metadata")
        return (*names, "created_at", "is_active")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the ledger only grows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the ledger only grows."""
        return False

    def save_model(self, request: HttpRequest, obj: CreditTransaction, form: Any, change: bool) -> None:
        """Give the credits, and let the admin's own log name the line."""
        line = services.grant(
            user_id=obj.user_id,
            amount_cents=obj.amount_cents,
            key=f"grant:{form.cleaned_data['grant_id']}",
            metadata={"reason": form.cleaned_data["reason"], "operator_id": str(request.user.pk)},
        )
        obj.pk = line.pk
        obj.type = line.type


@admin.register(Balance)
class BalanceAdmin(admin.ModelAdmin):
    """What everybody has."""

    list_display = ("user", "cents", "transactions")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = ("user", "cents", "transactions")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: the ledger alone moves a balance."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False
