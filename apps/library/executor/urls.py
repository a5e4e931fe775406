"""Addresses of runs, below `/api/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.executor import api

urlpatterns = [
    path("agents/<uuid:agent_id>/run", api.RunAgentView.as_view(), name="library-run"),
    path("agents/<uuid:agent_id>/estimate", api.EstimateView.as_view(), name="library-estimate"),
    path("executions", api.ExecutionListView.as_view(), name="library-executions"),
    path("executions/<uuid:execution_id>", api.ExecutionView.as_view(), name="library-execution"),
    path("executions/<uuid:execution_id>/cancel", api.CancelView.as_view(), name="library-cancel"),
    path("executions/<uuid:execution_id>/events", api.ExecutionEventsView.as_view(), name="library-events"),
]
