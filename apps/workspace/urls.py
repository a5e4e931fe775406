"""The workspace's API."""

from __future__ import annotations

from django.urls import path

from apps.workspace import api

urlpatterns = [
    path("files", api.FileListView.as_view(), name="workspace-files"),
    path("files/<uuid:file_id>", api.FileView.as_view(), name="workspace-file"),
    path("files/<uuid:file_id>/download", api.FileDownloadView.as_view(), name="workspace-download"),
    path("usage", api.UsageView.as_view(), name="workspace-usage"),
]
