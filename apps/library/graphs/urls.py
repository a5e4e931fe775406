"""Addresses of graphs, agents, presets and folders, below `/api/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.graphs.api import agents, keeping, versions

urlpatterns = [
    path("agents", agents.AgentListView.as_view(), name="library-agents"),
    path("agents/import", agents.AgentImportView.as_view(), name="library-import"),
    path("agents/<uuid:agent_id>", agents.AgentView.as_view(), name="library-agent"),
    path("agents/<uuid:agent_id>/export", agents.AgentExportView.as_view(), name="library-export"),
    path("agents/<uuid:agent_id>/graph", versions.AgentGraphView.as_view(), name="library-graph"),
    path("agents/<uuid:agent_id>/versions", versions.VersionListView.as_view(), name="library-versions"),
    path(
        "agents/<uuid:agent_id>/versions/<int:version>/activate",
        versions.VersionActivateView.as_view(),
        name="library-version-activate",
    ),
    path(
        "agents/<uuid:agent_id>/versions/<int:version>/clone",
        versions.VersionCloneView.as_view(),
        name="library-version-clone",
    ),
    path("graphs/validate", versions.ValidateView.as_view(), name="library-validate"),
    path("folders", keeping.FolderListView.as_view(), name="library-folders"),
    path("folders/<uuid:folder_id>", keeping.FolderView.as_view(), name="library-folder"),
    path("presets", keeping.PresetListView.as_view(), name="library-presets"),
    path("presets/<uuid:preset_id>", keeping.PresetView.as_view(), name="library-preset"),
    path("blocks", keeping.BlockListView.as_view(), name="library-blocks"),
]
