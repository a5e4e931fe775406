"""Runs: the list, and the page of one that is followed live."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from apps.accounts.models import User
from apps.library.errors import NotRunning
from apps.library.executor.cancel import cancel_execution
from apps.library.executor.outputs import values_by_name
from apps.library.graphs.shape import from_rows
from apps.library.models import Execution
from apps.library.models.executions import Status
from apps.library.pages import queries
from apps.library.pages.picture import Box, Picture, draw
from apps.library.pages.reviews import Question
from apps.library.views.frame import asked_id, page, page_number, paging

RUNS_A_PAGE = 30
OUTPUTS_SHOWN = 200
#: What the list may be narrowed to, by what the address says.
FILTERS = {
    "running": ("Running or queued", (Status.QUEUED, Status.RUNNING)),
    "review": ("Needs review", (Status.REVIEW,)),
    "completed": ("Completed", (Status.COMPLETED,)),
    "failed": ("Failed", (Status.FAILED,)),
    "stopped": ("Stopped", (Status.TERMINATED,)),
}


@page("GET")
def run_list(request: HttpRequest, user: User) -> HttpResponse:
    """Show a page of runs."""
    status = request.GET.get("status", "")
    trigger = request.GET.get("trigger", "")
    wanted = queries.RunFilter(
        agent_id=asked_id(request, "agent"),
        statuses=FILTERS[status][1] if status in FILTERS else (),
        trigger=trigger if trigger in Execution.Trigger.values else "",
        schedule_id=asked_id(request, "schedule"),
    )
    number = page_number(request)
    runs, total, has_more = queries.list_runs(
        user_id=user.pk, limit=RUNS_A_PAGE, offset=(number - 1) * RUNS_A_PAGE, wanted=wanted
    )
    context = {
        "runs": runs,
        "paging": paging(request, number=number, size=RUNS_A_PAGE, total=total, has_more=has_more),
        "wanted": wanted,
        "status": status,
        "filters": [(name, words) for name, (words, _) in FILTERS.items()],
        "triggers": Execution.Trigger.choices,
        "agents": queries.agent_names(user.pk),
        "is_narrowed": wanted != queries.RunFilter(),
    }
    return render(request, "library/runs.html", context)


@page("GET")
def run_page(request: HttpRequest, user: User, execution_id: UUID) -> HttpResponse:
    """Show a run; the page follows it while it lasts."""
    run = queries.access_run(user.pk, execution_id)
    return render(request, "library/execution.html", _facts(request, run))


@page("GET")
def live(request: HttpRequest, user: User, execution_id: UUID) -> HttpResponse:
    """Return the parts of a run's page that change while it lasts."""
    run = queries.access_run(user.pk, execution_id)
    return render(request, "library/partials/live.html", _facts(request, run))


@page("POST")
def stop(request: HttpRequest, user: User, execution_id: UUID) -> HttpResponse:
    """Stop a run and everything that it started."""
    run = queries.access_run(user.pk, execution_id)
    try:
        cancel_execution(execution_id=run.pk)
    except NotRunning:
        messages.info(request, "The run had ended already.")
    else:
        messages.success(request, "The run is being stopped.")
    return redirect("library:execution", run.pk)


def _facts(request: HttpRequest, run: Execution) -> dict[str, Any]:
    picture = draw(from_rows(run.graph))
    states = queries.node_states(run.pk)
    node_id = asked_id(request, "node")
    box = next((each for each in picture.boxes if each.node_id == str(node_id)), None)
    uses, use_count = queries.uses_of(run.pk, UUID(box.node_id)) if box else ([], 0)
    # One more than is shown tells whether there are more.
    outputs = values_by_name(run, OUTPUTS_SHOWN + 1)
    return {
        "run": run,
        "graph": run.graph,
        "picture": picture,
        "rows": _rows(picture, states),
        "outputs": _grouped(outputs[:OUTPUTS_SHOWN]),
        "has_more_outputs": len(outputs) > OUTPUTS_SHOWN,
        "reviews": [] if run.is_over else [Question(review) for review in queries.reviews_of(run.pk)],
        "children": queries.children_of(run.pk),
        "box": box,
        "uses": uses,
        "use_count": use_count,
        "is_stopping": run.cancel_requested_at is not None and not run.is_over,
    }


def _rows(picture: Picture, states: Any) -> list[tuple[Box, queries.NodeState | None]]:
    return [(box, states.get(UUID(box.node_id))) for box in picture.boxes]


def _grouped(outputs: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in outputs:
        found.setdefault(name, []).append(value)
    return found
