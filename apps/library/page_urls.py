"""The library's pages, below `/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.views import agents, credentials, library, reviews, run, runs, schedules, webhooks

app_name = "library"

urlpatterns = [
    path("", library.library, name="home"),
    path("import", library.import_file, name="import"),
    path("examples", library.examples, name="examples"),
    path("folders", library.create_folder, name="folder-create"),
    path("folders/<uuid:folder_id>/delete", library.delete_folder, name="folder-delete"),
    path("agents/<uuid:agent_id>/", agents.agent_page, name="agent"),
    path("agents/<uuid:agent_id>/run", run.run_agent, name="run"),
    path("agents/<uuid:agent_id>/settings", agents.change_settings, name="agent-settings"),
    path("agents/<uuid:agent_id>/mark", agents.mark, name="agent-mark"),
    path("agents/<uuid:agent_id>/export", agents.export, name="agent-export"),
    path("agents/<uuid:agent_id>/delete", agents.delete, name="agent-delete"),
    path(
        "agents/<uuid:agent_id>/versions/<int:version>/activate",
        agents.activate_version,
        name="version-activate",
    ),
    path("agents/<uuid:agent_id>/webhooks", webhooks.create, name="webhook-create"),
    path("webhooks/<uuid:webhook_id>/rotate", webhooks.rotate, name="webhook-rotate"),
    path("webhooks/<uuid:webhook_id>/switch", webhooks.switch, name="webhook-switch"),
    path("webhooks/<uuid:webhook_id>/delete", webhooks.delete, name="webhook-delete"),
    path("presets/<uuid:preset_id>/delete", agents.delete_preset, name="preset-delete"),
    path("executions/", runs.run_list, name="runs"),
    path("executions/<uuid:execution_id>/", runs.run_page, name="execution"),
    path("executions/<uuid:execution_id>/live", runs.live, name="execution-live"),
    path("executions/<uuid:execution_id>/stop", runs.stop, name="execution-stop"),
    path("schedules/", schedules.schedule_list, name="schedules"),
    path("schedules/<uuid:schedule_id>/switch", schedules.switch, name="schedule-switch"),
    path("schedules/<uuid:schedule_id>/delete", schedules.delete, name="schedule-delete"),
    path("reviews/", reviews.review_list, name="reviews"),
    path("reviews/<uuid:review_id>/decide", reviews.decide, name="review-decide"),
    path("credentials/", credentials.credential_list, name="credentials"),
    path("credentials/connect", credentials.connect, name="credential-connect"),
    path("credentials/<uuid:credential_id>/delete", credentials.delete, name="credential-delete"),
]
