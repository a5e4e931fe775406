"""Shapes of agents, versions, folders, presets and blocks in the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.library.graphs.problems import Stops
from apps.library.graphs.shape import unusable
from apps.runtime.rest import PageQuerySerializer, RefusalSerializer, StrictSerializer

SEARCH_LENGTH = 200
TEXT_LENGTH = 10_000
MOST_CENTS = 2**31 - 1
#: Settings that are switches; others may hold anything.
SWITCHES = ("human_in_the_loop_safe_mode", "sensitive_action_safe_mode")


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ObjectField(serializers.JSONField):
    """A JSON object that the database can hold."""

    default_error_messages = {"no_object": "This is no JSON object.", "unusable": "{reason}"}

    def to_internal_value(self, data: Any) -> Any:
        """Return the object.

        Raises:
            ValidationError: When it is something else, or holds what can't be stored.
        """
        value = super().to_internal_value(data)
        if not isinstance(value, dict):
            self.fail("no_object")
        problem = unusable(value)
        if problem is not None:
            self.fail("unusable", reason=problem.message)
        return value


class ProblemSerializer(serializers.Serializer):
    """One thing that is wrong with a graph."""

    code = serializers.CharField()
    message = serializers.CharField()
    remedy = serializers.CharField()
    stops = serializers.ChoiceField(choices=[kind.value for kind in Stops], help_text="What it keeps the graph from.")
    node_id = serializers.CharField(required=False)
    pin = serializers.CharField(required=False)
    link_id = serializers.CharField(required=False)
    graph = serializers.CharField(required=False, help_text="The sub-agent that it is in.")


class GraphRefusalSerializer(RefusalSerializer):
    """Why a graph was refused."""

    problems = ProblemSerializer(many=True, required=False)


class AgentQuerySerializer(PageQuerySerializer):
    """Which agents are asked for."""

    search = serializers.CharField(
        required=False, allow_blank=True, max_length=SEARCH_LENGTH, help_text="Only with this in name or description."
    )
    folder_id = serializers.UUIDField(required=False, help_text="Only those in this folder.")
    without_folder = serializers.BooleanField(required=False, default=False, help_text="Only those in no folder.")
    is_archived = serializers.BooleanField(required=False, allow_null=True, default=None)
    is_favorite = serializers.BooleanField(required=False, allow_null=True, default=None)


class AgentSerializer(serializers.Serializer):
    """An agent of your library."""

    id = serializers.UUIDField()
    graph_id = serializers.UUIDField(source="graph_id_shared")
    version = serializers.IntegerField(source="graph.version", help_text="The version that runs.")
    name = serializers.CharField(source="graph.name")
    description = serializers.CharField(source="graph.description", allow_blank=True)
    folder_id = serializers.UUIDField(allow_null=True)
    is_favorite = serializers.BooleanField()
    is_archived = serializers.BooleanField()
    settings = ObjectField()
    run_cap_cents = serializers.IntegerField(allow_null=True, help_text="What one run may spend.")
    daily_cap_cents = serializers.IntegerField(allow_null=True, help_text="What its runs may spend a day (UTC).")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class AgentPageSerializer(serializers.Serializer):
    """A page of your library."""

    agents = AgentSerializer(many=True)
    total = serializers.IntegerField()


class AgentDetailSerializer(AgentSerializer):
    """An agent with what it takes, gives and needs."""

    instructions = serializers.CharField(allow_blank=True)
    recommended_schedule_cron = serializers.CharField(allow_blank=True)
    input_schema = ObjectField()
    output_schema = ObjectField()
    credentials_input_schema = ObjectField()
    has_external_trigger = serializers.BooleanField()
    has_human_in_the_loop = serializers.BooleanField()
    has_sensitive_action = serializers.BooleanField()
    trigger_setup_info = ObjectField(allow_null=True)
    can_run = serializers.BooleanField()
    problems = ProblemSerializer(many=True)


class ChangeAgentSerializer(StrictSerializer):
    """What changes of how you keep an agent."""

    settings = ObjectField(required=False, help_text="Keys that aren't given stay as they are.")
    folder_id = serializers.UUIDField(required=False, allow_null=True, help_text="null = no folder.")
    is_favorite = serializers.BooleanField(required=False)
    is_archived = serializers.BooleanField(required=False)
    run_cap_cents = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MOST_CENTS)
    daily_cap_cents = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MOST_CENTS)

    def validate_settings(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Refuse switches that are neither on nor off."""
        for name in SWITCHES:
            if name in value and not isinstance(value[name], bool):
                raise serializers.ValidationError(f"{name} is true or false.")
        return value


class ImportedSerializer(serializers.Serializer):
    """What became of a file."""

    agent = AgentSerializer()
    sub_agents = AgentSerializer(many=True, help_text="The agents that it runs, which are in your library too.")
    problems = ProblemSerializer(many=True, help_text="What you should know: removed secrets, missing blocks, advice.")


class VersionQuerySerializer(serializers.Serializer):
    """Which version is asked for."""

    version = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=1,
        max_value=2**31 - 1,
        help_text="Else the active.",
    )


class NodeSerializer(serializers.Serializer):
    """One use of a block."""

    id = serializers.CharField()
    block_id = serializers.CharField()
    block_name = serializers.CharField()
    is_placeholder = serializers.BooleanField(help_text="Whether the block is missing here.")
    input_default = ObjectField()
    metadata = ObjectField()


class LinkSerializer(serializers.Serializer):
    """A wire between two nodes."""

    id = serializers.CharField()
    source_id = serializers.CharField()
    source_name = serializers.CharField()
    sink_id = serializers.CharField()
    sink_name = serializers.CharField()
    is_static = serializers.BooleanField()


class GraphSerializer(serializers.Serializer):
    """A version of an agent's graph."""

    graph_id = serializers.UUIDField()
    version = serializers.IntegerField()
    is_active = serializers.BooleanField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    instructions = serializers.CharField(allow_blank=True)
    recommended_schedule_cron = serializers.CharField(allow_blank=True)
    nodes = NodeSerializer(many=True)
    links = LinkSerializer(many=True)


class VersionSerializer(serializers.Serializer):
    """A version of an agent, in a list."""

    version = serializers.IntegerField()
    is_active = serializers.BooleanField()
    name = serializers.CharField()
    node_count = serializers.IntegerField()
    created_at = serializers.DateTimeField()


class VersionPageSerializer(serializers.Serializer):
    """A page of an agent's versions, newest first."""

    versions = VersionSerializer(many=True)
    total = serializers.IntegerField()


class ValidatedSerializer(serializers.Serializer):
    """What is wrong with a graph, and what could be mended."""

    can_save = serializers.BooleanField()
    can_run = serializers.BooleanField()
    problems = ProblemSerializer(many=True)
    fixes = serializers.ListField(child=serializers.CharField(), help_text="What was changed in the fixed graph.")
    fixed_graph = ObjectField(allow_null=True, help_text="null when there is no graph to mend.")
    remaining_problems = ProblemSerializer(many=True, help_text="What is wrong with the fixed graph.")


class FolderQuerySerializer(PageQuerySerializer):
    """Which folders are asked for."""

    parent_id = serializers.UUIDField(required=False, help_text="Only those in this folder.")
    top = serializers.BooleanField(required=False, default=False, help_text="Only those in no folder.")


class FolderSerializer(serializers.Serializer):
    """A folder of your library."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    parent_id = serializers.UUIDField(allow_null=True)
    agent_count = serializers.IntegerField(default=0)
    created_at = serializers.DateTimeField()


class FolderPageSerializer(serializers.Serializer):
    """A page of your folders, by name."""

    folders = FolderSerializer(many=True)
    total = serializers.IntegerField()


class CreateFolderSerializer(StrictSerializer):
    """A new folder."""

    name = serializers.CharField(max_length=100)
    parent_id = serializers.UUIDField(required=False, allow_null=True)


class ChangeFolderSerializer(StrictSerializer):
    """Another name or place for a folder."""

    name = serializers.CharField(max_length=100, required=False)
    parent_id = serializers.UUIDField(required=False, allow_null=True, help_text="null = the top.")


class PresetQuerySerializer(PageQuerySerializer):
    """Which presets are asked for."""

    agent_id = serializers.UUIDField(required=False, help_text="Only those of this agent.")


class PresetSerializer(serializers.Serializer):
    """Inputs of an agent under a name."""

    id = serializers.UUIDField()
    agent_id = serializers.UUIDField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    inputs = ObjectField()
    credential_inputs = ObjectField()
    is_active = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class PresetPageSerializer(serializers.Serializer):
    """A page of your presets, latest change first."""

    presets = PresetSerializer(many=True)
    total = serializers.IntegerField()


class ChangePresetSerializer(StrictSerializer):
    """What changes of a preset."""

    name = serializers.CharField(max_length=200, required=False)
    description = serializers.CharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    inputs = ObjectField(required=False)
    credential_inputs = serializers.DictField(
        child=serializers.UUIDField(), required=False, help_text="Credential ids by name of the credentials input."
    )
    is_active = serializers.BooleanField(required=False)

    def validate_credential_inputs(self, value: Mapping[str, Any]) -> dict[str, str]:
        """Return the ids as JSON has them."""
        return {name: str(credential_id) for name, credential_id in value.items()}


class CreatePresetSerializer(ChangePresetSerializer):
    """A new preset."""

    agent_id = serializers.UUIDField()
    name = serializers.CharField(max_length=200)


class BlockQuerySerializer(PageQuerySerializer):
    """Which blocks are asked for."""

    search = serializers.CharField(
        required=False, allow_blank=True, max_length=SEARCH_LENGTH, help_text="Only with this in name or description."
    )
    category = serializers.CharField(required=False, allow_blank=True, max_length=SEARCH_LENGTH)


class BlockSerializer(serializers.Serializer):
    """A kind of step."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    categories = serializers.ListField(child=serializers.CharField())
    type = serializers.CharField()
    static_output = serializers.BooleanField(help_text="Whether what it puts out is reused for ever.")
    is_sensitive_action = serializers.BooleanField()
    input_schema = ObjectField()
    output_schema = ObjectField()
    costs = serializers.ListField(child=ObjectField(), help_text="The first that fits counts; none = free.")


class BlockPageSerializer(serializers.Serializer):
    """A page of all blocks, by name."""

    blocks = BlockSerializer(many=True)
    total = serializers.IntegerField()
