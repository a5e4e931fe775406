"""The one primitive that starts every run of an agent, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from apps.library.blocks.base import BlockType
from apps.library.errors import BlockError, InputsInvalid
from apps.library.executor import announce, costs
from apps.library.executor.inputs import fit, gather
from apps.library.executor.plan import TRIGGERS, Plan, PlanNode, build_plan
from apps.library.executor.secrets import choose, credentials_input
from apps.library.graphs.problems import refuse
from apps.library.graphs.services import lock_agent, problems_of
from apps.library.models import Execution, Graph, LibraryAgent, Link, Node, Preset, Schedule

#: How deep agents may run agents.
MOST_DEPTH = 10


@transaction.atomic
def start_execution(
    *,
    user_id: UUID,
    graph: Graph,
    inputs: dict[str, Any],
    credential_inputs: dict[str, str] | None = None,
    agent: LibraryAgent | None = None,
    preset: Preset | None = None,
    trigger: str = Execution.Trigger.MANUAL,
    schedule: Schedule | None = None,
    due_at: datetime | None = None,
    parent: Execution | None = None,
    parent_node_execution_id: UUID | None = None,
    node_input_masks: dict[str, dict[str, Any]] | None = None,
    is_dry_run: bool = False,
    autopilot_depth: int = 0,
) -> Execution:
    """Store a run, queued, and wake a worker after commit.

    Args:
        user_id: Whose run it is.
        graph: The version to run.
        inputs: Values of the agent's inputs by name.
        credential_inputs: Ids of credentials by the name of the agent's credentials input.
        agent: The library agent, whose settings and caps count.
        preset: The preset that the inputs are from.
        trigger: Who asks.
        schedule: The schedule that is due.
        due_at: The moment that it named; a schedule never makes two runs of one moment.
        parent: The run that asks.
        parent_node_execution_id: Its node execution that asks, which never makes two runs.
        node_input_masks: Input values that win over a node's own, by node id.
        is_dry_run: Whether nothing may be touched or spent.
        autopilot_depth: How many copilots, each asked by an AutoPilot block, led to this run.

    Returns:
        The stored run.

    Raises:
        NotFound: When the agent was deleted meanwhile; nothing is stored then, here and below.
        GraphInvalid: When the graph can't run as it is.
        InputsInvalid: When inputs are missing or don't fit.
        NotEnoughCredits: When it costs something and there are none left.
        CapReached: When the agent has spent what it may today.
    """
    if agent is not None:
        # An agent that is being deleted starts nothing more, and its end stops what has started.
        agent = lock_agent(user_id=user_id, agent_id=agent.pk, touches=False)
    is_dry_run = is_dry_run or (parent is not None and parent.is_dry_run)
    refuse(problems_of(user_id=user_id, graph=graph, for_run=True, masks=node_input_masks))
    plan = plan_of(graph, inputs=inputs, masks=node_input_masks)
    check_inputs(plan, inputs, credential_inputs or {}, is_dry_run=is_dry_run)
    if not is_dry_run:
        costs.check_start(user_id=user_id, uses=uses_of(plan))
        if agent is not None:
            costs.check_daily_cap(user_id, agent.pk, agent.daily_cap_cents)
    found = dict(agent.settings) if agent is not None else {}
    run_id = uuid4()
    run = Execution.objects.create(
        id=run_id,
        user_id=user_id,
        graph=graph,
        agent=agent,
        preset=preset,
        parent=parent,
        parent_node_execution_id=parent_node_execution_id,
        root_id=parent.root_id if parent is not None else run_id,
        depth=parent.depth + 1 if parent is not None else 0,
        autopilot_depth=max(autopilot_depth, parent.autopilot_depth if parent is not None else 0),
        trigger=trigger,
        schedule=schedule,
        due_at=due_at,
        inputs=inputs,
        credential_inputs=credential_inputs or {},
        node_input_masks=node_input_masks,
        is_dry_run=is_dry_run,
        safe_mode=found.get("human_in_the_loop_safe_mode", True),
        sensitive_safe_mode=found.get("sensitive_action_safe_mode", False),
        cap_cents=agent.run_cap_cents if agent is not None else None,
    )
    transaction.on_commit(partial(announce.wake_worker, run.pk))
    return run


def plan_of(
    graph: Graph, *, inputs: Mapping[str, Any] | None = None, masks: Mapping[str, Mapping[str, Any]] | None = None
) -> Plan:
    """Return a graph's plan.

    Raises:
        GraphInvalid: When it can't run.
    """
    nodes = list(Node.objects.filter(graph=graph).order_by("position"))
    links = list(Link.objects.filter(graph=graph).order_by("position"))
    return build_plan(nodes, links, inputs=inputs, masks=masks)


def check_inputs(
    plan: Plan, inputs: Mapping[str, Any], credential_inputs: Mapping[str, Any], *, is_dry_run: bool
) -> None:
    """Refuse a run whose inputs or credentials are missing or don't fit.

    Raises:
        InputsInvalid: When the run's own inputs or credentials don't do.
    """
    wrong: dict[str, str] = {}
    for node in plan.nodes.values():
        if node.block.type == BlockType.INPUT:
            wrong |= _problem_of_input(node, inputs)
        elif node.block.type in TRIGGERS and "payload" not in node.mask:
            wrong["payload"] = "This agent is started by a webhook, which brings a payload."
        if not is_dry_run:
            wrong |= _problem_of_credentials(node, credential_inputs)
    if wrong:
        raise InputsInvalid(wrong)


def _problem_of_input(node: PlanNode, inputs: Mapping[str, Any]) -> dict[str, str]:
    name = str(node.defaults.get("name", ""))
    value = inputs[name] if name in inputs else node.defaults.get("value", _default_of(node, "value"))
    if value is None:
        return {} if "value" in node.linked else {name: "A value is missing."}
    try:
        fit(node.block.Input, {**node.defaults, "value": value})
    except BlockError as error:
        return {name: str(error)}
    return {}


def _default_of(node: PlanNode, name: str) -> Any:
    found = node.block.Input.model_fields.get(name)
    return None if found is None or found.is_required() else found.get_default(call_default_factory=True)


def _problem_of_credentials(node: PlanNode, credential_inputs: Mapping[str, Any]) -> dict[str, str]:
    try:
        choose(credential_inputs, node, node.defaults)
    except BlockError as error:
        wanted = next(iter(node.block.credentials_inputs().values()))
        return {credentials_input(wanted): str(error)}
    return {}


def uses_of(plan: Plan) -> list[tuple[Any, Mapping[str, Any]]]:
    """Return the blocks of a plan with the inputs that are known before it runs."""
    return [(node.block, gather(node, {})) for node in plan.nodes.values()]
