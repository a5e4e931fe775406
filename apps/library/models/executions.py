"""Runs of graphs: leased like turns, with every node execution and every value that was routed in a row."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.library.models.graphs import Graph, Node
from apps.library.models.library import LibraryAgent, Preset
from apps.runtime.leases import LeasedRun, LeasedRunQuerySet


class Status(models.TextChoices):
    """Where a run, or one node's share of it, stands."""

    INCOMPLETE = "INCOMPLETE", "incomplete"  # a node that waits for values
    QUEUED = "QUEUED", "queued"
    RUNNING = "RUNNING", "running"
    COMPLETED = "COMPLETED", "completed"
    TERMINATED = "TERMINATED", "stopped"
    FAILED = "FAILED", "failed"
    REVIEW = "REVIEW", "waits for a person"


#: From which statuses each status may be reached; an update that would break this changes nothing.
REACHED_FROM: dict[str, tuple[str, ...]] = {
    Status.INCOMPLETE: (),
    Status.QUEUED: (Status.INCOMPLETE, Status.TERMINATED, Status.REVIEW),
    Status.RUNNING: (Status.INCOMPLETE, Status.QUEUED, Status.TERMINATED, Status.REVIEW),
    Status.COMPLETED: (Status.RUNNING,),
    Status.FAILED: (Status.INCOMPLETE, Status.QUEUED, Status.RUNNING, Status.REVIEW),
    Status.TERMINATED: (Status.INCOMPLETE, Status.QUEUED, Status.RUNNING, Status.REVIEW),
    Status.REVIEW: (Status.RUNNING,),
}


class ExecutionQuerySet(LeasedRunQuerySet):
    """Named queries over runs."""

    def of(self, user_id: Any) -> ExecutionQuerySet:
        """Return a person's own runs."""
        return self.filter(user_id=user_id)

    def move(self, status: str, **changes: Any) -> int:
        """Bring runs to a status from those that it may be reached from; returns how many moved."""
        return self.filter(status__in=REACHED_FROM[status]).update(status=status, **changes)


#: What people asked for, without the runs that those started.
TOPMOST = Q(parent__isnull=True)


class Execution(LeasedRun):
    """One run of a graph."""

    class Trigger(models.TextChoices):
        """Who asked."""

        MANUAL = "manual", "by hand"
        SCHEDULE = "schedule", "schedule"
        WEBHOOK = "webhook", "webhook"
        AGENT = "agent", "another agent"
        COPILOT = "copilot", "the copilot"

    QUEUED: ClassVar[str] = Status.QUEUED
    RUNNING: ClassVar[str] = Status.RUNNING
    ENDED: ClassVar[tuple[str, ...]] = (Status.COMPLETED, Status.FAILED, Status.TERMINATED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="executions")
    graph = models.ForeignKey(Graph, on_delete=models.CASCADE, related_name="executions")
    agent = models.ForeignKey(LibraryAgent, on_delete=models.SET_NULL, null=True, blank=True, related_name="executions")
    preset = models.ForeignKey(Preset, on_delete=models.SET_NULL, null=True, blank=True, related_name="executions")
    # The run, and the node of it, that this one was started by; a child dies with its parent.
    # Its index leaves out the many runs that have none: SQLite took that for the way to all of those.
    parent = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="children", db_index=False
    )
    parent_node_execution_id = models.UUIDField(null=True, blank=True, editable=False)
    root_id = models.UUIDField(editable=False)  # the topmost run of the tree; its own id when it is that
    depth = models.PositiveSmallIntegerField(default=0, editable=False)
    autopilot_depth = models.PositiveSmallIntegerField(default=0, editable=False)  # copilots above that led here
    trigger = models.CharField(max_length=16, choices=Trigger.choices, default=Trigger.MANUAL)
    schedule = models.ForeignKey(
        "library.Schedule", on_delete=models.SET_NULL, null=True, blank=True, related_name="executions"
    )
    due_at = models.DateTimeField(null=True, blank=True, editable=False)  # the moment that its schedule named
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    inputs = models.JSONField(default=dict, blank=True)
    credential_inputs = models.JSONField(default=dict, blank=True)
    node_input_masks = models.JSONField(null=True, blank=True)  # {node id: {pin: value}}
    is_dry_run = models.BooleanField(default=False)
    # What counted when it was asked for; later changes of the agent's settings don't.
    safe_mode = models.BooleanField(default=True)
    sensitive_safe_mode = models.BooleanField(default=False)
    cap_cents = models.PositiveIntegerField(null=True, blank=True)
    cost_cents = models.PositiveIntegerField(default=0, editable=False)
    cost_microdollars = models.PositiveBigIntegerField(default=0, editable=False)  # below a cent, not yet charged
    node_count = models.PositiveIntegerField(default=0, editable=False)
    node_error_count = models.PositiveIntegerField(default=0, editable=False)
    node_seconds = models.FloatField(default=0, editable=False)  # of all nodes together
    error_code = models.CharField(max_length=64, blank=True, editable=False)
    error = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[ExecutionQuerySet] = ExecutionQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = ("-created_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["schedule", "due_at"], condition=Q(schedule__isnull=False), name="one_execution_a_due_time"
            ),
            models.UniqueConstraint(
                fields=["parent_node_execution_id"],
                condition=Q(parent_node_execution_id__isnull=False),
                name="one_child_execution_a_node_execution",
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="known_execution_status"),
        )
        indexes = (
            models.Index(fields=["user", "-created_at", "-id"], name="executions_newest_first"),
            models.Index(fields=["agent", "-created_at", "-id"], condition=TOPMOST, name="executions_of_an_agent"),
            models.Index(
                fields=["user", "status", "-created_at", "-id"], condition=TOPMOST, name="executions_by_status"
            ),
            models.Index(fields=["user", "-ended_at", "-id"], condition=Q(status="FAILED"), name="executions_failed"),
            models.Index(fields=["parent"], condition=Q(parent__isnull=False), name="executions_children"),
            models.Index(fields=["user", "started_at"], name="executions_by_start"),
            models.Index(fields=["root_id"], name="executions_of_a_tree"),
            models.Index(
                fields=["status", "lease_expires_at"],
                condition=Q(status__in=["QUEUED", "RUNNING"]),
                name="executions_in_flight",
            ),
        )

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in self.ENDED


class NodeExecution(models.Model):
    """One node's run with one set of inputs; `number` orders all of a run's, oldest first."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="node_executions")
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="executions")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.INCOMPLETE)
    input_data = models.JSONField(default=dict, blank=True)  # {pin, also a dynamic one: value}
    charged_cents = models.IntegerField(default=0, editable=False)
    stats = models.JSONField(default=dict, blank=True)  # {tokens, model calls, …}
    error = models.TextField(blank=True, editable=False)
    queued_at = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("execution", "number")
        constraints = (
            models.UniqueConstraint(fields=["execution", "number"], name="one_node_execution_a_number"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="known_node_execution_status"),
        )

    def __str__(self) -> str:
        return f"{self.number} ({self.status})"


class NodeOutput(models.Model):
    """One value that a node put out."""

    id = models.BigAutoField(primary_key=True)
    node_execution = models.ForeignKey(NodeExecution, on_delete=models.CASCADE, related_name="outputs")
    position = models.PositiveIntegerField()  # of the node's outputs: 0, 1, …
    pin = models.CharField(max_length=300)
    data = models.JSONField(null=True)

    class Meta:
        ordering = ("node_execution", "position")
        constraints = (models.UniqueConstraint(fields=["node_execution", "position"], name="one_output_a_place"),)

    def __str__(self) -> str:
        return self.pin
