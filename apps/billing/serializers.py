"""Shapes of the credits API. All amounts are whole cents."""

from __future__ import annotations

from rest_framework import serializers

from apps.billing.models import CreditTransaction


class BalanceSerializer(serializers.Serializer):
    """What you have."""

    balance_cents = serializers.IntegerField()


class TransactionSerializer(serializers.Serializer):
    """One line of your ledger."""

    id = serializers.UUIDField()
    type = serializers.ChoiceField(choices=CreditTransaction.Type.choices)
    amount_cents = serializers.IntegerField(help_text="Negative where credits were spent.")
    running_balance_cents = serializers.IntegerField(help_text="The balance after it.")
    created_at = serializers.DateTimeField()
    is_active = serializers.BooleanField()


class TransactionPageSerializer(serializers.Serializer):
    """A page of your ledger, newest first."""

    transactions = TransactionSerializer(many=True)
    next_cursor = serializers.IntegerField(allow_null=True, help_text="`cursor` of the next page; null at the end.")


class TransactionQuerySerializer(serializers.Serializer):
    """Which page of the ledger is asked for."""

    limit = serializers.IntegerField(min_value=1, max_value=100, default=50, help_text="Lines a page.")
    cursor = serializers.IntegerField(
        min_value=1, max_value=2**63 - 1, required=False, help_text="`next_cursor` of the page before."
    )
    type = serializers.ChoiceField(
        choices=CreditTransaction.Type.choices, required=False, help_text="Only lines of this type."
    )
