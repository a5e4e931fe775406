"""What node runs cost: microdollars that add up on the run, and whole cents that are taken from the balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db.models import Sum
from django.utils import timezone

from apps.billing import queries as billing_queries
from apps.billing.errors import InsufficientBalance, KeyReused
from apps.billing.services import spend
from apps.library.blocks.base import Block, BlockStats, Cost, CostType
from apps.library.errors import CapReached, NotEnoughCredits
from apps.library.graphs.exporter import run_by
from apps.library.graphs.shape import GraphData
from apps.library.models import Execution, LibraryAgent

logger = structlog.get_logger(__name__)

MICRODOLLARS_A_CENT = 10_000
AgentKey = tuple[str, int]  # a graph's id and version
#: An exact share of a dollar: what providers take is counted in microdollars.
MICRODOLLARS_A_DOLLAR = 1_000_000


@dataclass(frozen=True, slots=True)
class Bill:
    """What one node run costs."""

    node_execution_id: UUID
    block_id: str
    microdollars: int


def fitting_cost(block: Block[Any], inputs: Mapping[str, Any]) -> Cost | None:
    """Return the first cost whose conditions these inputs meet; nothing, null and empty are alike."""
    for cost in block.costs:
        if all((inputs.get(name) or None) == (wanted or None) for name, wanted in cost.when.items()):
            return cost
    return None


def known_before(cost: Cost | None) -> int:
    """Return the microdollars that a use costs whatever it does."""
    return cost.amount_microdollars if cost is not None and cost.type == CostType.RUN else 0


def cost_of(cost: Cost | None, stats: BlockStats, *, seconds: float, size: int) -> int:
    """Return what a use cost in microdollars.

    Args:
        cost: How it is charged.
        stats: What the block counted.
        seconds: How long it ran.
        size: Bytes of what went in and came out.
    """
    if cost is None:
        return 0
    usage = stats.usage
    taken = (usage.cost_microdollars or 0) + stats.provider_cost_microdollars
    uses: dict[str, float] = {
        CostType.RUN: 1,
        CostType.SECOND: seconds,
        CostType.BYTE: size,
        CostType.ITEMS: stats.items,
        CostType.TOKENS: (
            usage.prompt_tokens + usage.completion_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        ),
        CostType.COST_USD: taken / MICRODOLLARS_A_DOLLAR,
    }
    return round(cost.amount_microdollars * uses[cost.type])


def estimate(graph: GraphData) -> tuple[int, list[dict[str, Any]]]:
    """Return what a run costs for certain, in microdollars, and what is counted while it runs.

    Each node is taken to work once, also those of the sub-agents, as often as nodes run these; a loop of agents that
    run each other is gone through once.
    """
    certain = 0
    counted: Counter[tuple[str, int]] = Counter()
    for each, times in runs_of_agents(graph):
        for node in each.nodes:
            cost = fitting_cost(node.block, node.input_default) if node.block is not None else None
            if cost is None:
                continue
            certain += known_before(cost) * times
            if cost.type != CostType.RUN:
                counted[str(cost.type), cost.amount_microdollars] += times
    rates = [{"type": kind, "amount_microdollars": amount, "nodes": nodes} for (kind, amount), nodes in counted.items()]
    return certain, rates


def runs_of_agents(graph: GraphData) -> list[tuple[GraphData, int]]:
    """Return a graph and its sub-agents, with how often each runs when each node works once."""
    family = {(each.id, each.version): each for each in (graph, *graph.sub_graphs)}
    onward: dict[AgentKey, list[AgentKey]] = {}
    left: list[AgentKey] = []

    def visit(key: AgentKey, above: frozenset[AgentKey]) -> None:
        onward[key] = []
        for graph_id, version in run_by(family[key]):
            below = (str(graph_id), version)
            if below not in family or below in above:
                continue
            if below not in onward:
                visit(below, above | {below})
            onward[key].append(below)
        left.append(key)

    top = (graph.id, graph.version)
    visit(top, frozenset({top}))
    times = Counter({top: 1})
    for key in reversed(left):  # whoever runs an agent comes before it
        for below in onward[key]:
            times[below] += times[key]
    return [(family[key], times[key]) for key in reversed(left)]


def check_start(*, user_id: UUID, uses: Iterable[tuple[Block[Any], Mapping[str, Any]]]) -> None:
    """Refuse to start what costs something for somebody who has nothing.

    Raises:
        NotEnoughCredits: When there are no credits left.
    """
    costs = any(fitting_cost(block, inputs) is not None for block, inputs in uses)
    if costs and billing_queries.balance_cents(user_id) <= 0:
        raise NotEnoughCredits


def check_daily_cap(user_id: UUID, agent_id: UUID, cap_cents: int | None) -> None:
    """Refuse to start an agent that has spent what it may today.

    Raises:
        CapReached: When it has.
    """
    if cap_cents is not None and spent_today(user_id, agent_id) >= cap_cents:
        raise CapReached


def check_next(
    *,
    user_id: UUID,
    root_id: UUID,
    agent_id: UUID | None,
    cost: int,
    accrued: int,
) -> None:
    """Refuse a use that can't be paid, or that a cap forbids.

    Args:
        user_id: Who pays.
        root_id: The topmost run, whose cap counts for all below it.
        agent_id: The library agent, whose daily cap counts, as that of the topmost run's agent does.
        cost: What the use costs for certain, in microdollars.
        accrued: What the run used below a cent, not yet charged.

    Raises:
        NotEnoughCredits: When the balance doesn't cover it.
        CapReached: When a cap would be passed, or is reached.
    """
    needed = (accrued + cost) // MICRODOLLARS_A_CENT
    if billing_queries.balance_cents(user_id) < max(needed, 1):
        raise NotEnoughCredits
    root = Execution.objects.filter(pk=root_id).values("cap_cents", "agent_id").first()
    if root is not None and root["cap_cents"] is not None:
        spent = Execution.objects.filter(root_id=root_id).aggregate(cents=Sum("cost_cents"))["cents"] or 0
        if spent + needed > root["cap_cents"] or spent >= root["cap_cents"]:
            raise CapReached("This run has spent what it may.")
    concerned = {found for found in (agent_id, root["agent_id"] if root is not None else None) if found is not None}
    caps = LibraryAgent.objects.filter(pk__in=concerned).values_list("pk", "daily_cap_cents")
    for capped_id, daily_cap in caps:
        if daily_cap is None:
            continue
        today = spent_today(user_id, capped_id)
        if today + needed > daily_cap or today >= daily_cap:
            raise CapReached


def spent_today(user_id: UUID, agent_id: UUID) -> int:
    """Return the cents that an agent's runs of this UTC day were charged, with all runs below those at the top."""
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    own = Execution.objects.of(user_id).filter(agent=agent_id)
    topmost = own.filter(parent=None, started_at__gte=midnight).values("pk")
    below = Execution.objects.filter(root_id__in=topmost, parent__isnull=False).exclude(agent=agent_id)
    return spent(own, since=midnight) + spent(below, since=midnight)


def spent(runs: Any, *, since: datetime, until: datetime | None = None) -> int:
    """Return the cents that runs which began in a span of time were charged."""
    begun = runs.filter(started_at__gte=since)
    if until is not None:
        begun = begun.filter(started_at__lt=until)
    return begun.aggregate(cents=Sum("cost_cents"))["cents"] or 0


def charge(
    *, execution_id: UUID, user_id: UUID, bills: Iterable[Bill], accrued: int
) -> tuple[dict[UUID, int], int, bool]:
    """Charge node runs, in the transaction that stores their end.

    Args:
        execution_id: The run.
        user_id: Who pays.
        bills: What they cost, in order.
        accrued: What the run used below a cent before them.

    Returns:
        The cents that were taken for each, what is now below a cent, and whether credits ran out.
    """
    taken: dict[UUID, int] = {}
    is_short = False
    for bill in bills:
        accrued += bill.microdollars
        cents = accrued // MICRODOLLARS_A_CENT
        if not cents:
            continue
        accrued -= cents * MICRODOLLARS_A_CENT
        facts = {"execution_id": str(execution_id), "block_id": bill.block_id}
        try:
            spend(user_id=user_id, amount_cents=cents, key=f"node-execution:{bill.node_execution_id}", metadata=facts)
        except InsufficientBalance:
            is_short = True
            note_leak("INSUFFICIENT_BALANCE", user_id, bill, execution_id, cents)
        except KeyReused:
            note_leak("UNEXPECTED_ERROR", user_id, bill, execution_id, cents)
        else:
            taken[bill.node_execution_id] = cents
    return taken, accrued, is_short


def note_leak(kind: str, user_id: UUID, bill: Bill, execution_id: UUID, cents: int) -> None:
    """Tell operators of work that was done and not paid."""
    logger.error(
        f"BILLING_LEAK[{kind}]",  # noqa: G004 -- operators look for this word
        user_id=str(user_id),
        block_id=bill.block_id,
        execution_id=str(execution_id),
        node_execution_id=str(bill.node_execution_id),
        cost_cents=cents,
    )
