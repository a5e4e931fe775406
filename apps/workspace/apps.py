"""People's files."""

from __future__ import annotations

from django.apps import AppConfig


class WorkspaceConfig(AppConfig):
    """One workspace of files a person."""

    name = "apps.workspace"
