"""The accounts API: oneself, and keys for programs."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.accounts import queries, services
from apps.accounts.models import User
from apps.accounts.serializers import (
    ApiTokenPageSerializer,
    ApiTokenSerializer,
    ChangeMeSerializer,
    CreatedApiTokenSerializer,
    MeSerializer,
)
from apps.runtime.rest import PageQuerySerializer


def signed_in(request: Request) -> User:
    """Return the person who sent a request that passed the permissions."""
    assert isinstance(request.user, User)
    return request.user


class MeView(APIView):
    """Yourself."""

    @extend_schema(operation_id="accounts_me", responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Show what is stored of you."""
        return Response(MeSerializer(signed_in(request)).data)

    @extend_schema(operation_id="accounts_me_change", request=ChangeMeSerializer, responses=MeSerializer)
    def patch(self, request: Request) -> Response:
        """Change your name, your time zone, or what the copilot is told of you when a conversation begins."""
        data = ChangeMeSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(MeSerializer(services.change_profile(user=signed_in(request), **data.validated_data)).data)


class ApiTokenListView(APIView):
    """Your API tokens."""

    serializer_class = ApiTokenSerializer

    @extend_schema(
        operation_id="accounts_tokens_list", parameters=[PageQuerySerializer], responses=ApiTokenPageSerializer
    )
    def get(self, request: Request) -> Response:
        """List your tokens, newest first."""
        page = PageQuerySerializer.read(request)
        tokens, total = queries.list_api_tokens(user=signed_in(request), limit=page["limit"], offset=page["offset"])
        return Response(ApiTokenPageSerializer({"tokens": tokens, "total": total}).data)

    @extend_schema(request=ApiTokenSerializer, responses={201: CreatedApiTokenSerializer})
    def post(self, request: Request) -> Response:
        """Make a token. Its key is in this answer and nowhere else."""
        data = ApiTokenSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        token, key = services.create_api_token(user=signed_in(request), name=data.validated_data["name"])
        body = {**ApiTokenSerializer(token).data, "key": key}
        return Response(body, status=status.HTTP_201_CREATED)


class ApiTokenView(APIView):
    """One API token."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke a token for good."""
        services.revoke_api_token(user=signed_in(request), token_id=token_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
