"""Folders, presets and the list of blocks over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.blocks import registry
from apps.library.blocks.base import Block
from apps.library.graphs import agents, folders, pins, queries
from apps.library.graphs import serializers as shapes
from apps.library.graphs.api.agents import NOT_FOUND
from apps.runtime.rest import RefusalSerializer, caller_id

TAKEN = OpenApiResponse(RefusalSerializer, description="There is a folder of that name there already.")


class FolderListView(APIView):
    """Your folders."""

    serializer_class = shapes.CreateFolderSerializer

    @extend_schema(
        operation_id="library_folders_list",
        parameters=[shapes.FolderQuerySerializer],
        responses=shapes.FolderPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your folders by name."""
        page = shapes.FolderQuerySerializer.read(request)
        found, total = queries.list_folders(user_id=caller_id(request), **page)
        return Response(shapes.FolderPageSerializer({"folders": found, "total": total}).data)

    @extend_schema(
        request=shapes.CreateFolderSerializer,
        responses={201: shapes.FolderSerializer, 404: NOT_FOUND, 409: TAKEN},
    )
    def post(self, request: Request) -> Response:
        """Make a folder."""
        data = shapes.CreateFolderSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        folder = folders.create_folder(user_id=caller_id(request), **data.validated_data)
        folder.refresh_from_db()
        return Response(shapes.FolderSerializer(folder).data, status=status.HTTP_201_CREATED)


class FolderView(APIView):
    """One folder."""

    serializer_class = shapes.ChangeFolderSerializer

    @extend_schema(
        request=shapes.ChangeFolderSerializer,
        responses={200: shapes.FolderSerializer, 404: NOT_FOUND, 409: TAKEN},
    )
    def patch(self, request: Request, folder_id: UUID) -> Response:
        """Rename or move a folder."""
        queries.access_folder(caller_id(request), folder_id)  # a foreign id is unknown whatever the body says
        data = shapes.ChangeFolderSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        folders.change_folder(user_id=caller_id(request), folder_id=folder_id, **data.validated_data)
        return Response(shapes.FolderSerializer(queries.access_folder(caller_id(request), folder_id)).data)

    @extend_schema(responses={204: None, 404: NOT_FOUND})
    def delete(self, request: Request, folder_id: UUID) -> Response:
        """Delete a folder with those in it; their agents stay in the library."""
        folders.delete_folder(user_id=caller_id(request), folder_id=folder_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PresetListView(APIView):
    """Your presets."""

    serializer_class = shapes.CreatePresetSerializer

    @extend_schema(
        operation_id="library_presets_list",
        parameters=[shapes.PresetQuerySerializer],
        responses=shapes.PresetPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your presets, latest change first."""
        page = shapes.PresetQuerySerializer.read(request)
        found, total = queries.list_presets(user_id=caller_id(request), **page)
        return Response(shapes.PresetPageSerializer({"presets": found, "total": total}).data)

    @extend_schema(request=shapes.CreatePresetSerializer, responses={201: shapes.PresetSerializer, 404: NOT_FOUND})
    def post(self, request: Request) -> Response:
        """Keep inputs of an agent under a name."""
        data = shapes.CreatePresetSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        preset = agents.create_preset(user_id=caller_id(request), **data.validated_data)
        preset.refresh_from_db()
        return Response(shapes.PresetSerializer(preset).data, status=status.HTTP_201_CREATED)


class PresetView(APIView):
    """One preset."""

    serializer_class = shapes.ChangePresetSerializer

    @extend_schema(responses={200: shapes.PresetSerializer, 404: NOT_FOUND})
    def get(self, request: Request, preset_id: UUID) -> Response:
        """Return a preset."""
        return Response(shapes.PresetSerializer(queries.access_preset(caller_id(request), preset_id)).data)

    @extend_schema(request=shapes.ChangePresetSerializer, responses={200: shapes.PresetSerializer, 404: NOT_FOUND})
    def patch(self, request: Request, preset_id: UUID) -> Response:
        """Change a preset."""
        queries.access_preset(caller_id(request), preset_id)  # a foreign id is unknown whatever the body says
        data = shapes.ChangePresetSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        preset = agents.change_preset(user_id=caller_id(request), preset_id=preset_id, **data.validated_data)
        return Response(shapes.PresetSerializer(preset).data)

    @extend_schema(responses={204: None, 404: NOT_FOUND})
    def delete(self, request: Request, preset_id: UUID) -> Response:
        """Forget a preset."""
        agents.delete_preset(user_id=caller_id(request), preset_id=preset_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class BlockListView(APIView):
    """What agents are made of."""

    @extend_schema(
        operation_id="library_blocks_list",
        parameters=[shapes.BlockQuerySerializer],
        responses=shapes.BlockPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List the blocks by name, with their pins and costs."""
        page = shapes.BlockQuerySerializer.read(request)
        found = _blocks(page.get("search", ""), page.get("category", ""))
        shown = [_described(block) for block in found[page["offset"] : page["offset"] + page["limit"]]]
        return Response(shapes.BlockPageSerializer({"blocks": shown, "total": len(found)}).data)


def _blocks(search: str, category: str) -> list[Block[Any]]:
    found = [
        block
        for block in registry.all_blocks().values()
        if not block.disabled
        and search.lower() in f"{block.name} {block.description}".lower()
        and (not category or category.upper() in block.categories)
    ]
    return sorted(found, key=lambda block: (block.name, block.id))


def _described(block: Block[Any]) -> dict[str, Any]:
    takes, gives = pins.schemas_of(type(block))
    return {
        "id": block.id,
        "name": block.name,
        "description": block.description,
        "categories": sorted(block.categories),
        "type": block.type,
        "static_output": block.static_output,
        "is_sensitive_action": block.is_sensitive_action,
        "input_schema": takes,
        "output_schema": gives,
        "costs": [
            {"type": cost.type, "amount_microdollars": cost.amount_microdollars, "when": dict(cost.when)}
            for cost in block.costs
        ],
    }
