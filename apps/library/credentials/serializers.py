"""Shapes of the credentials API. No answer holds a secret."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.library.credentials.services import VALUES
from apps.library.models import Credential
from apps.runtime.rest import PageQuerySerializer, StrictSerializer

MAX_SECRET_CHARS = 16_000  # keys of service accounts are whole JSON files


class CredentialSerializer(serializers.Serializer):
    """A key, without what it holds."""

    id = serializers.UUIDField()
    provider = serializers.CharField()
    type = serializers.ChoiceField(choices=Credential.Type.choices)
    title = serializers.CharField()
    host = serializers.CharField(help_text="Of a host-scoped one: where it may be sent; else empty.")
    scopes = serializers.ListField(child=serializers.CharField(), help_text="What an OAuth token allows.")
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="When the present access token ends; it is renewed before."
    )
    last_used_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class CredentialPageSerializer(serializers.Serializer):
    """A page of your credentials, newest first."""

    credentials = CredentialSerializer(many=True)
    total = serializers.IntegerField()


class CredentialQuerySerializer(PageQuerySerializer):
    """Which credentials are asked for."""

    provider = serializers.CharField(max_length=64, required=False, help_text="Only those of this service.")


class NewCredentialSerializer(StrictSerializer):
    """A new key; which of its fields are needed depends on its type."""

    provider = serializers.RegexField(r"^[a-z0-9][a-z0-9_-]{0,63}\Z", help_text="The service, such as `openai`.")
    type = serializers.ChoiceField(
        choices=[choice for choice in Credential.Type.choices if choice[0] != Credential.Type.OAUTH2],
        help_text="OAuth 2 credentials come from connecting a service.",
    )
    title = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    api_key = serializers.CharField(max_length=MAX_SECRET_CHARS, required=False)
    username = serializers.CharField(max_length=1000, required=False)
    password = serializers.CharField(max_length=MAX_SECRET_CHARS, required=False, trim_whitespace=False)
    host = serializers.CharField(max_length=255, required=False)
    headers = serializers.DictField(child=serializers.CharField(max_length=8000), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check that the fields are those of the type."""
        needed = VALUES[attrs["type"]] | ({"host"} if attrs["type"] == Credential.Type.HOST_SCOPED else set())
        given = set(attrs) - {"provider", "type", "title"}
        problems = {name: ["This type needs it."] for name in sorted(needed - given)}
        problems |= {name: ["This type has no such field."] for name in sorted(given - needed)}
        if problems:
            raise serializers.ValidationError(problems)
        return attrs


class CredentialTitleSerializer(StrictSerializer):
    """A credential's new title."""

    title = serializers.CharField(max_length=200)


class DeleteQuerySerializer(serializers.Serializer):
    """How to delete."""

    force = serializers.BooleanField(default=False, help_text="Also when agents use it.")


class ProviderSerializer(serializers.Serializer):
    """A service that can be connected by OAuth 2."""

    provider = serializers.CharField()
    title = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField(), help_text="What it is asked for at least.")
    is_configured = serializers.BooleanField(help_text="Whether this installation is known to it.")


class ProvidersSerializer(serializers.Serializer):
    """A page of the services that can be connected."""

    providers = ProviderSerializer(many=True)
    total = serializers.IntegerField()


class ConnectSerializer(StrictSerializer):
    """Which account is to be connected."""

    provider = serializers.CharField(max_length=64)
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=200), max_length=50, default=list, help_text="What else is needed."
    )
    title = serializers.CharField(max_length=200, allow_blank=True, default="")
    credential_id = serializers.UUIDField(
        allow_null=True, default=None, help_text="A credential to renew, so that agents which use it go on."
    )


class ConnectAnswerSerializer(serializers.Serializer):
    """Where to say yes."""

    authorize_url = serializers.URLField(help_text="Open it in the browser in which you are signed in here.")
