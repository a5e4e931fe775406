"""The page of an agent, and what can be changed there."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify

from apps.accounts.models import User
from apps.library.graphs import agents, services
from apps.library.graphs import queries as graph_queries
from apps.library.graphs.exporter import export_graph
from apps.library.graphs.schemas import TRIGGERS, input_schema, nodes_of, output_schema
from apps.library.graphs.shape import from_rows
from apps.library.models import LibraryAgent, Webhook
from apps.library.pages import queries
from apps.library.pages.picture import draw
from apps.library.schedules import queries as schedule_queries
from apps.library.views.frame import as_id, back, page

ROWS_SHOWN = 10
PRESETS_SHOWN = 50
FOLDERS_SHOWN = 100
#: More than a hundred thousand dollars is a slip of the hand.
MOST_CENTS = 10_000_000


@page("GET")
def agent_page(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Show an agent."""
    agent = graph_queries.access_agent(user.pk, agent_id)
    data = from_rows(agent.graph)
    versions, version_count = graph_queries.list_versions(agent=agent, limit=ROWS_SHOWN, offset=0)
    wanted = queries.RunFilter(agent_id=agent.pk)
    runs, run_count, has_more_runs = queries.list_runs(user_id=user.pk, limit=ROWS_SHOWN, offset=0, wanted=wanted)
    presets, _ = graph_queries.list_presets(user_id=user.pk, limit=PRESETS_SHOWN, offset=0, agent_id=agent.pk)
    schedules, _ = schedule_queries.list_schedules(user_id=user.pk, limit=ROWS_SHOWN, offset=0, agent_id=agent.pk)
    folders, _ = graph_queries.list_folders(user_id=user.pk, limit=FOLDERS_SHOWN, offset=0)
    context = {
        "agent": agent,
        "graph": agent.graph,
        "picture": draw(data),
        "problems": services.problems_of(user_id=user.pk, graph=agent.graph, for_run=True),
        "takes": input_schema(data)["properties"],
        "gives": output_schema(data)["properties"],
        "versions": versions,
        "version_count": version_count,
        "runs": runs,
        "run_count": run_count,
        "has_more_runs": has_more_runs,
        "presets": presets,
        "schedules": schedules,
        "webhooks": queries.webhooks_of(agent.pk),
        "has_trigger": any(nodes_of(data, *TRIGGERS)),
        "webhook_providers": Webhook.Provider.choices,
        "folders": folders,
        "asks": agent.settings.get("human_in_the_loop_safe_mode", True),
        "asks_sensitive": agent.settings.get("sensitive_action_safe_mode", False),
    }
    return render(request, "library/agent.html", context)


@page("POST")
def change_settings(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Change safe modes, caps and the folder of an agent."""
    try:
        caps = {name: _cents(request.POST.get(name, "")) for name in ("run_cap", "daily_cap")}
    except ValueError:
        messages.error(request, "A cap is an amount of dollars like 2.50. Nothing was changed.")
        return redirect("library:agent", agent_id)
    agents.change_agent(
        user_id=user.pk,
        agent_id=agent_id,
        settings={
            "human_in_the_loop_safe_mode": "safe_mode" in request.POST,
            "sensitive_action_safe_mode": "sensitive_safe_mode" in request.POST,
        },
        folder_id=as_id(request.POST.get("folder", "")),
        run_cap_cents=caps["run_cap"],
        daily_cap_cents=caps["daily_cap"],
    )
    messages.success(request, "The settings are saved. They count for runs that start from now on.")
    return redirect("library:agent", agent_id)


def _cents(text: str) -> int | None:
    """Return an amount of dollars in cents; None for nothing.

    Raises:
        ValueError: When it is no amount.
    """
    if not text.strip():
        return None
    try:
        cents = Decimal(text.strip().removeprefix("$")) * 100
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not cents.is_finite() or not 0 <= cents <= MOST_CENTS or cents != int(cents):
        raise ValueError(text)
    return int(cents)


@page("POST")
def mark(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Make an agent a favorite or none, archive it or bring it back."""
    changes: dict[str, Any] = {
        name: request.POST[name] == "1" for name in ("is_favorite", "is_archived") if name in request.POST
    }
    agent = agents.change_agent(user_id=user.pk, agent_id=agent_id, **changes)
    messages.success(request, _told(agent, changes))
    return back(request, "library:agent", agent_id)


def _told(agent: LibraryAgent, changes: dict[str, Any]) -> str:
    name = f"“{agent.graph.name}”"
    if "is_archived" in changes:
        return f"{name} is archived." if agent.is_archived else f"{name} is back in your library."
    return f"{name} is a favorite." if agent.is_favorite else f"{name} is no favorite any more."


@page("POST")
def activate_version(request: HttpRequest, user: User, agent_id: UUID, version: int) -> HttpResponse:
    """Let a version be the one that runs."""
    services.activate_version(user_id=user.pk, agent_id=agent_id, version=version)
    messages.success(request, f"Version {version} is the one that runs now.")
    return redirect("library:agent", agent_id)


@page("GET")
def export(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Give an agent out as a file, without credentials and secrets."""
    agent = graph_queries.access_agent(user.pk, agent_id)
    text = json.dumps(export_graph(agent.graph), ensure_ascii=False, indent=2)
    answer = HttpResponse(text, content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="{slugify(agent.graph.name) or "agent"}.json"'
    return answer


@page("POST")
def delete(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Take an agent out of the library."""
    services.delete_agent(user_id=user.pk, agent_id=agent_id)
    messages.success(request, "The agent is deleted. Its ended runs are still in the list of runs.")
    return redirect("library:home")


@page("POST")
def delete_preset(request: HttpRequest, user: User, preset_id: UUID) -> HttpResponse:
    """Forget a preset."""
    preset = graph_queries.access_preset(user.pk, preset_id)
    agents.delete_preset(user_id=user.pk, preset_id=preset_id)
    messages.success(request, f"The preset “{preset.name}” is deleted.")
    return redirect("library:agent", preset.agent_id)
