"""When agents run by themselves."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.library.models.library import LibraryAgent


class Schedule(models.Model):
    """Runs an agent at the times of a cron expression in a time zone, or once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="schedules")
    agent = models.ForeignKey(LibraryAgent, on_delete=models.CASCADE, related_name="schedules")
    graph_version = models.PositiveIntegerField(null=True, blank=True)  # null = the active one at that time
    name = models.CharField(max_length=200)
    cron = models.CharField(max_length=200, blank=True)  # five fields
    run_at = models.DateTimeField(null=True, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    inputs = models.JSONField(default=dict, blank=True)
    credential_inputs = models.JSONField(default=dict, blank=True)
    next_run_at = models.DateTimeField(null=True, blank=True)  # null = never again
    is_enabled = models.BooleanField(default=True)
    disabled_reason = models.TextField(blank=True)  # why it was switched off, for its owner
    skipped_at = models.DateTimeField(null=True, blank=True, editable=False)  # the last due time that was missed
    last_run_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("next_run_at", "id")
        constraints = (
            models.CheckConstraint(
                condition=(~Q(cron="") & Q(run_at__isnull=True)) | (Q(cron="") & Q(run_at__isnull=False)),
                name="schedule_by_cron_or_once",
            ),
        )
        indexes = (
            models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="schedules_by_next_run"),
            models.Index(fields=["user", "next_run_at", "id"], name="schedules_of_a_user"),
        )

    def __str__(self) -> str:
        return self.name
