"""Shapes of the chat API, shared by REST, SSE and websockets."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from apps.chat.models import MESSAGE_LIMIT, MOST_FILES, MOST_PENDING, Turn
from apps.chat.turns.start import Queued
from apps.runtime.eventlog import BEGINNING, EventId
from apps.runtime.rest import StrictSerializer

#: Longer numbers aren't ids to Redis, and one reader's bad place would fail the read that all readers share.
EVENT_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


def read_place(value: Any) -> EventId:
    """Return where a reader wants to go on; the beginning when it doesn't say.

    Raises:
        ValueError: When it says something else than an event id.
    """
    if value is None or value == "":
        return BEGINNING
    if not isinstance(value, str) or not EVENT_ID.fullmatch(value):
        raise ValueError("after must be an event id.")
    return EventId.parse(value)


class CreateSessionSerializer(StrictSerializer):
    """What a new session is made from."""

    dry_run = serializers.BooleanField(default=False)
    builder_graph_id = serializers.CharField(max_length=128, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a session that would be both kinds at once."""
        if attrs.get("dry_run") and attrs.get("builder_graph_id"):
            raise serializers.ValidationError({"builder_graph_id": ["Can't be combined with dry_run."]})
        return attrs


class TitleSerializer(StrictSerializer):
    """A new title."""

    title = serializers.CharField(max_length=200)


class ForkSerializer(StrictSerializer):
    """Up to where a session is copied."""

    from_sequence = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, help_text="The place of the last message that the copy has."
    )


class ContextSerializer(serializers.Serializer):
    """The page that a message was sent from; unknown keys are ignored."""

    url = serializers.CharField(max_length=2_000, required=False, allow_blank=True)
    content = serializers.CharField(max_length=32_000, required=False, allow_blank=True)


class SendMessageSerializer(serializers.Serializer):
    """A message to the copilot."""

    message = serializers.CharField(max_length=MESSAGE_LIMIT)
    context = ContextSerializer(required=False, allow_null=True)  # type: ignore[assignment]
    file_ids = serializers.ListField(child=serializers.UUIDField(), max_length=MOST_FILES, required=False)
    mode = serializers.ChoiceField(choices=Turn.Mode.choices, required=False)
    model = serializers.ChoiceField(choices=Turn.Tier.choices, required=False)
    client_message_id = serializers.UUIDField(required=False)


class ChangePendingSerializer(StrictSerializer):
    """A new text or place for a message that waits."""

    content = serializers.CharField(max_length=MESSAGE_LIMIT, required=False)
    position = serializers.IntegerField(min_value=0, max_value=MOST_PENDING, required=False, help_text="0 = first.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse a change of nothing."""
        if not attrs:
            raise serializers.ValidationError({"content": ["Give content, position or both."]})
        return attrs


class WaitingMessageSerializer(serializers.Serializer):
    """A message that waits for the running turn to read it."""

    id = serializers.UUIDField()
    client_message_id = serializers.UUIDField(allow_null=True)
    content = serializers.CharField()
    file_ids = serializers.ListField(child=serializers.UUIDField())
    created_at = serializers.DateTimeField()


class WaitingSerializer(serializers.Serializer):
    """What waits in a session, in the order in which it will be read."""

    messages = serializers.ListField(child=serializers.CharField(), help_text="The texts alone.")
    items = WaitingMessageSerializer(many=True)
    count = serializers.IntegerField()


def queued_body(queued: Queued) -> dict[str, Any]:
    """Return the answer to a message that waits."""
    return {"buffer_length": queued.buffer_length, "max_buffer_length": MOST_PENDING, "turn_in_flight": True}


class SessionSerializer(serializers.Serializer):
    """A session in a list."""

    id = serializers.UUIDField()
    title = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    is_processing = serializers.BooleanField(default=False)
    metadata = serializers.DictField()


class SessionPageSerializer(serializers.Serializer):
    """A page of sessions."""

    sessions = SessionSerializer(many=True)
    total = serializers.IntegerField()


class MessageSerializer(serializers.Serializer):
    """One row of a conversation."""

    id = serializers.UUIDField()
    sequence = serializers.IntegerField()
    turn_id = serializers.UUIDField(allow_null=True)
    step = serializers.IntegerField()
    role = serializers.CharField()
    kind = serializers.CharField(allow_blank=True)
    content = serializers.CharField(allow_blank=True)
    tool_calls = serializers.ListField(child=serializers.DictField(), allow_null=True)
    tool_call_id = serializers.UUIDField(allow_null=True)
    is_error = serializers.BooleanField()
    metadata = serializers.DictField(allow_null=True)
    duration_ms = serializers.IntegerField(
        allow_null=True,
        help_text="How long reasoning took, in milliseconds; null where nobody knows, and for all else.",
    )
    file_ids = serializers.ListField(child=serializers.UUIDField())
    client_message_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()


class ActiveStreamSerializer(serializers.Serializer):
    """A turn in flight, and where its events go on after the rows that are shown."""

    turn_id = serializers.UUIDField()
    status = serializers.CharField()
    resume_after = serializers.CharField(allow_blank=True)


class SessionDetailSerializer(serializers.Serializer):
    """A session with a page of its messages."""

    id = serializers.UUIDField()
    title = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    metadata = serializers.DictField()
    messages = MessageSerializer(many=True)
    has_more_messages = serializers.BooleanField()
    oldest_sequence = serializers.IntegerField(allow_null=True)
    total_prompt_tokens = serializers.IntegerField()
    total_completion_tokens = serializers.IntegerField()
    active_stream = ActiveStreamSerializer(allow_null=True)


class MessageQuerySerializer(serializers.Serializer):
    """Which page of messages is asked for."""

    limit = serializers.IntegerField(min_value=1, max_value=200, default=50, help_text="Rows a page.")
    before_sequence = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, required=False, help_text="Only rows before this place."
    )


class CancelSerializer(serializers.Serializer):
    """What became of a wish to stop."""

    cancelled = serializers.BooleanField()
    reason = serializers.CharField(required=False)


class SuggestedPromptsSerializer(serializers.Serializer):
    """Prompts to begin with."""

    prompts = serializers.ListField(child=serializers.CharField())


class ErrorSerializer(serializers.Serializer):
    """What every refusal looks like; bad fields come as field → messages instead."""

    detail = serializers.CharField()
    code = serializers.CharField(required=False)
