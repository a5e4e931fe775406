"""Shapes of the reviews API."""

from __future__ import annotations

from rest_framework import serializers

from apps.library.models import Review
from apps.library.reviews.services import is_sensitive
from apps.runtime.rest import StrictSerializer

MOST_DECISIONS = 100  # a request


class ReviewSerializer(serializers.Serializer):
    """A node's question to you."""

    node_execution_id = serializers.UUIDField()
    execution_id = serializers.UUIDField()
    agent_id = serializers.UUIDField(source="execution.agent_id", allow_null=True)
    agent_name = serializers.CharField(source="execution.graph.name")
    node_id = serializers.UUIDField(source="node_execution.node_id")
    payload = serializers.JSONField(allow_null=True, help_text="What is to be approved.")
    instructions = serializers.CharField(allow_blank=True)
    is_editable = serializers.BooleanField()
    is_sensitive = serializers.SerializerMethodField(
        help_text="Whether the payload is the inputs of a block that does something to the world."
    )
    status = serializers.CharField(help_text="WAITING, APPROVED or REJECTED.")
    message = serializers.CharField(allow_blank=True)
    reviewed_data = serializers.JSONField(allow_null=True, help_text="What was approved.")
    reviewed_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_is_sensitive(self, review: Review) -> bool:
        """Return whether it is about a block's inputs."""
        return is_sensitive(review)


class ReviewPageSerializer(serializers.Serializer):
    """A page of reviews."""

    reviews = ReviewSerializer(many=True)
    total = serializers.IntegerField()


class DecisionSerializer(StrictSerializer):
    """Your decision about one question."""

    node_execution_id = serializers.UUIDField()
    approved = serializers.BooleanField()
    message = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    reviewed_data = serializers.JSONField(
        required=False, allow_null=True, help_text="What is approved instead; null: the payload as it is."
    )
    auto_approve_future = serializers.BooleanField(
        default=False, help_text="Approve all further questions of this node in this run too."
    )


class DecisionsSerializer(StrictSerializer):
    """Your decisions about one run."""

    reviews = serializers.ListField(child=DecisionSerializer(), min_length=1, max_length=MOST_DECISIONS)


class OutcomeSerializer(serializers.Serializer):
    """How many decisions were taken."""

    approved_count = serializers.IntegerField()
    rejected_count = serializers.IntegerField()
    failed_count = serializers.IntegerField(help_text="Those that were decided already.")
    error = serializers.CharField(allow_blank=True)
