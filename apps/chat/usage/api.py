"""Your usage, and buying a reset of it."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.chat.serializers import ErrorSerializer
from apps.chat.usage import limits, resets
from apps.chat.usage.serializers import ResetSerializer, UsageSerializer
from apps.runtime.rest import caller_id


class UsageView(APIView):
    """How much you used of your limits."""

    @extend_schema(operation_id="chat_usage", responses=UsageSerializer)
    def get(self, request: Request) -> Response:
        """Return how much of each window is used, in percent."""
        return Response(UsageSerializer(limits.usage_of(caller_id(request))).data)


class UsageResetView(APIView):
    """The paid daily reset."""

    @extend_schema(
        operation_id="chat_usage_reset",
        request=None,
        responses={
            200: ResetSerializer,
            400: OpenApiResponse(ErrorSerializer, description="It isn't for sale, or wouldn't help; says why."),
            402: OpenApiResponse(ErrorSerializer, description="Not enough credits."),
        },
    )
    def post(self, request: Request) -> Response:
        """Clear the daily window for credits; two requests at once pay once."""
        reset = resets.buy_reset(user_id=caller_id(request))
        body = {
            "success": True,
            "credits_charged": reset.credits_charged,
            "remaining_balance": reset.remaining_balance,
            "usage": reset.usage,
        }
        return Response(ResetSerializer(body).data)
