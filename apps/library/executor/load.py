"""What a runner reads before it works."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Count

from apps.library.errors import GraphInvalid
from apps.library.executor.pins import is_tool_link
from apps.library.executor.plan import Plan, build_plan
from apps.library.executor.state import STORED_CALL, NodeRun, ToolCall
from apps.library.models import Execution, Link, Node, NodeExecution, NodeOutput
from apps.library.models.executions import Status

#: Nodes whose inputs still matter: they wait, or may run.
OPEN = (Status.INCOMPLETE, Status.QUEUED, Status.RUNNING, Status.REVIEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as its rows tell it when a runner takes it.

    Attributes:
        plan: Its graph; None when that can't run, for which `problems` gives the reasons.
        runs: Its node runs, oldest first; without the inputs of those that are over, but for static ones.
        cost_cents: What it was charged.
        cost_microdollars: What it used beyond that.
        lost_leases: How many runners of it died.
        was_stopped: Whether it is to stop.
        See `Execution` and `BlockContext` for the others.
    """

    id: UUID
    user_id: UUID
    agent_id: UUID | None
    graph_id: UUID
    graph_version: int
    root_id: UUID
    parent_id: UUID | None
    depth: int
    is_dry_run: bool
    safe_mode: bool
    sensitive_safe_mode: bool
    time_zone: str
    credential_inputs: Mapping[str, str]
    cap_cents: int | None
    cost_cents: int
    cost_microdollars: int
    node_count: int
    lost_leases: int
    was_stopped: bool
    plan: Plan | None
    problems: Sequence[dict[str, Any]] = ()
    runs: Sequence[NodeRun] = ()
    links: Sequence[Link] = field(default=(), repr=False)


def load(execution_id: UUID) -> RunFacts | None:
    """Return a run's facts, or None when it is gone."""
    row = Execution.objects.select_related("graph", "user").filter(pk=execution_id).first()
    if row is None:
        return None
    nodes = list(Node.objects.filter(graph=row.graph_id).order_by("position"))
    links = list(Link.objects.filter(graph=row.graph_id).order_by("position"))
    plan, problems = None, []
    try:
        plan = build_plan(nodes, links, inputs=row.inputs, masks=row.node_input_masks)
    except GraphInvalid as error:
        problems = error.fields["problems"]
    return RunFacts(
        id=row.pk,
        user_id=row.user_id,
        agent_id=row.agent_id,
        graph_id=row.graph.graph_id,
        graph_version=row.graph.version,
        root_id=row.root_id,
        parent_id=row.parent_id,
        depth=row.depth,
        is_dry_run=row.is_dry_run,
        safe_mode=row.safe_mode,
        sensitive_safe_mode=row.sensitive_safe_mode,
        time_zone=row.user.time_zone,
        credential_inputs=row.credential_inputs,
        cap_cents=row.cap_cents,
        cost_cents=row.cost_cents,
        cost_microdollars=row.cost_microdollars,
        node_count=row.node_count,
        lost_leases=row.lost_leases,
        was_stopped=row.cancel_requested_at is not None,
        plan=plan,
        problems=problems,
        runs=stored_runs(execution_id, plan) if plan is not None else (),
        links=links,
    )


def stored_runs(execution_id: UUID, plan: Plan) -> list[NodeRun]:
    """Return the node runs that rows hold, oldest first."""
    rows = NodeExecution.objects.filter(execution=execution_id)
    fed_statically = [node.id for node in plan.nodes.values() if node.static]
    light = list(rows.order_by("number").values_list("pk", "node_id", "number", "status"))
    if not light:
        return []
    inputs = dict(rows.filter(status__in=OPEN).values_list("pk", "input_data"))
    if fed_statically:
        inputs |= dict(rows.filter(node__in=fed_statically).values_list("pk", "input_data"))
    put_out = dict(rows.filter(status__in=OPEN).annotate(values_out=Count("outputs")).values_list("pk", "values_out"))
    calls = stored_calls(execution_id, plan, {pk for pk, _, _, status in light if status in OPEN})
    return [
        NodeRun(pk, plan.nodes[node_id], number, status, inputs.get(pk, {}), put_out.get(pk, 0), call=calls.get(pk))
        for pk, node_id, number, status in light
    ]


def stored_calls(execution_id: UUID, plan: Plan, open_ids: Container[UUID]) -> dict[UUID, ToolCall]:
    """Return what rows tell of node runs that were called as tools; what those put out whose callers are still open.

    Args:
        execution_id: The run.
        plan: Its graph.
        open_ids: The node runs that aren't over.
    """
    tools = {wire.sink_id for node in plan.nodes.values() for wire in node.wires if is_tool_link(wire.source_pin)}
    if not tools:
        return {}
    rows = NodeExecution.objects.filter(execution=execution_id, node__in=tools, stats__has_key=STORED_CALL)
    calls = {
        pk: ToolCall(UUID(stats[STORED_CALL]["caller_id"]), stats[STORED_CALL]["note"])
        for pk, stats in rows.values_list("pk", "stats")
    }
    wanted = [pk for pk, call in calls.items() if call.caller_id in open_ids]
    outputs = NodeOutput.objects.filter(node_execution__in=wanted).order_by("node_execution", "position")
    for pk, pin, data in outputs.values_list("node_execution_id", "pin", "data"):
        calls[pk].given.setdefault(pin, []).append(data)
    return calls
