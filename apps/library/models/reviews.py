"""What waits for a person's decision."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.library.models.executions import Execution, NodeExecution
from apps.library.models.graphs import Node


class Review(models.Model):
    """A node's question to a person."""

    class Status(models.TextChoices):
        """What was decided."""

        WAITING = "WAITING", "waiting"
        APPROVED = "APPROVED", "approved"
        REJECTED = "REJECTED", "rejected"

    node_execution = models.OneToOneField(
        NodeExecution, on_delete=models.CASCADE, primary_key=True, related_name="review"
    )
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="reviews")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reviews")
    payload = models.JSONField(null=True)
    instructions = models.TextField(blank=True)
    is_editable = models.BooleanField(default=True)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.WAITING)
    message = models.TextField(blank=True)
    reviewed_data = models.JSONField(null=True)  # what was approved
    reviewed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-created_at", "-node_execution_id")
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=["WAITING", "APPROVED", "REJECTED"]), name="known_review_status"
            ),
        )
        indexes = (
            models.Index(fields=["user", "-created_at"], condition=Q(status="WAITING"), name="reviews_that_wait"),
        )

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"


class AutoApproval(models.Model):
    """All further questions of a node in a run are approved."""

    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="auto_approvals")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="auto_approvals")

    class Meta:
        constraints = (models.UniqueConstraint(fields=["execution", "node"], name="one_auto_approval_a_node"),)

    def __str__(self) -> str:
        return f"{self.execution_id} {self.node_id}"
