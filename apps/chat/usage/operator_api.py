"""What operators see of a person's spend, and what they change."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts import queries as accounts
from apps.accounts import services as account_services
from apps.chat.serializers import ErrorSerializer
from apps.chat.usage import limits, resets, windows
from apps.chat.usage.serializers import ClearSerializer, PersonLimitsSerializer, PersonQuerySerializer, TierSerializer
from apps.chat.usage.windows import DAILY, WEEKLY
from apps.runtime.rest import caller_id

UNKNOWN = OpenApiResponse(ErrorSerializer, description="There is no such person.")
logger = structlog.get_logger(__name__)


class OperatorView(APIView):
    """For staff; everybody else gets 403."""

    permission_classes = (IsAdminUser,)


def asked_person(request: Request) -> Any:
    """Return the person whom the query names.

    Raises:
        ValidationError: When it names nobody, or two ways.
        NotFound: When there is no such person.
    """
    query = PersonQuerySerializer(data=request.query_params)
    query.is_valid(raise_exception=True)
    return accounts.find_user(**query.validated_data)


def spend_of(person: Any) -> Response:
    """Return a person's limits and spend."""
    plan = limits.limits_of(person.pk)
    used = windows.used(person.pk, timezone.now())
    body = {
        "user_id": person.pk,
        "user_email": person.email,
        "daily_cost_limit_microdollars": plan.microdollars[DAILY],
        "weekly_cost_limit_microdollars": plan.microdollars[WEEKLY],
        "daily_cost_used_microdollars": used[DAILY],
        "weekly_cost_used_microdollars": used[WEEKLY],
        "tier": plan.tier,
    }
    return Response(PersonLimitsSerializer(body).data)


def tier_body(user_id: UUID) -> Response:
    """Return a person's tier."""
    return Response({"user_id": str(user_id), "tier": accounts.tier_of(user_id)})


class RateLimitView(OperatorView):
    """A person's limits and spend."""

    @extend_schema(
        operation_id="admin_users_rate_limit",
        parameters=[PersonQuerySerializer],
        responses={200: PersonLimitsSerializer, 404: UNKNOWN},
    )
    def get(self, request: Request) -> Response:
        """Return a person's limits and spend, by id or e-mail address."""
        return spend_of(asked_person(request))


class RateLimitResetView(OperatorView):
    """Clearing a person's usage."""

    @extend_schema(
        operation_id="admin_users_rate_limit_reset",
        request=ClearSerializer,
        responses={200: PersonLimitsSerializer, 404: UNKNOWN},
    )
    def post(self, request: Request) -> Response:
        """Clear a person's daily window, and the weekly one where `reset_weekly` says so."""
        data = ClearSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        person = accounts.find_user(user_id=data.validated_data["user_id"])
        resets.clear(
            user_id=person.pk, reset_weekly=data.validated_data["reset_weekly"], operator_id=caller_id(request)
        )
        return spend_of(person)


class RateLimitTierView(OperatorView):
    """A person's tier."""

    serializer_class = TierSerializer

    @extend_schema(
        operation_id="admin_users_tier",
        parameters=[PersonQuerySerializer],
        responses={200: TierSerializer, 404: UNKNOWN},
    )
    def get(self, request: Request) -> Response:
        """Return a person's tier, by id or e-mail address."""
        return tier_body(asked_person(request).pk)

    @extend_schema(
        operation_id="admin_users_set_tier", request=TierSerializer, responses={200: TierSerializer, 404: UNKNOWN}
    )
    def post(self, request: Request) -> Response:
        """Give a person another tier; it counts at once."""
        data = TierSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        account_services.set_tier(**data.validated_data)
        user_id, tier = data.validated_data["user_id"], data.validated_data["tier"]
        logger.info("tier_set", user_id=str(user_id), tier=tier, operator_id=str(caller_id(request)))
        return tier_body(user_id)
