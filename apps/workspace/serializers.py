"""Shapes of the workspace API."""

from __future__ import annotations

from rest_framework import serializers

from apps.runtime.rest import PageQuerySerializer, RefusalSerializer, StrictSerializer
from apps.workspace.models import File
from apps.workspace.places import PATH_CHARACTERS


class FileSerializer(serializers.ModelSerializer):
    """A file of yours."""

    session_id = serializers.UUIDField(allow_null=True, help_text="The session that it came from.")
    uri = serializers.CharField(help_text="How texts name it: `workspace://<id>#<type>`.")

    class Meta:
        model = File
        fields = (
            "id",
            "name",
            "path",
            "mime_type",
            "size_bytes",
            "sha256",
            "session_id",
            "origin",
            "uri",
            "created_at",
        )


class FilePageSerializer(serializers.Serializer):
    """A page of your files."""

    files = FileSerializer(many=True)  # type: ignore[assignment]
    total = serializers.IntegerField()


class FileQuerySerializer(PageQuerySerializer):
    """Which page of files is asked for."""

    session_id = serializers.UUIDField(required=False, help_text="Only files of this session.")


class UploadQuerySerializer(StrictSerializer):
    """Where an uploaded file goes."""

    session_id = serializers.UUIDField(required=False, help_text="The session that it is for; it goes into its folder.")
    path = serializers.CharField(
        max_length=PATH_CHARACTERS, required=False, trim_whitespace=False, help_text="Its path; by default, its name."
    )
    rename = serializers.BooleanField(default=False, help_text="Give it a number where its path is taken.")


class UploadSerializer(serializers.Serializer):
    """The form of an upload."""

    file = serializers.FileField(help_text="The file; exactly one.")


class WorkspaceUsageSerializer(serializers.Serializer):
    """What your files take up."""

    used_bytes = serializers.IntegerField()
    limit_bytes = serializers.IntegerField(allow_null=True, help_text="Null where it is unlimited.")
    file_limit_bytes = serializers.IntegerField(help_text="The largest file that is taken.")
    percent_used = serializers.FloatField()
    tier = serializers.CharField()


class FileRefusalSerializer(RefusalSerializer):
    """Why a file was not taken, with the numbers."""

    size_bytes = serializers.IntegerField(required=False)
    used_bytes = serializers.IntegerField(required=False)
    limit_bytes = serializers.IntegerField(required=False)
    path = serializers.CharField(required=False)
