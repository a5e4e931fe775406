"""Versions of agents' graphs over REST, and what is wrong with graphs that aren't saved yet."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.graphs import importer, queries, services, shape
from apps.library.graphs import serializers as shapes
from apps.library.graphs.api.agents import ANY_OBJECT, BAD_GRAPH, NOT_FOUND, fresh, told
from apps.library.graphs.fix import fix
from apps.library.graphs.known import block_name
from apps.library.graphs.problems import stopping
from apps.library.graphs.validate import every_problem
from apps.library.models import Graph
from apps.runtime.rest import PageQuerySerializer, caller_id


def picture(graph: Graph) -> dict[str, Any]:
    """Return a version with its nodes and links."""
    data = shape.from_rows(graph)
    body = data.as_json()
    for node, part in zip(data.nodes, body["nodes"], strict=True):
        part["block_name"] = block_name(node.block_id)
        part["is_placeholder"] = node.block is None
    columns = ("graph_id", "version", "is_active", "name", "description", "instructions", "recommended_schedule_cron")
    about = {name: getattr(graph, name) for name in columns}
    return dict(shapes.GraphSerializer({**body, **about}).data)


class AgentGraphView(APIView):
    """The graph of an agent."""

    @extend_schema(
        operation_id="library_agents_graph_retrieve",
        parameters=[shapes.VersionQuerySerializer],
        responses={200: shapes.GraphSerializer, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: UUID) -> Response:
        """Return the nodes and links of a version."""
        agent = queries.access_agent(caller_id(request), agent_id)
        query = shapes.VersionQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        return Response(picture(queries.version_of(agent, query.validated_data["version"])))

    @extend_schema(
        operation_id="library_agents_graph_save",
        request={"application/json": ANY_OBJECT},
        responses={200: shapes.GraphSerializer, 400: BAD_GRAPH, 404: NOT_FOUND},
    )
    def put(self, request: Request, agent_id: UUID) -> Response:
        """Save a graph as the next version, which becomes the active one. Its nodes and links get new ids."""
        agent = queries.access_agent(caller_id(request), agent_id)
        graph = services.save_graph(user_id=caller_id(request), data=request.data, graph_id=agent.graph_id_shared)
        return Response(picture(graph))


class VersionListView(APIView):
    """The versions of an agent."""

    @extend_schema(
        operation_id="library_versions_list",
        parameters=[PageQuerySerializer],
        responses={200: shapes.VersionPageSerializer, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: UUID) -> Response:
        """List the versions of an agent, newest first."""
        agent = queries.access_agent(caller_id(request), agent_id)
        found, total = queries.list_versions(agent=agent, **PageQuerySerializer.read(request))
        return Response(shapes.VersionPageSerializer({"versions": found, "total": total}).data)


class VersionActivateView(APIView):
    """The version that runs."""

    @extend_schema(request=None, responses={200: shapes.AgentSerializer, 404: NOT_FOUND})
    def post(self, request: Request, agent_id: UUID, version: int) -> Response:
        """Let a version be the one that runs."""
        agent = services.activate_version(user_id=caller_id(request), agent_id=agent_id, version=version)
        return Response(shapes.AgentSerializer(agent).data)


class VersionCloneView(APIView):
    """Copies of agents."""

    @extend_schema(request=None, responses={201: shapes.AgentSerializer, 404: NOT_FOUND})
    def post(self, request: Request, agent_id: UUID, version: int) -> Response:
        """Make a new agent of a version."""
        agent = services.clone_version(user_id=caller_id(request), agent_id=agent_id, version=version)
        return Response(shapes.AgentSerializer(fresh(agent)).data, status=status.HTTP_201_CREATED)


class ValidateView(APIView):
    """Graphs that aren't saved yet."""

    @extend_schema(
        operation_id="library_graphs_validate",
        request={"application/json": ANY_OBJECT},
        responses={200: shapes.ValidatedSerializer, 400: BAD_GRAPH},
    )
    def post(self, request: Request) -> Response:
        """Say what is wrong with a graph, mend what can be mended, and say what was changed. Nothing is stored."""
        importer.check_size(request.data)
        graph, malformed = shape.parse(request.data)
        agents = queries.agents_run_by(caller_id(request), graph)
        problems = [*malformed, *every_problem(graph, agents=agents)]
        fixed, fixes = fix(graph, agents=agents)
        left = every_problem(fixed, agents=queries.agents_run_by(caller_id(request), fixed))
        body = {
            "can_save": not stopping(problems, for_run=False),
            "can_run": not stopping(problems, for_run=True),
            "problems": told(problems),
            "fixes": fixes,
            "fixed_graph": fixed.as_json() if graph.nodes else None,
            "remaining_problems": told(left),
        }
        return Response(shapes.ValidatedSerializer(body).data)
