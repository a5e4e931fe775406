"""The schedules API."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.schedules import queries, services
from apps.library.schedules import serializers as shapes
from apps.runtime.rest import caller_id

NO_AGENT = "You have no such agent."


class ScheduleListView(APIView):
    """Your schedules."""

    serializer_class = shapes.CreateScheduleSerializer

    @extend_schema(
        operation_id="library_schedules_list",
        parameters=[shapes.ScheduleQuerySerializer],
        responses=shapes.SchedulePageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your schedules, what is due next first."""
        page = shapes.ScheduleQuerySerializer.read(request)
        schedules, total = queries.list_schedules(user_id=caller_id(request), **page)
        return Response(shapes.SchedulePageSerializer({"schedules": schedules, "total": total}).data)

    @extend_schema(
        operation_id="library_schedules_create",
        request=shapes.CreateScheduleSerializer,
        responses={201: shapes.ScheduleSerializer, 404: OpenApiResponse(OpenApiTypes.OBJECT, description=NO_AGENT)},
    )
    def post(self, request: Request) -> Response:
        """Run an agent at the times of a cron expression, or once."""
        data = shapes.CreateScheduleSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        schedule = services.create_schedule(user_id=caller_id(request), **data.validated_data)
        return Response(shapes.ScheduleSerializer(schedule).data, status=status.HTTP_201_CREATED)


class ScheduleView(APIView):
    """One schedule."""

    serializer_class = shapes.UpdateScheduleSerializer

    @extend_schema(operation_id="library_schedules_retrieve", responses=shapes.ScheduleSerializer)
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """Return a schedule."""
        schedule = queries.find_schedule(user_id=caller_id(request), schedule_id=schedule_id)
        return Response(shapes.ScheduleSerializer(schedule).data)

    @extend_schema(
        operation_id="library_schedules_update",
        request=shapes.UpdateScheduleSerializer,
        responses=shapes.ScheduleSerializer,
    )
    def patch(self, request: Request, schedule_id: UUID) -> Response:
        """Change a schedule, or switch it on or off. Giving `cron` takes `run_at` away, and the other way round."""
        queries.find_schedule(user_id=caller_id(request), schedule_id=schedule_id)  # unknown whatever the body says
        data = shapes.UpdateScheduleSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        changed = services.update_schedule(user_id=caller_id(request), schedule_id=schedule_id, **data.validated_data)
        return Response(shapes.ScheduleSerializer(changed).data)

    @extend_schema(operation_id="library_schedules_delete", responses={204: None})
    def delete(self, request: Request, schedule_id: UUID) -> Response:
        """Delete a schedule; its runs stay."""
        services.delete_schedule(user_id=caller_id(request), schedule_id=schedule_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
