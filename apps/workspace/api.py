"""The workspace API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.runtime.errors import NotFound
from apps.runtime.rest import caller_id
from apps.workspace import queries, quota, services
from apps.workspace import serializers as shapes
from apps.workspace.downloads import file_response
from apps.workspace.places import base_name
from apps.workspace.uploads import FORM_BYTES, expect_upload, uploaded

TAKEN = OpenApiResponse(shapes.FileRefusalSerializer, description="There is a file at this path already.")
TOO_LARGE = OpenApiResponse(
    shapes.FileRefusalSerializer, description="The file is larger than files may be, or there is no room for it."
)
NO_SESSION = OpenApiResponse(shapes.FileRefusalSerializer, description="No such session of yours.")


class FileListView(APIView):
    """Your files."""

    serializer_class = shapes.UploadSerializer
    parser_classes = (MultiPartParser,)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Have the form spooled; checking a browser's CSRF token reads it before `post` is reached."""
        expect_upload(request)
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(
        operation_id="workspace_files_list",
        parameters=[shapes.FileQuerySerializer],
        responses=shapes.FilePageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your files, newest first."""
        page = shapes.FileQuerySerializer.read(request)
        files, total = queries.list_files(user_id=caller_id(request), **page)
        return Response(shapes.FilePageSerializer({"files": files, "total": total}).data)

    @extend_schema(
        operation_id="workspace_files_upload",
        parameters=[shapes.UploadQuerySerializer],
        request={"multipart/form-data": shapes.UploadSerializer},
        responses={201: shapes.FileSerializer, 404: NO_SESSION, 409: TAKEN, 413: TOO_LARGE},
    )
    def post(self, request: Request) -> Response:
        """Upload a file. It is streamed to disk, scanned where a virus scanner is set, and stored."""
        query = shapes.UploadQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        user_id = caller_id(request)
        session_id = asked.get("session_id")
        if session_id is not None and not services.has_session(user_id, session_id):
            raise NotFound
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        quota.check_room(user_id, max(0, length - FORM_BYTES))
        with uploaded(request.FILES) as file:
            wish = services.Wish(
                user_id=user_id,
                path=asked.get("path") or base_name(file.name or ""),
                session_id=session_id,
                mime_type=file.content_type or "",
                rename=asked["rename"],
            )
            stored = services.store_file(wish, file.spool)
        return Response(shapes.FileSerializer(stored).data, status=status.HTTP_201_CREATED)


class FileView(APIView):
    """One file."""

    serializer_class = shapes.FileSerializer

    @extend_schema(operation_id="workspace_files_retrieve", responses=shapes.FileSerializer)
    def get(self, request: Request, file_id: UUID) -> Response:
        """Return what is known of a file."""
        return Response(shapes.FileSerializer(queries.file_of(caller_id(request), file_id)).data)

    @extend_schema(operation_id="workspace_files_destroy", responses={204: None})
    def delete(self, request: Request, file_id: UUID) -> Response:
        """Delete a file for good."""
        services.delete_file(user_id=caller_id(request), file_id=file_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class FileDownloadView(APIView):
    """What a file holds."""

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """Take every `Accept`: the answer is the file, whatever its type, or JSON when refused."""
        renderer = JSONRenderer()
        return renderer, renderer.media_type

    @extend_schema(
        operation_id="workspace_files_download",
        parameters=[
            OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range of bytes."),
        ],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            (206, "application/octet-stream"): OpenApiTypes.BINARY,
            302: OpenApiResponse(description="The storage serves it itself, from a signed address."),
            304: OpenApiResponse(description="The `If-None-Match` that was sent still holds."),
            416: OpenApiResponse(description="The file hasn't that range."),
        },
    )
    def get(self, request: Request, file_id: UUID) -> HttpResponseBase:
        """Download a file. Images, MP4, PDF and plain text may be shown in place; everything else is an attachment."""
        return file_response(request._request, queries.file_of(caller_id(request), file_id))  # noqa: SLF001 -- Django's


class UsageView(APIView):
    """What your files take up."""

    @extend_schema(operation_id="workspace_usage", responses=shapes.WorkspaceUsageSerializer)
    def get(self, request: Request) -> Response:
        """Return how full your workspace is."""
        return Response(shapes.WorkspaceUsageSerializer(queries.usage_of(caller_id(request))).data)
