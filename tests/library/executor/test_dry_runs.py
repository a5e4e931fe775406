"""Dry runs: nothing is touched or spent, and values still flow."""

from __future__ import annotations

import json

import pytest

from apps.billing.models import CreditTransaction
from apps.library.blocks.base import Category, Cost, CostType
from apps.library.blocks.registry import all_blocks, get_block
from apps.library.blocks.services import offered
from apps.library.executor import simulate
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.models import Execution, NodeExecution
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, wait_for
from tests.library.executor.test_life import parent_of


def dry_run(agent, inputs=None):
    started = start_execution(user_id=agent.user_id, graph=agent.graph, inputs=inputs or {}, is_dry_run=True)
    run = wait_for(started.pk)
    assert run.status == "COMPLETED", run.error
    return run, grouped(values_by_name(run))


def keyed(owner):
    return make_agent(
        owner,
        {
            "in": (b.TAKE, {"name": "in"}),
            "ask": (b.KEYED, {}),
            "send": (b.SENSITIVE, {}),
            "paid": (b.PAID, {}),
            "out": (b.GIVE, {"name": "out"}),
            "count": (b.GIVE, {"name": "count"}),
        },
        [
            ("in.out", "ask.text"),
            ("ask.answer", "send.value"),
            ("ask.answer", "paid.value"),
            ("ask.answer", "out.value"),
            ("ask.count", "count.value"),
        ],
        settings={"sensitive_action_safe_mode": True},
    )


def test_without_a_model_blocks_give_samples_of_their_schema(owner, runs, monkeypatch):
    monkeypatch.delitem(offered, "ask_cheap_model")

    run, given = dry_run(keyed(owner), {"in": "question"})
    _, again = dry_run(keyed(owner), {"in": "question"})

    assert given == again == {"out": ["Sample answer"], "count": [0]}
    assert run.is_dry_run
    assert (run.cost_cents, b.LOG, b.ASKED) == (0, [], {})
    assert not CreditTransaction.objects.exists()


def test_the_cheap_model_plays_what_is_not_real(owner, runs, monkeypatch):
    asked = []

    async def model(*, system: str, text: str) -> str:
        asked.append(json.loads(text))
        return 'Here you are: ```json\n{"answer": "forty-two", "count": null}\n```'

    monkeypatch.setitem(offered, "ask_cheap_model", model)

    _, given = dry_run(keyed(owner), {"in": "x" * 30_000})

    assert given == {"out": ["forty-two"]}
    [told] = [told for told in asked if told["step"] == "Keyed"]
    assert set(told["inputs"]) == {"text"}
    assert len(told["inputs"]["text"]) < 20_100


def test_a_model_that_gives_no_json_fails_the_node_as_the_simulator(owner, runs, monkeypatch):
    async def model(*, system: str, text: str) -> str:
        return "no"

    monkeypatch.setitem(offered, "ask_cheap_model", model)

    run, given = dry_run(keyed(owner), {"in": "q"})

    assert given == {}
    assert NodeExecution.objects.get(execution=run, status="FAILED").error == simulate.FAILED


def test_other_inputs_are_still_checked(owner, runs):
    agent = make_agent(owner, {"in": (b.TAKE, {"name": "in"}), "wait": (b.WAIT, {})}, [("in.out", "wait.seconds")])

    run, _ = dry_run(agent, {"in": {"no": "text"}})

    assert NodeExecution.objects.get(execution=run, status="FAILED").error.startswith("The inputs don't fit. seconds:")


def test_children_of_dry_runs_are_dry(owner, runs):
    b.GATE.set()
    child = make_agent(
        owner,
        {"in": (b.TAKE, {"name": "in"}), "once": (b.ONCE, {}), "out": (b.GIVE, {"name": "out"})},
        [("in.out", "once.value"), ("once.out", "out.value")],
    )

    run, _ = dry_run(parent_of(owner, child), {"in": 1})

    assert Execution.objects.get(parent=run).is_dry_run
    assert b.LOG == []


@pytest.mark.parametrize(("wanted", "given"), [(-1, 10), (0, 0), (3, 3), (50, 10)])
def test_loops_of_orchestrators_are_capped(wanted, given):
    assert simulate.capped(wanted) == given


@pytest.mark.parametrize(
    "block",
    [block for block in all_blocks().values() if block.credentials_inputs()],
    ids=lambda block: type(block).__name__,
)
def test_credentials_are_neither_wanted_nor_taken(block):
    wanted = set(block.input_schema().get("required", ()))
    hidden = set(block.credentials_inputs())
    values = simulate.without_credentials(block, {"kept": 1, **{name: {"id": "of somebody"} for name in hidden}})

    assert set(simulate.dry_model(type(block)).model_json_schema().get("required", ())) == wanted - hidden
    assert values.keys() & hidden == set()
    assert values["kept"] == 1


@pytest.mark.parametrize(
    ("what", "is_real"),
    [
        ({}, True),
        ({"is_idempotent": False}, False),
        ({"costs": (Cost(type=CostType.RUN, amount_microdollars=1),)}, False),
        ({"categories": frozenset({Category.LOGIC, Category.COMMUNICATION})}, False),
        ({"categories": frozenset()}, False),
        ({"credentials_inputs": staticmethod(lambda: {"credentials": {}})}, False),
    ],
    ids=["harmless", "must not run twice", "costs", "speaks to others", "of no kind", "has credentials"],
)
def test_only_what_touches_nothing_is_real(what, is_real):
    block = type("Stub", (type(get_block(b.ADD)),), what)()

    assert simulate.runs_for_real(block, {}) is is_real


def test_an_orchestrator_is_given_its_capped_loop():
    block = get_block(simulate.ORCHESTRATOR)

    assert simulate.without_credentials(block, {simulate.LOOP_INPUT: 50})[simulate.LOOP_INPUT] == 10
    assert simulate.without_credentials(block, {simulate.LOOP_INPUT: 3})[simulate.LOOP_INPUT] == 3


def test_samples_fit_their_schema():
    schema = {
        "$defs": {"Row": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        "anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/Row"}}],
    }

    assert simulate.sample(schema, schema) == [{"n": 1}]
    assert simulate.sample({"enum": ["a", "b"]}, {}) == "a"
    assert simulate.sample({"type": "boolean"}, {}) is True
    assert simulate.sample({"title": "Name", "type": "string"}, {}) == "Sample name"
