"""Addresses at which other services start agents."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from apps.library.models.executions import Execution
from apps.library.models.library import LibraryAgent, Preset


class Webhook(models.Model):
    """An address that starts an agent; whoever knows its secret path may call it."""

    class Provider(models.TextChoices):
        """Who calls, which says how calls are signed."""

        GENERIC = "generic", "any service"
        GITHUB = "github", "GitHub"
        SLACK = "slack", "Slack"
        STRIPE = "stripe", "Stripe"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks")
    agent = models.ForeignKey(LibraryAgent, on_delete=models.CASCADE, related_name="webhooks")
    preset = models.ForeignKey(Preset, on_delete=models.SET_NULL, null=True, blank=True, related_name="webhooks")
    name = models.CharField(max_length=200, blank=True)
    provider = models.CharField(max_length=16, choices=Provider.choices, default=Provider.GENERIC)
    path_hash = models.CharField(max_length=64, unique=True, editable=False)  # SHA-256 of the secret path
    secret = models.BinaryField(null=True, editable=False)  # what calls are signed with, encrypted; null = unsigned
    is_enabled = models.BooleanField(default=True)
    last_called_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return str(self.pk)


class WebhookDelivery(models.Model):
    """One call that was taken; a repeated delivery finds its row and starts nothing."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    delivery_id = models.CharField(max_length=200)
    execution = models.ForeignKey(
        Execution, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries"
    )
    received_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-received_at", "-id")
        constraints = (models.UniqueConstraint(fields=["webhook", "delivery_id"], name="one_row_a_delivery"),)

    def __str__(self) -> str:
        return str(self.pk)
