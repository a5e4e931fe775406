"""Shapes of the usage API. People are shown percents; money is for operators."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.chat.usage.limits import MULTIPLIERS
from apps.runtime.rest import StrictSerializer

TIERS = [(tier, tier) for tier in MULTIPLIERS]


class WindowSerializer(serializers.Serializer):
    """How much of a window is used."""

    percent_used = serializers.FloatField(min_value=0, max_value=100)
    resets_at = serializers.DateTimeField()


class UsageSerializer(serializers.Serializer):
    """Your usage; a window is null where it is unlimited."""

    daily = WindowSerializer(allow_null=True)
    weekly = WindowSerializer(allow_null=True)
    tier = serializers.ChoiceField(choices=TIERS)
    reset_cost = serializers.IntegerField(help_text="Credits for a daily reset, in cents; 0 = can't be bought.")


class ResetSerializer(serializers.Serializer):
    """What a paid reset did. Credits are in cents."""

    success = serializers.BooleanField()
    credits_charged = serializers.IntegerField()
    remaining_balance = serializers.IntegerField()
    usage = UsageSerializer()


class PersonQuerySerializer(serializers.Serializer):
    """Whom an operator asks about."""

    user_id = serializers.UUIDField(required=False)
    email = serializers.CharField(max_length=254, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Want one of the two."""
        if len(attrs) != 1:
            raise serializers.ValidationError("Give either user_id or email.")
        return attrs


class PersonLimitsSerializer(serializers.Serializer):
    """A person's limits and what they used of them, for operators."""

    user_id = serializers.UUIDField()
    user_email = serializers.CharField()
    daily_cost_limit_microdollars = serializers.IntegerField()
    weekly_cost_limit_microdollars = serializers.IntegerField()
    daily_cost_used_microdollars = serializers.IntegerField()
    weekly_cost_used_microdollars = serializers.IntegerField()
    tier = serializers.ChoiceField(choices=TIERS)


class ClearSerializer(StrictSerializer):
    """Whose usage an operator clears."""

    user_id = serializers.UUIDField()
    reset_weekly = serializers.BooleanField(default=False)


class TierSerializer(StrictSerializer):
    """A person's tier."""

    user_id = serializers.UUIDField()
    tier = serializers.ChoiceField(choices=TIERS)
