"""Keys to other services, encrypted."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Credential(models.Model):
    """A person's key to a service. `secret` is encrypted JSON; nothing but its use ever reads it."""

    class Type(models.TextChoices):
        """What kind of key it is."""

        API_KEY = "api_key", "API key"
        OAUTH2 = "oauth2", "OAuth 2"
        USER_PASSWORD = "user_password", "user and password"
        HOST_SCOPED = "host_scoped", "headers for a host"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="credentials")
    provider = models.CharField(max_length=64)
    type = models.CharField(max_length=16, choices=Type.choices)
    title = models.CharField(max_length=200)
    host = models.CharField(max_length=255, blank=True)  # of host-scoped ones
    scopes = models.JSONField(default=list, blank=True)
    secret = models.BinaryField(editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)  # of an OAuth access token
    version = models.PositiveIntegerField(default=0, editable=False)  # grows when an access token is refreshed
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=Q(type__in=["api_key", "oauth2", "user_password", "host_scoped"]),
                name="known_credential_type",
            ),
        )
        indexes = (models.Index(fields=["user", "provider"], name="credentials_of_a_provider"),)

    def __str__(self) -> str:
        return str(self.pk)


class OAuthAttempt(models.Model):
    """A sign-in at a provider that was begun; it is used up by its return."""

    state_hash = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="oauth_attempts")
    provider = models.CharField(max_length=64)
    scopes = models.JSONField(default=list, blank=True)
    verifier = models.BinaryField(editable=False)  # of PKCE, encrypted
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.provider
