"""Shapes of the API of runs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.library.executor.queries import MOST_COUNTED
from apps.library.models import Execution
from apps.library.models.executions import Status
from apps.runtime.rest import PageQuerySerializer, RefusalSerializer, StrictSerializer

ANY_OBJECT = {"type": "object", "additionalProperties": {}}
VALUES = {"type": "object", "additionalProperties": {"type": "array", "items": {}}}
SHOWN = {
    "type": "object",
    "additionalProperties": {},
    "description": "`value`, or of a long one `excerpt` (the beginning of its JSON) and `characters`.",
}
MOST_INPUTS = 500


@extend_schema_field(ANY_OBJECT)
class AnyObject(serializers.DictField):
    """A JSON object."""


@extend_schema_field(VALUES)
class Values(serializers.DictField):
    """Lists of values by name."""


class RunAgentSerializer(StrictSerializer):
    """How an agent is to run."""

    inputs = serializers.DictField(
        child=serializers.JSONField(allow_null=True), default=dict, help_text="Values of its inputs by name."
    )
    credential_inputs = serializers.DictField(
        child=serializers.UUIDField(), default=dict, help_text="Credentials by the name of its credentials input."
    )
    preset_id = serializers.UUIDField(
        default=None, allow_null=True, help_text="Inputs that are saved; those above win over them."
    )
    graph_version = serializers.IntegerField(
        default=None, allow_null=True, min_value=1, max_value=2**31 - 1, help_text="The active one when it isn't said."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Nothing is touched or spent; blocks are played.")

    def validate_inputs(self, value: dict[str, Any]) -> dict[str, Any]:
        """Refuse more inputs than any agent has."""
        if len(value) > MOST_INPUTS:
            raise serializers.ValidationError(f"At most {MOST_INPUTS} inputs are taken.")
        return value


class ExecutionQuerySerializer(PageQuerySerializer):
    """Which runs are asked for."""

    agent_id = serializers.UUIDField(required=False, help_text="Only runs of this agent.")
    status = serializers.ChoiceField(choices=Status.choices, required=False, help_text="Only runs that stand there.")
    with_children = serializers.BooleanField(default=False, help_text="Also runs that other runs have started.")


class ExecutionSerializer(serializers.ModelSerializer):
    """A run in a list."""

    graph_id = serializers.UUIDField(source="graph.graph_id")
    graph_version = serializers.IntegerField(source="graph.version")
    name = serializers.CharField(source="graph.name", help_text="The agent's name in that version.")
    agent_id = serializers.UUIDField(allow_null=True)
    preset_id = serializers.UUIDField(allow_null=True)
    parent_id = serializers.UUIDField(allow_null=True)
    schedule_id = serializers.UUIDField(allow_null=True)

    class Meta:
        model = Execution
        fields = (
            "id",
            "agent_id",
            "graph_id",
            "graph_version",
            "name",
            "preset_id",
            "parent_id",
            "schedule_id",
            "trigger",
            "status",
            "is_dry_run",
            "cost_cents",
            "node_count",
            "node_error_count",
            "node_seconds",
            "error_code",
            "error",
            "created_at",
            "started_at",
            "ended_at",
        )
        read_only_fields = fields


class ExecutionPageSerializer(serializers.Serializer):
    """A page of runs."""

    executions = ExecutionSerializer(many=True)
    total = serializers.IntegerField(
        max_value=MOST_COUNTED, help_text="How many runs there are; the largest value stands for any more."
    )


class NodeRunSerializer(serializers.Serializer):
    """One run of a node."""

    id = serializers.UUIDField()
    node_id = serializers.UUIDField()
    block_id = serializers.CharField()
    number = serializers.IntegerField(help_text="Its place among all of the run's.")
    status = serializers.ChoiceField(choices=Status.choices)
    input_data = AnyObject(help_text="What was routed to it by pin, shortened.")
    output_data = Values(help_text="What it put out by pin, shortened.")
    charged_cents = serializers.IntegerField()
    stats = AnyObject()
    error = serializers.CharField(allow_blank=True)
    queued_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class ExecutionDetailSerializer(ExecutionSerializer):
    """A run with a page of its node runs."""

    inputs = AnyObject()
    outputs = Values(help_text="What it gave back, by name.")
    nodes = NodeRunSerializer(many=True)
    nodes_total = serializers.IntegerField()

    class Meta:
        model = Execution
        fields = (*ExecutionSerializer.Meta.fields, "inputs", "outputs", "nodes", "nodes_total")
        read_only_fields = fields


class RateSerializer(serializers.Serializer):
    """What is counted while a run works."""

    type = serializers.CharField(help_text="second, byte, items, tokens or cost_usd.")
    amount_microdollars = serializers.IntegerField(help_text="For one of that.")
    nodes = serializers.IntegerField(help_text="How many nodes are charged so.")


class EstimateSerializer(serializers.Serializer):
    """What one run costs when each node works once."""

    certain_cents = serializers.IntegerField(help_text="Whatever the nodes do.")
    certain_microdollars = serializers.IntegerField()
    counted = RateSerializer(many=True, help_text="Charged by what is used.")


class RunRefusalSerializer(RefusalSerializer):
    """Why a run was refused."""

    problems = serializers.JSONField(required=False)
