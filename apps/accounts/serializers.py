"""Shapes of the accounts API."""

from __future__ import annotations

from rest_framework import serializers


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
