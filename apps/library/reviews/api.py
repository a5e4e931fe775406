"""The reviews API."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.reviews import queries, services
from apps.library.reviews import serializers as shapes
from apps.runtime.rest import PageQuerySerializer, caller_id


class ReviewListView(APIView):
    """What waits for you."""

    @extend_schema(
        operation_id="library_reviews_list", parameters=[PageQuerySerializer], responses=shapes.ReviewPageSerializer
    )
    def get(self, request: Request) -> Response:
        """List the questions that wait for your decision, newest first."""
        page = PageQuerySerializer.read(request)
        reviews, total = queries.waiting_reviews(user_id=caller_id(request), **page)
        return Response(shapes.ReviewPageSerializer({"reviews": reviews, "total": total}).data)


class ExecutionReviewListView(APIView):
    """What a run asked."""

    @extend_schema(
        operation_id="library_executions_reviews_list",
        parameters=[PageQuerySerializer],
        responses=shapes.ReviewPageSerializer,
    )
    def get(self, request: Request, execution_id: UUID) -> Response:
        """List everything that a run asked, oldest first."""
        page = PageQuerySerializer.read(request)
        reviews, total = queries.reviews_of_run(user_id=caller_id(request), execution_id=execution_id, **page)
        return Response(shapes.ReviewPageSerializer({"reviews": reviews, "total": total}).data)


class ReviewActionsView(APIView):
    """Your decisions."""

    serializer_class = shapes.DecisionsSerializer

    @extend_schema(
        operation_id="library_reviews_decide",
        request=shapes.DecisionsSerializer,
        responses={
            200: shapes.OutcomeSerializer,
            404: OpenApiResponse(OpenApiTypes.OBJECT, description="One of them is unknown or somebody else's."),
            409: OpenApiResponse(OpenApiTypes.OBJECT, description="Several runs, or one that doesn't wait for you."),
        },
    )
    def post(self, request: Request) -> Response:
        """Approve or reject what a run asks; once nothing waits any more it goes on by itself."""
        data = shapes.DecisionsSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        decisions = [services.Decision(**decision) for decision in data.validated_data["reviews"]]
        outcome = services.decide(user_id=caller_id(request), decisions=decisions)
        return Response(shapes.OutcomeSerializer(outcome).data)
