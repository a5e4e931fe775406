"""The credentials API."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.credentials import oauth, queries, services
from apps.library.credentials import serializers as shapes
from apps.library.credentials.providers import PROVIDERS, client_of
from apps.runtime.rest import PageQuerySerializer, caller_id


class CredentialListView(APIView):
    """Your keys to other services."""

    @extend_schema(
        operation_id="credentials_list",
        parameters=[shapes.CredentialQuerySerializer],
        responses=shapes.CredentialPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your credentials, newest first. What they hold is shown to nobody, you included."""
        asked = shapes.CredentialQuerySerializer.read(request)
        rows, total = queries.list_credentials(user_id=caller_id(request), **asked)
        return Response(shapes.CredentialPageSerializer({"credentials": rows, "total": total}).data)

    @extend_schema(
        operation_id="credentials_create",
        request=shapes.NewCredentialSerializer,
        responses={201: shapes.CredentialSerializer},
    )
    def post(self, request: Request) -> Response:
        """Store a key. It is encrypted, and used by your agents only."""
        data = shapes.NewCredentialSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        asked = data.validated_data
        made = services.create_credential(
            user_id=caller_id(request),
            provider=asked["provider"],
            type=asked["type"],
            title=asked["title"],
            host=asked.get("host", ""),
            values={name: asked[name] for name in services.VALUES[asked["type"]]},
        )
        made.refresh_from_db(fields=["created_at"])
        return Response(shapes.CredentialSerializer(made).data, status=status.HTTP_201_CREATED)


class CredentialView(APIView):
    """One of your credentials."""

    @extend_schema(operation_id="credentials_rename", request=shapes.CredentialTitleSerializer, responses={204: None})
    def patch(self, request: Request, credential_id: UUID) -> Response:
        """Give it another title."""
        data = shapes.CredentialTitleSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        services.rename_credential(user_id=caller_id(request), credential_id=credential_id, **data.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(operation_id="credentials_delete", parameters=[shapes.DeleteQuerySerializer], responses={204: None})
    def delete(self, request: Request, credential_id: UUID) -> Response:
        """Delete it for good. While agents use it this is 409 and names them, unless `force` is set."""
        query = shapes.DeleteQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        services.delete_credential(
            user_id=caller_id(request), credential_id=credential_id, force=query.validated_data["force"]
        )
        return Response(status=status.HTTP_204_NO_CONTENT)


class ProviderListView(APIView):
    """Services that can be connected."""

    @extend_schema(
        operation_id="credentials_providers_list",
        parameters=[PageQuerySerializer],
        responses=shapes.ProvidersSerializer,
    )
    def get(self, request: Request) -> Response:
        """List the services that can be connected by OAuth 2."""
        page = PageQuerySerializer.read(request)
        rows = [
            {
                "provider": name,
                "title": found.title,
                "scopes": found.scopes,
                "is_configured": client_of(name) is not None,
            }
            for name, found in sorted(PROVIDERS.items())
        ]
        shown = rows[page["offset"] : page["offset"] + page["limit"]]
        return Response(shapes.ProvidersSerializer({"providers": shown, "total": len(rows)}).data)


class ConnectView(APIView):
    """Connecting an account."""

    @extend_schema(
        operation_id="credentials_connect",
        request=shapes.ConnectSerializer,
        responses={201: shapes.ConnectAnswerSerializer},
    )
    def post(self, request: Request) -> Response:
        """Begin to connect an account; it is finished on a page of ours, to which the service sends you back."""
        data = shapes.ConnectSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        asked = data.validated_data
        path = reverse("credential-connected")
        place = settings.PUBLIC_URL.rstrip("/") + path if settings.PUBLIC_URL else request.build_absolute_uri(path)
        address = oauth.begin(
            user_id=caller_id(request), redirect_uri=place, **{**asked, "scopes": tuple(asked["scopes"])}
        )
        return Response({"authorize_url": address}, status=status.HTTP_201_CREATED)
