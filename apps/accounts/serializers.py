"""Shapes of the accounts API."""

from __future__ import annotations

from rest_framework import serializers

from apps.accounts.models import ABOUT_LIMIT, User, validate_time_zone
from apps.runtime.rest import StrictSerializer


class MeSerializer(serializers.Serializer):
    """A person as they see themselves."""

    email = serializers.EmailField()
    name = serializers.CharField(allow_blank=True)
    time_zone = serializers.CharField()
    tier = serializers.CharField(help_text=f"The plan: {', '.join(User.Tier.values)}.")
    about = serializers.CharField(allow_blank=True)


class ChangeMeSerializer(StrictSerializer):
    """What people change about themselves; what is left out stays."""

    name = serializers.CharField(max_length=150, allow_blank=True, required=False)
    time_zone = serializers.CharField(
        max_length=64, required=False, validators=[validate_time_zone], help_text="An IANA name, as in Europe/Berlin."
    )
    about = serializers.CharField(
        max_length=ABOUT_LIMIT,
        allow_blank=True,
        required=False,
        help_text="What the copilot should know of you and your business; new conversations begin with it.",
    )


class ApiTokenSerializer(serializers.Serializer):
    """A key as its owner sees it."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=100)
    prefix = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)


class CreatedApiTokenSerializer(ApiTokenSerializer):
    """A key at the one moment when it can be read."""

    key = serializers.CharField(read_only=True)


class ApiTokenPageSerializer(serializers.Serializer):
    """A page of keys."""

    tokens = ApiTokenSerializer(many=True)
    total = serializers.IntegerField()
