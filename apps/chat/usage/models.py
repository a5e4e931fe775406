"""What conversations cost: a row for each model call, and what a person spent of each window."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class UsageWindow(models.Model):
    """A day or a week of one person. What was spent and not forgiven counts against the limit."""

    class Kind(models.TextChoices):
        """How long a window is."""

        DAILY = "daily", "daily"  # from 00:00 UTC
        WEEKLY = "weekly", "weekly"  # from Monday 00:00 UTC

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="usage_windows")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    starts_at = models.DateTimeField()
    used_microdollars = models.PositiveBigIntegerField(default=0)
    # What resets took off; with it the window still equals the sum of its cost entries.
    forgiven_microdollars = models.PositiveBigIntegerField(default=0)
    resets = models.PositiveIntegerField(default=0)  # that the person paid for

    class Meta:
        ordering = ("-starts_at", "kind")
        constraints = (
            models.UniqueConstraint(fields=["user", "kind", "starts_at"], name="one_usage_window_a_start"),
            models.CheckConstraint(condition=models.Q(kind__in=["daily", "weekly"]), name="known_usage_window_kind"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.starts_at:%Y-%m-%d}"


class CostEntry(models.Model):
    """One model call: its tokens and its money."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="cost_entries")
    session = models.ForeignKey("chat.Session", on_delete=models.SET_NULL, null=True, related_name="cost_entries")
    turn = models.ForeignKey("chat.Turn", on_delete=models.SET_NULL, null=True, related_name="cost_entries")
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)
    cache_read_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0)
    microdollars = models.PositiveBigIntegerField(default=0)
    # By the price table, as the provider told no cost, or even the tokens, as the call was broken off.
    is_estimated = models.BooleanField(default=False)
    is_unpriced = models.BooleanField(default=False)  # nobody knows what it cost; it was not charged
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name_plural = "cost entries"
        indexes = (models.Index(fields=["user", "created_at"], name="costs_of_a_user"),)

    def __str__(self) -> str:
        return str(self.pk)


class UsageOverride(models.Model):
    """One person's own base limits; their tier multiplies them like everybody's."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="usage_override"
    )
    daily_limit_microdollars = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Before the tier multiplies it; 0 = unlimited, empty = like everybody."
    )
    weekly_limit_microdollars = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Before the tier multiplies it; 0 = unlimited, empty = like everybody."
    )

    def __str__(self) -> str:
        return str(self.pk)
