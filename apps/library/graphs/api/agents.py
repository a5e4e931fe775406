"""Agents of a person's library over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.graphs import agents, queries, schemas, services
from apps.library.graphs import serializers as shapes
from apps.library.graphs.exporter import export_graph, sub_graphs
from apps.library.graphs.problems import MOST_PROBLEMS, Problem, stopping
from apps.library.graphs.shape import MOST_BYTES, from_rows
from apps.library.graphs.validate import every_problem
from apps.library.models import LibraryAgent
from apps.runtime.rest import BodyTooLarge, BoundedJSONParser, RefusalSerializer, caller_id

NOT_FOUND = OpenApiResponse(RefusalSerializer, description="Unknown, deleted or somebody else's.")
BAD_GRAPH = OpenApiResponse(shapes.GraphRefusalSerializer, description="What is wrong with the graph.")
ANY_OBJECT = {"type": "object", "additionalProperties": {}}
UPLOAD = {
    "application/json": ANY_OBJECT,
    "multipart/form-data": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    },
}
#: What a form adds to the bytes of its one file.
FORM_BYTES = 10_000


def told(problems: list[Problem]) -> list[dict[str, Any]]:
    """Return problems as the API tells them."""
    return [problem.as_json() for problem in problems[:MOST_PROBLEMS]]


def detail(user_id: UUID, agent: LibraryAgent) -> dict[str, Any]:
    """Return an agent with what is computed from its graph."""
    data = from_rows(agent.graph)
    problems = every_problem(data, agents=queries.agents_run_by(user_id, data))
    data.sub_graphs = sub_graphs(agent.graph, data)  # theirs are told on their own pages, but for their credentials
    return {
        **shapes.AgentSerializer(agent).data,
        "instructions": agent.graph.instructions,
        "recommended_schedule_cron": agent.graph.recommended_schedule_cron,
        "can_run": not stopping(problems, for_run=True),
        "problems": told(problems),
        **schemas.facts(data),
    }


class AgentListView(APIView):
    """Your library."""

    @extend_schema(
        operation_id="library_agents_list",
        parameters=[shapes.AgentQuerySerializer],
        responses=shapes.AgentPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your agents, latest change first."""
        page = shapes.AgentQuerySerializer.read(request)
        found, total = queries.list_agents(user_id=caller_id(request), **page)
        return Response(shapes.AgentPageSerializer({"agents": found, "total": total}).data)


class AgentView(APIView):
    """One agent."""

    serializer_class = shapes.ChangeAgentSerializer

    @extend_schema(responses={200: shapes.AgentDetailSerializer, 404: NOT_FOUND})
    def get(self, request: Request, agent_id: UUID) -> Response:
        """Return an agent with what it takes, gives and needs."""
        return Response(detail(caller_id(request), queries.access_agent(caller_id(request), agent_id)))

    @extend_schema(request=shapes.ChangeAgentSerializer, responses={200: shapes.AgentSerializer, 404: NOT_FOUND})
    def patch(self, request: Request, agent_id: UUID) -> Response:
        """Change settings, folder, caps, or whether it is a favorite or archived."""
        queries.access_agent(caller_id(request), agent_id)  # a foreign id is unknown whatever the body says
        data = shapes.ChangeAgentSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        agent = agents.change_agent(user_id=caller_id(request), agent_id=agent_id, **data.validated_data)
        return Response(shapes.AgentSerializer(agent).data)

    @extend_schema(responses={204: None, 404: NOT_FOUND})
    def delete(self, request: Request, agent_id: UUID) -> Response:
        """Delete an agent with its schedules, presets and webhooks; its runs are stopped."""
        services.delete_agent(user_id=caller_id(request), agent_id=agent_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class AgentImportView(APIView):
    """Agent files."""

    parser_classes = (BoundedJSONParser, MultiPartParser)

    @extend_schema(
        operation_id="library_agents_import",
        request=UPLOAD,
        responses={201: shapes.ImportedSerializer, 400: BAD_GRAPH},
    )
    def post(self, request: Request) -> Response:
        """Put the agent of a file into your library: as the JSON itself, or as the form field `file`."""
        # A form is read into memory and temporary files before anybody can look at it.
        if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES + FORM_BYTES:
            raise BodyTooLarge
        file = request.data
        if request.content_type.startswith("multipart/"):
            upload = request.FILES.get("file")
            if upload is None:
                raise ValidationError({"file": ["No file was given."]})
            file = upload.read()
        found = services.import_agent(user_id=caller_id(request), file=file)
        body = {"agent": fresh(found.agent), "sub_agents": [fresh(sub) for sub in found.sub_agents]}
        return Response(
            shapes.ImportedSerializer({**body, "problems": told(found.told)}).data, status=status.HTTP_201_CREATED
        )


def fresh(agent: LibraryAgent) -> LibraryAgent:
    """Return a new agent with the times that the database gave it."""
    agent.refresh_from_db(fields=["created_at", "updated_at"])
    return agent


class AgentExportView(APIView):
    """An agent as a file."""

    @extend_schema(
        operation_id="library_agents_export",
        parameters=[shapes.VersionQuerySerializer],
        responses={200: OpenApiResponse(OpenApiTypes.OBJECT, description="An agent file."), 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: UUID) -> Response:
        """Return an agent, with those that it runs, as a file without credentials and secrets."""
        agent = queries.access_agent(caller_id(request), agent_id)
        query = shapes.VersionQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        graph = queries.version_of(agent, query.validated_data["version"])
        name = content_disposition_header(as_attachment=True, filename=f"{graph.name}.json")
        return Response(export_graph(graph), headers={"Content-Disposition": name} if name else {})
