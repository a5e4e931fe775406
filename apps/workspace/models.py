"""A workspace a person, and the files in it. What a file holds lies in the storage; its row decides."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Workspace(models.Model):
    """What a person's files take up; the row is locked by everything that adds or removes one."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="workspace"
    )
    used_bytes = models.PositiveBigIntegerField(default=0, editable=False)

    def __str__(self) -> str:
        return str(self.pk)


class FileQuerySet(models.QuerySet["File"]):
    """Named queries over files."""

    def live(self) -> FileQuerySet:
        """Leave out deleted files."""
        return self.filter(deleted_at=None)

    def of(self, user_id: Any) -> FileQuerySet:
        """Return a person's own live files."""
        return self.live().filter(user_id=user_id)


class File(models.Model):
    """A file of a person's workspace, named `workspace://<id>` in texts and outputs."""

    class Origin(models.TextChoices):
        """Who made it."""

        UPLOAD = "upload", "uploaded"
        COPILOT = "copilot", "made by the copilot"
        EXECUTION = "execution", "made by an agent"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    path = models.CharField(max_length=1024)  # absolute, its last part is the name
    mime_type = models.CharField(max_length=255, blank=True)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    storage_name = models.CharField(max_length=255, editable=False)  # where the storage keeps what it holds
    session = models.ForeignKey("chat.Session", on_delete=models.SET_NULL, null=True, blank=True, related_name="files")
    origin = models.CharField(max_length=16, choices=Origin.choices, default=Origin.UPLOAD)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["user", "path"], condition=Q(deleted_at__isnull=True), name="one_live_file_a_path"
            ),
        )
        indexes = (models.Index(fields=["user", "-created_at", "-id"], name="files_newest_first"),)

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def uri(self) -> str:
        """How texts and outputs name it."""
        return f"workspace://{self.pk}#{self.mime_type}" if self.mime_type else f"workspace://{self.pk}"
