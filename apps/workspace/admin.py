"""What operators see of files: names and sizes, never what they hold."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.runtime.errors import NotFound
from apps.workspace import services
from apps.workspace.models import File, Workspace


@admin.register(File)
class FileAdmin(admin.ModelAdmin):
    """Files; deleting one here is what its owner's delete is."""

    list_display = ("name", "user", "mime_type", "size_bytes", "origin", "created_at", "deleted_at")
    list_filter = ("origin", ("deleted_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("user",)
    search_fields = ("name", "user__email", "=id", "=sha256")
    fields = ("id", "user", "name", "path", "mime_type", "size_bytes", "sha256", "session", "origin")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: files come through the API."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a file never changes."""
        return False

    def delete_model(self, request: HttpRequest, obj: File) -> None:
        """Delete a file as its owner would."""
        _delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Delete files as their owners would."""
        for file in queryset:
            _delete(file)


def _delete(file: File) -> None:
    try:
        services.delete_file(user_id=file.user_id, file_id=file.pk)
    except NotFound:
        return  # it is deleted already; its row stays


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    """What everybody's files take up."""

    list_display = ("user", "used_bytes")
    list_select_related = ("user",)
    search_fields = ("user__email",)
    fields = ("user", "used_bytes")
    ordering = ("-used_bytes",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: files alone move it."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False
