"""Conversations: sessions, their messages, the turns that answer them, the tools that were called."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from apps.chat.usage.models import CostEntry, UsageOverride, UsageWindow  # noqa: F401 -- where Django looks for them
from apps.runtime.leases import LeasedRun, LeasedRunQuerySet

MESSAGE_LIMIT = 64_000  # characters of one user message
MOST_FILES = 20  # files attached to one message
MOST_PENDING = 10  # messages that wait in one session
SUMMARY = "summary"  # the kind of a system row that stands for earlier rows before a model, and is shown to nobody


class SessionQuerySet(models.QuerySet["Session"]):
    """Named queries over sessions."""

    def of(self, user: Any) -> SessionQuerySet:
        """Return a person's own sessions."""
        return self.filter(user=user)

    def with_state(self) -> SessionQuerySet:
        """Add `is_processing`: whether a turn is queued or running."""
        return self.annotate(is_processing=Exists(Turn.objects.in_flight().filter(session=OuterRef("pk"))))


class Session(models.Model):
    """A conversation of one person with the copilot."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="chat_sessions")
    title = models.CharField(max_length=200, blank=True)
    is_dry_run = models.BooleanField(default=False)
    builder_graph_id = models.CharField(max_length=128, blank=True)
    next_sequence = models.PositiveIntegerField(default=1, editable=False)
    # Touched first by everything that starts, queues, drains or ends something here, so that these follow one another.
    lock_version = models.PositiveIntegerField(default=0, editable=False)
    prompt_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    completion_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = SessionQuerySet.as_manager()

    class Meta:
        indexes = (models.Index(fields=["user", "-updated_at", "-id"], name="sessions_newest_first"),)

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def metadata(self) -> dict[str, Any]:
        """What kind of conversation this is, as the API tells it."""
        bound = {"builder_graph_id": self.builder_graph_id} if self.builder_graph_id else {}
        return {"dry_run": self.is_dry_run, **bound}


class TurnQuerySet(LeasedRunQuerySet):
    """Named queries over turns."""

    def in_flight(self) -> TurnQuerySet:
        """Return turns that are queued or running; a session has at most one."""
        return self.filter(status__in=Turn.IN_FLIGHT)


class Turn(LeasedRun):
    """One run of the copilot over a session: from a stored user message to a terminal event."""

    class Status(models.TextChoices):
        """Where a turn stands."""

        QUEUED = "queued", "queued"  # stored; no worker has taken it yet, or one gave it back
        RUNNING = "running", "running"  # a worker holds its lease
        COMPLETED = "completed", "completed"  # the copilot finished by itself
        FAILED = "failed", "failed"  # it could not; `error` says why
        CANCELLED = "cancelled", "cancelled"  # a person stopped it

    class Mode(models.TextChoices):
        """Which engine answers."""

        FAST = "fast", "fast"
        EXTENDED_THINKING = "extended_thinking", "extended thinking"

    class Tier(models.TextChoices):
        """Which model of the engine answers."""

        STANDARD = "standard", "standard"
        ADVANCED = "advanced", "advanced"

    class Origin(models.TextChoices):
        """Who asked."""

        USER = "user", "user"
        SUB_SESSION = "sub_session", "sub-session"
        AUTOPILOT_BLOCK = "autopilot_block", "AutoPilot block"
        PLATFORM_LINK = "platform_link", "chat platform"
        SCHEDULE = "schedule", "schedule"
        AUTO_CONTINUE = "auto_continue", "queued messages"

    QUEUED: ClassVar[str] = Status.QUEUED
    RUNNING: ClassVar[str] = Status.RUNNING
    IN_FLIGHT: ClassVar[tuple[str, ...]] = (Status.QUEUED, Status.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.QUEUED)
    mode = models.CharField(max_length=24, choices=Mode.choices, default=Mode.FAST)
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.STANDARD)
    origin = models.CharField(max_length=24, choices=Origin.choices, default=Origin.USER)
    permissions = models.JSONField(null=True, blank=True)
    # The last step whose rows are complete, and the id of its last event: where a reader of the rows goes on.
    step = models.PositiveIntegerField(default=0, editable=False)
    resume_after = models.CharField(max_length=40, blank=True, editable=False)
    prompt_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    completion_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    cache_read_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    cache_creation_tokens = models.PositiveBigIntegerField(default=0, editable=False)
    cost_microdollars = models.PositiveBigIntegerField(default=0, editable=False)
    error_code = models.CharField(max_length=64, blank=True, editable=False)
    error = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects: ClassVar[TurnQuerySet] = TurnQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["session"], condition=Q(status__in=["queued", "running"]), name="one_turn_in_flight_a_session"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running", "completed", "failed", "cancelled"]),
                name="known_turn_status",
            ),
        )
        indexes = (
            models.Index(
                fields=["status", "lease_expires_at"],
                condition=Q(status__in=["queued", "running"]),
                name="turns_in_flight",
            ),
            models.Index(fields=["session", "-created_at"], name="turns_of_a_session"),
        )

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"

    @property
    def is_over(self) -> bool:
        """Whether the turn has ended."""
        return self.status not in self.IN_FLIGHT


class MessageQuerySet(models.QuerySet["Message"]):
    """Named queries over messages."""

    def of_finished_steps(self) -> MessageQuerySet:
        """Leave out rows of a step that still runs: its events bring them, and they may yet change."""
        running = Q(turn__status__in=Turn.IN_FLIGHT) & Q(step__gt=F("turn__step"))
        return self.exclude(running)

    def of_the_answer(self) -> MessageQuerySet:
        """Leave out what the turn answers; what people said while it ran belongs to it."""
        return self.exclude(role=Message.Role.USER, kind="")

    def shown(self) -> MessageQuerySet:
        """Leave out rows that only models are given."""
        return self.exclude(role=Message.Role.SYSTEM, kind=SUMMARY)


class Message(models.Model):
    """One row of a conversation, in the order of `sequence`."""

    class Role(models.TextChoices):
        """Whose row it is."""

        USER = "user", "user"
        ASSISTANT = "assistant", "assistant"  # visible text, and the tool calls that followed it
        TOOL = "tool", "tool"  # the result of one call
        REASONING = "reasoning", "reasoning"  # for people only; no model is ever given it
        SYSTEM = "system", "system"  # `kind` is stopped or error, a note to people, or summary

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages")
    sequence = models.PositiveIntegerField()
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, null=True, related_name="messages")
    step = models.PositiveIntegerField(default=0)
    role = models.CharField(max_length=16, choices=Role.choices)
    kind = models.CharField(max_length=24, blank=True)
    content = models.TextField(blank=True)
    tool_calls = models.JSONField(null=True, blank=True)  # [{id, name, arguments: JSON text}]
    tool_call_id = models.UUIDField(null=True, blank=True)
    is_error = models.BooleanField(default=False)
    provider_blocks = models.JSONField(null=True, blank=True)
    file_ids = models.JSONField(default=list, blank=True)
    context = models.JSONField(null=True, blank=True)  # the page it was sent from: {url, content}
    # The server's own `<user_context>` and the like that the model reads before this row; shown to nobody.
    model_prefix = models.TextField(blank=True)
    metadata = models.JSONField(null=True, blank=True)  # of system rows: {code, retryable}
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    client_message_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    #: The files of `file_ids` as models are told of them, where somebody loaded them; no column. See `attachments`.
    attachments: Sequence[Any] = ()

    objects = MessageQuerySet.as_manager()

    class Meta:
        ordering = ("session", "sequence")
        constraints = (
            models.UniqueConstraint(fields=["session", "sequence"], name="one_message_a_place"),
            models.UniqueConstraint(
                fields=["session", "client_message_id"],
                condition=Q(client_message_id__isnull=False),
                name="one_message_a_client_id",
            ),
            models.UniqueConstraint(
                fields=["tool_call_id"], condition=Q(tool_call_id__isnull=False), name="one_result_a_call"
            ),
            models.CheckConstraint(
                condition=Q(role__in=["user", "assistant", "tool", "reasoning", "system"]), name="known_message_role"
            ),
        )

    def __str__(self) -> str:
        return f"{self.role} {self.sequence}"

    @property
    def is_summary(self) -> bool:
        """Whether the row stands for earlier ones before a model; it is shown to nobody."""
        return self.role == self.Role.SYSTEM and self.kind == SUMMARY


class ToolCall(models.Model):
    """A call that the model asked for; its state decides what a new runner does with it."""

    class State(models.TextChoices):
        """How far a call has come."""

        PLANNED = "planned", "planned"  # stored with the assistant's row; nothing has run
        STARTED = "started", "started"  # about to run, or running: it may have taken effect
        DONE = "done", "done"  # its result is a row

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="tool_calls")
    step = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=128)
    arguments = models.TextField(blank=True)  # the JSON text as the model wrote it
    state = models.CharField(max_length=8, choices=State.choices, default=State.PLANNED)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    done_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("turn", "step", "position")
        constraints = (
            models.UniqueConstraint(fields=["turn", "step", "position"], name="one_call_a_place"),
            models.CheckConstraint(condition=Q(state__in=["planned", "started", "done"]), name="known_tool_call_state"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"


class PendingMessage(models.Model):
    """A message that waits for the running turn to read it. Positions only grow; reordering gives new ones."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="pending_messages")
    position = models.PositiveBigIntegerField()
    content = models.TextField()
    file_ids = models.JSONField(default=list, blank=True)
    context = models.JSONField(null=True, blank=True)
    client_message_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("session", "position")
        constraints = (
            models.UniqueConstraint(fields=["session", "position"], name="one_pending_message_a_place"),
            models.UniqueConstraint(
                fields=["session", "client_message_id"],
                condition=Q(client_message_id__isnull=False),
                name="one_pending_message_a_client_id",
            ),
        )

    def __str__(self) -> str:
        return str(self.pk)
