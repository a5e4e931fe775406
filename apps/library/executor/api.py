"""Runs of agents over REST and SSE."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.executor import queries, services
from apps.library.executor import serializers as shapes
from apps.library.executor.cancel import cancel_execution
from apps.library.executor.follow import follow_run
from apps.library.graphs.queries import access_agent
from apps.runtime import sse
from apps.runtime.eventlog import EventId
from apps.runtime.hub import shared_hub
from apps.runtime.rest import PageQuerySerializer, caller_id

NOT_FOUND = OpenApiResponse(shapes.RunRefusalSerializer, description="Unknown, deleted or somebody else's.")
REFUSED = OpenApiResponse(shapes.RunRefusalSerializer, description="What is wrong with the agent or its inputs.")
UNPAID = OpenApiResponse(shapes.RunRefusalSerializer, description="No credits are left, or a cap is reached.")
ENDED = OpenApiResponse(shapes.RunRefusalSerializer, description="The run has ended already.")
#: Longer numbers aren't ids to Redis, and one reader's bad place would fail the read that all readers share.
EVENT_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


class RunAgentView(APIView):
    """Running an agent."""

    serializer_class = shapes.RunAgentSerializer

    @extend_schema(
        operation_id="library_agents_run",
        request=shapes.RunAgentSerializer,
        responses={201: shapes.ExecutionSerializer, 400: REFUSED, 402: UNPAID, 404: NOT_FOUND},
    )
    def post(self, request: Request, agent_id: UUID) -> Response:
        """Run an agent; the run is queued, and goes on whoever watches."""
        agent = access_agent(caller_id(request), agent_id)  # before the body: a foreign id must not tell them apart
        asked = shapes.RunAgentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        run = services.run_agent(user_id=caller_id(request), agent=agent, **asked.validated_data)
        return Response(shapes.ExecutionSerializer(run).data, status=status.HTTP_201_CREATED)


class EstimateView(APIView):
    """What running an agent would cost."""

    @extend_schema(
        operation_id="library_agents_estimate",
        responses={200: shapes.EstimateSerializer, 400: REFUSED, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: UUID) -> Response:
        """Return what one run of an agent's active version costs when each node works once."""
        agent = access_agent(caller_id(request), agent_id)
        return Response(shapes.EstimateSerializer(services.estimate_agent(agent=agent)).data)


class ExecutionListView(APIView):
    """Your runs."""

    @extend_schema(
        operation_id="library_executions_list",
        parameters=[shapes.ExecutionQuerySerializer],
        responses=shapes.ExecutionPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your runs, newest first."""
        page = shapes.ExecutionQuerySerializer.read(request)
        found, total = queries.list_executions(
            user_id=caller_id(request),
            limit=page["limit"],
            offset=page["offset"],
            agent_id=page.get("agent_id"),
            status=page.get("status", ""),
            is_child=page["with_children"],
        )
        return Response(shapes.ExecutionPageSerializer({"executions": found, "total": total}).data)


class ExecutionView(APIView):
    """One run."""

    @extend_schema(
        operation_id="library_executions_retrieve",
        parameters=[PageQuerySerializer],
        responses={200: shapes.ExecutionDetailSerializer, 404: NOT_FOUND},
    )
    def get(self, request: Request, execution_id: UUID) -> Response:
        """Return a run with what it gave back and a page of its node runs, oldest first."""
        run = queries.access_execution(caller_id(request), execution_id)
        page = PageQuerySerializer.read(request)
        nodes, total = queries.node_page(execution_id=execution_id, **page)
        run.outputs = queries.outputs_by_name(run)  # type: ignore[attr-defined]
        run.nodes, run.nodes_total = nodes, total  # type: ignore[attr-defined]
        return Response(shapes.ExecutionDetailSerializer(run).data)


class CancelView(APIView):
    """Stopping a run."""

    @extend_schema(
        operation_id="library_executions_cancel",
        request=None,
        responses={200: shapes.ExecutionSerializer, 404: NOT_FOUND, 409: ENDED},
    )
    def post(self, request: Request, execution_id: UUID) -> Response:
        """Stop a run and those that it started; one that works ends within seconds."""
        queries.access_execution(caller_id(request), execution_id)
        cancel_execution(execution_id=execution_id)
        return Response(shapes.ExecutionSerializer(queries.access_execution(caller_id(request), execution_id)).data)


class AnyAccept(BaseContentNegotiation):
    """Takes every `Accept`: what is answered is a stream, or JSON when refused."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return JSON."""
        return JSONRenderer(), JSONRenderer.media_type


class ExecutionEventsView(APIView):
    """A run, live."""

    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="library_executions_events",
        parameters=[
            OpenApiParameter("after", str, description="The last event that you have.", pattern=EVENT_ID.pattern),
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER),
        ],
        responses={(200, "text/event-stream"): OpenApiTypes.STR, 404: NOT_FOUND},
    )
    def get(self, request: Request, execution_id: UUID) -> StreamingHttpResponse:
        """Follow a run: first a snapshot of it, then what changes, to its end; after any gap a snapshot anew."""
        queries.access_execution(caller_id(request), execution_id)
        text = request.headers.get("Last-Event-ID") or request.query_params.get("after")
        if text and not EVENT_ID.fullmatch(text):
            raise ValidationError({"after": ["This is no event id."]})
        return sse.response(frames(execution_id, EventId.parse(text) if text else None))


async def frames(execution_id: UUID, after: EventId | None) -> AsyncGenerator[bytes]:
    """Yield a run's frames through this process's hub, which is had on the loop that serves connections."""
    async with aclosing(follow_run(shared_hub(), execution_id, after)) as events:
        async for event in events:
            yield sse.frame(event.id, event.data)
