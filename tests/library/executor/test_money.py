"""What runs cost: charged once, in whole cents, never beyond what is there."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from apps.billing.models import CreditTransaction
from apps.billing.queries import balance_cents
from apps.billing.services import grant
from apps.library.blocks.base import Cost, CostType
from apps.library.errors import CapReached, NotEnoughCredits
from apps.library.executor import costs
from apps.library.executor.start import start_execution
from apps.library.models import Execution, LibraryAgent, NodeExecution
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, until, wait_for
from tests.library.executor.test_life import parent_of


def give(person: Any, cents: int) -> None:
    grant(user_id=person.user.pk, amount_cents=cents, key=uuid.uuid4().hex)


def run_of(agent: Any, **fields: Any) -> Execution:
    started = start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={}, **fields)
    return wait_for(started.pk)


def test_each_node_run_is_charged_once_under_its_own_key(owner, runs):
    give(owner, 100)
    agent = make_agent(
        owner,
        {"each": (b.EACH, {"items": [1, "free", "fail"]}), "paid": (b.PAID, {})},
        [("each.item", "paid.value")],
    )

    run = run_of(agent)

    assert (run.status, run.cost_cents, balance_cents(owner.user.pk)) == ("COMPLETED", 6, 94)
    paid = NodeExecution.objects.filter(execution=run, node=agent.node_ids["paid"]).order_by("number")
    assert list(paid.values_list("charged_cents", flat=True)) == [3, 0, 3], "what has run is charged, failed or not"
    keys = set(CreditTransaction.objects.filter(type="USAGE").values_list("key", flat=True))
    assert keys == {f"node-execution:{node.pk}" for node in paid if node.charged_cents}


@pytest.mark.parametrize(
    ("kind", "microdollars"),
    [("tokens", 50_000), ("items", 28_000), ("other", 30_000)],
)
def test_costs_by_what_was_used(owner, runs, kind, microdollars):
    give(owner, 100)
    agent = make_agent(owner, {"metered": (b.METERED, {"kind": kind})})

    run = run_of(agent)

    assert run.cost_cents == microdollars // 10_000
    assert run.cost_microdollars == microdollars % 10_000
    node = NodeExecution.objects.get(execution=run)
    assert node.stats["cost_microdollars"] == microdollars
    assert node.stats["model_calls"] == 1


def test_costs_by_size_and_time(owner, runs):
    give(owner, 100)
    by_size = run_of(make_agent(owner, {"metered": (b.METERED, {"kind": "byte"})}))
    by_time = run_of(make_agent(owner, {"metered": (b.METERED, {"kind": "second"})}))

    size = len('{"kind": "byte"}') + len('"0123456789"')
    assert (by_size.cost_cents, by_size.cost_microdollars) == divmod(size * 1_000, 10_000)
    assert by_time.cost_cents * 10_000 + by_time.cost_microdollars >= 49_000  # clocks are rounded


def test_fractions_of_a_cent_add_up_over_a_run(owner, runs):
    give(owner, 100)
    agent = make_agent(
        owner,
        {"each": (b.EACH, {"items": ["items"] * 5}), "metered": (b.METERED, {})},
        [("each.item", "metered.kind")],
    )

    run = run_of(agent)

    assert (run.cost_cents, run.cost_microdollars) == (14, 0), "5 × 2.8 cents"
    assert balance_cents(owner.user.pk) == 86


@pytest.mark.django_db
def test_nothing_that_costs_starts_without_credits(owner):
    free = make_agent(owner, {"add": (b.ADD, {})})
    paid = make_agent(owner, {"paid": (b.PAID, {})})

    start_execution(user_id=owner.user.pk, graph=free.graph, inputs={})
    with pytest.raises(NotEnoughCredits):
        start_execution(user_id=owner.user.pk, graph=paid.graph, inputs={})
    answer = owner.client.post(f"/api/library/agents/{paid.pk}/run", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_balance")
    start_execution(user_id=owner.user.pk, graph=paid.graph, inputs={}, is_dry_run=True)


def test_credits_that_run_out_fail_the_node_and_the_run(owner, runs, settings):
    settings.NODE_CONCURRENCY = 1
    give(owner, 7)
    agent = make_agent(
        owner,
        {"each": (b.EACH, {"items": [1, 2, 3, 4]}), "paid": (b.PAID, {}), "gate": (b.WAIT, {})},
        [("each.item", "paid.value"), ("paid.out", "gate.value")],
    )

    run = run_of(agent)

    assert (run.status, run.error_code, run.cost_cents) == ("FAILED", "insufficient_balance", 6)
    assert balance_cents(owner.user.pk) == 1
    assert [value for what, value in b.LOG if what == "paid"] == [1, 2]
    assert not NodeExecution.objects.filter(execution=run, status__in=["RUNNING", "QUEUED"]).exists()


def test_nodes_that_work_at_once_share_what_is_there(owner, runs):
    give(owner, 5)
    agent = make_agent(
        owner, {"each": (b.EACH, {"items": ["slow", "slow"]}), "paid": (b.PAID, {})}, [("each.item", "paid.value")]
    )

    run = run_of(agent)

    assert (run.status, run.error_code) == ("FAILED", "insufficient_balance")
    assert b.LOG == [("paid", "slow")], "the first one's price is held while it works"


@pytest.mark.parametrize(
    ("given", "fits"), [({}, True), ({"kind": ""}, True), ({"kind": None}, True), ({"kind": "x"}, False)]
)
@pytest.mark.parametrize("wanted", ["", None])
def test_nothing_null_and_empty_are_alike_to_a_cost(wanted, given, fits):
    block = SimpleNamespace(costs=(Cost(type=CostType.RUN, amount_microdollars=1, when={"kind": wanted}),))

    assert (costs.fitting_cost(block, given) is not None) == fits


def test_work_that_cannot_be_paid_afterwards_is_kept_and_told_to_operators(owner, runs, caplog):
    give(owner, 3)
    agent = make_agent(owner, {"slow": (b.METERED, {"kind": "second"})})

    run = run_of(agent)

    assert (run.status, run.error_code, run.cost_cents) == ("FAILED", "insufficient_balance", 0)
    node = NodeExecution.objects.get(execution=run)
    assert node.status == "COMPLETED", "its value is the person's"
    assert node.outputs.get(pin="out").data == "0123456789"
    assert "BILLING_LEAK[INSUFFICIENT_BALANCE]" in caplog.text
    assert balance_cents(owner.user.pk) == 3


@pytest.mark.django_db
def test_a_leak_is_told_with_who_and_what(owner, caplog):
    agent = make_agent(owner, {"paid": (b.PAID, {})})
    run = Execution.objects.create(user=owner.user, graph=agent.graph, root_id=uuid.uuid4())
    node = uuid.uuid4()

    taken, left, is_short = costs.charge(
        execution_id=run.pk, user_id=owner.user.pk, bills=[costs.Bill(node, b.PAID, 25_000)], accrued=6_000
    )

    assert (taken, left, is_short) == ({}, 1_000, True)
    for word in ("BILLING_LEAK[INSUFFICIENT_BALANCE]", str(owner.user.pk), b.PAID, str(run.pk)):
        assert word in caplog.text


def test_a_run_spends_no_more_than_its_cap(owner, runs, settings):
    settings.NODE_CONCURRENCY = 1
    give(owner, 100)
    agent = make_agent(
        owner,
        {"each": (b.EACH, {"items": [1, 2, 3, 4]}), "paid": (b.PAID, {})},
        [("each.item", "paid.value")],
        run_cap_cents=7,
    )

    run = run_of(agent)

    assert (run.status, run.error_code, run.cost_cents) == ("FAILED", "spend_cap_reached", 6)


def test_an_agent_spends_no_more_than_its_daily_cap(owner, runs, settings):
    settings.NODE_CONCURRENCY = 1
    give(owner, 100)
    agent = make_agent(owner, {"paid": (b.PAID, {})}, daily_cap_cents=6)
    assert run_of(agent).status == "COMPLETED"
    assert run_of(agent).status == "COMPLETED"

    with pytest.raises(CapReached):
        run_of(agent)


def test_what_agents_below_spend_counts_for_the_one_at_the_top(owner, runs, settings):
    settings.NODE_CONCURRENCY = 1
    give(owner, 100)
    child = make_agent(
        owner,
        {"in": (b.TAKE, {"name": "in"}), "each": (b.EACH, {}), "paid": (b.PAID, {})},
        [("in.out", "each.items"), ("each.item", "paid.value")],
    )
    agent = parent_of(owner, child)
    LibraryAgent.objects.filter(pk=agent.pk).update(daily_cap_cents=6)
    run = start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={"in": [1, 2, 3, 4]})
    wait_for(run.pk)

    below = Execution.objects.get(parent=run)
    assert (below.status, below.error_code, below.cost_cents) == ("FAILED", "spend_cap_reached", 6)
    with pytest.raises(CapReached):
        start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={"in": [1]})
    other = start_execution(user_id=child.user_id, graph=child.graph, agent=child, inputs={"in": [1]})
    assert wait_for(other.pk).status == "COMPLETED", "the agent below has no cap of its own"


def test_a_database_that_goes_away_under_a_node_fails_the_run(owner, runs, monkeypatch):
    give(owner, 100)
    monkeypatch.setattr(costs, "check_next", database_gone)
    run = run_of(make_agent(owner, {"paid": (b.PAID, {})}))

    assert (run.status, run.error_code, run.cost_cents) == ("FAILED", "infrastructure", 0)
    assert NodeExecution.objects.get(execution=run).status == "FAILED"
    assert b.LOG == []


def database_gone(**_: Any) -> None:
    raise OperationalError


def test_what_is_stopped_after_it_gave_something_is_charged(owner, runs):
    give(owner, 100)
    agent = make_agent(
        owner,
        {"paid": (b.PAID, {}), "gate": (b.GATED, {})},
        [("paid.out", "gate.value")],
    )
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    until(lambda: ("start", None) in b.LOG)
    owner.client.post(f"/api/library/executions/{run.pk}/cancel")

    assert wait_for(run.pk).cost_cents == 3
