"""Nodes that an orchestrator's loop uses as tools: node runs like any other, whose values go to the model alone."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.billing.models import CreditTransaction
from apps.billing.services import grant
from apps.library.blocks import ask_model
from apps.library.blocks.orchestrator import Orchestrator
from apps.library.blocks.services import offered
from apps.library.blocks.special import AgentExecutor
from apps.library.executor import tool_calls
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.executor.worker import GraphKind
from apps.library.models import Execution, NodeExecution, NodeOutput, Review
from apps.library.models.executions import Status
from apps.runtime.db import db
from apps.runtime.leases import Replaced
from apps.runtime.worker import Signals
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, until, wait_for
from tests.library.executor.test_life import Fate, SimulatedCrash, decide, family, fates

__all__ = ("fates",)


@pytest.fixture(autouse=True)
def demo(settings, model, monkeypatch, owner):
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        setattr(settings, name, "")
    settings.DEMO_MODEL_URL = model.url
    monkeypatch.setattr(ask_model, "PAUSES", ())
    model.clear()
    grant(user_id=owner.user.pk, amount_cents=1000, key=uuid.uuid4().hex)


def calls(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": name, "arguments": arguments}


def looping(
    person: Any,
    model: Any,
    tools: dict[str, tuple[str, dict[str, Any]]],
    links: list[tuple[str, str]],
    *steps: list[dict[str, Any]],
    more: Any = (),
    orchestrator: Any = (),
    **fields: Any,
) -> Any:
    """Return an agent whose orchestrator loops over tools `{name: (block, values)}` as the model is scripted to."""
    marker = model.script("loop", *steps)
    values = {"prompt": f"Do it {marker}", "agent_mode_max_iterations": -1, **dict(orchestrator)}
    nodes = {
        "think": (Orchestrator.id, values),
        **tools,
        "said": (b.GIVE, {"name": "said"}),
        "talk": (b.GIVE, {"name": "talk"}),
        **dict(more),
    }
    given = [("think.finished", "said.value"), ("think.conversations", "talk.value")]
    metadata = {name: {"customized_name": name} for name in tools}
    return make_agent(person, nodes, [*links, *given], metadata=metadata, **fields)


def begin(agent: Any, **fields: Any) -> Execution:
    return start_execution(user_id=agent.user_id, graph=agent.graph, inputs={}, agent=agent, **fields)


def given_by(run: Execution) -> dict[str, list[Any]]:
    return grouped(values_by_name(run))


def results(run: Execution) -> list[str]:
    """Return what the model was told of its calls."""
    return [message["content"] for message in given_by(run)["talk"][0] if message["role"] == "tool"]


def rows_of(run: Execution, agent: Any, name: str) -> list[NodeExecution]:
    return list(NodeExecution.objects.filter(execution=run, node=agent.node_ids[name]).order_by("number"))


def test_the_model_uses_nodes_and_reads_what_they_put_out(owner, runs, model):
    agent = looping(
        owner,
        model,
        {"add": (b.ADD, {"b": 40}), "fail": (b.FAIL, {})},
        [("think.tools", "add.a"), ("think.tools", "fail.value"), ("add.out", "other.value")],
        [calls("add", a=2)],
        [calls("fail", value="luck")],
        [{"text": "It is 42."}],
        more={"other": (b.GIVE, {"name": "other"})},
    )
    run = wait_for(begin(agent).pk)

    assert run.status == "COMPLETED"
    assert given_by(run)["said"] == ["It is 42."]
    assert results(run) == ['{"out": [42.0]}', "Error: no luck"]
    [add], [fail] = rows_of(run, agent, "add"), rows_of(run, agent, "fail")
    assert (add.status, add.input_data) == ("COMPLETED", {"a": 2})
    assert (fail.status, fail.error) == ("FAILED", "no luck")
    assert list(add.outputs.values_list("pin", "data")) == [("out", 42.0)]
    assert "other" not in given_by(run), "what a called tool puts out is for its caller"
    assert run.node_error_count == 1
    shown = owner.client.get(f"/api/library/executions/{run.pk}").json()["nodes"]
    assert all("tool_call" not in node["stats"] for node in shown)


def test_static_links_count_for_tools_too(owner, runs, model):
    agent = looping(
        owner,
        model,
        {"add": (b.ADD, {})},
        [("think.tools", "add.a"), ("keep.out", "add.b")],
        [calls("add", a=1)],
        [calls("add", a=2)],
        [{"text": "Done."}],
        more={"keep": (b.KEEP, {"value": 10})},
    )
    run = wait_for(begin(agent).pk)

    assert results(run) == ['{"out": [11.0]}', '{"out": [12.0]}']


def test_what_a_model_writes_is_made_storable(owner, runs, model):
    agent = looping(
        owner,
        model,
        {"once": (b.ONCE, {})},
        [("think.tools", "once.value")],
        [{"text": "So \x00 it is."}, {"tool": "once", "raw_arguments": '{"value": "a \\u0000 b \\ud800"}'}],
        [{"text": "Done."}],
    )
    run = wait_for(begin(agent).pk)

    assert results(run) == ['{"out": ["a  b ?"]}']
    assert rows_of(run, agent, "once")[0].input_data == {"value": "a  b ?"}


def test_tools_are_charged_and_their_caps_count(owner, runs, model):
    tools = {"paid": (b.PAID, {})}, [("think.tools", "paid.value")]
    steps = [calls("paid", value=1)], [calls("paid", value="free")], [{"text": "Done."}]
    agent = looping(owner, model, *tools, *steps)
    run = wait_for(begin(agent).pk)
    assert [row.charged_cents for row in rows_of(run, agent, "paid")] == [3, 0]
    assert run.cost_cents == 3
    assert CreditTransaction.objects.filter(type="USAGE").count() == 1

    capped = looping(owner, model, *tools, *steps, run_cap_cents=2)
    run = wait_for(begin(capped).pk)
    assert (run.status, run.error_code) == ("FAILED", "spend_cap_reached")
    assert [what for what, _ in b.LOG] == ["paid", "paid"], "only those of the run without a cap"


def test_a_stop_ends_the_tool_and_its_caller(owner, runs, model):
    agent = looping(owner, model, {"gate": (b.GATED, {})}, [("think.tools", "gate.value")], [calls("gate", value=1)])
    run = begin(agent)
    until(lambda: b.LOG)
    owner.client.post(f"/api/library/executions/{run.pk}/cancel")

    assert wait_for(run.pk, timeout=8).status == "TERMINATED"
    assert set(NodeExecution.objects.values_list("status", flat=True)) == {"TERMINATED"}
    assert b.LOG == [("start", 1)]


def test_a_tool_may_ask_a_person_and_its_caller_waits_longer_than_it_may_work(owner, runs, model, monkeypatch):
    monkeypatch.setattr(Orchestrator, "timeout_seconds", 4.0)
    agent = looping(
        owner,
        model,
        {"send": (b.SENSITIVE, {})},
        [("think.tools", "send.value")],
        [calls("send", value="draft")],
        [{"text": "Sent."}],
        settings={"sensitive_action_safe_mode": True},
    )
    run = begin(agent)
    review = until(Review.objects.first)
    until(lambda: runs.worker._running)
    until(lambda: timezone.now() - rows_of(run, agent, "think")[0].started_at > timedelta(seconds=5))
    answer = {"node_execution_id": str(review.pk), "approved": True, "reviewed_data": {"value": "final"}}
    assert decide(owner, answer).status_code == 200

    run = wait_for(run.pk)
    assert (run.status, given_by(run)["said"]) == ("COMPLETED", ["Sent."])
    assert results(run) == ['{"out": ["final"]}']
    assert b.LOG == [("sent", "final")]


def test_an_answer_that_was_told_to_nobody_is_found(owner, runs, model, monkeypatch):
    monkeypatch.setattr(tool_calls, "LOOK_SECONDS", 0.1)
    agent = looping(
        owner,
        model,
        {"send": (b.SENSITIVE, {})},
        [("think.tools", "send.value")],
        [calls("send", value="draft")],
        [{"text": "No."}],
        settings={"sensitive_action_safe_mode": True},
    )
    run = begin(agent)
    review = until(Review.objects.first)
    Review.objects.filter(pk=review.pk).update(status="REJECTED", message="never")

    run = wait_for(run.pk)
    assert results(run) == ["Error: A person rejected this. never"]


def test_a_node_is_no_tool_of_itself_nor_of_what_it_calls(owner, runs, model):
    inner = model.script("inner", [calls("outer", sys_prompt="again")], [{"text": "Couldn't."}])
    agent = looping(
        owner,
        model,
        {"inner": (Orchestrator.id, {"agent_mode_max_iterations": 5})},
        [("think.tools", "inner.prompt"), ("inner.tools", "think.sys_prompt"), ("start.out", "think.sys_prompt")],
        [calls("inner", prompt=inner)],
        [{"text": "Done."}],
        more={"start": (b.ADD, {})},
    )
    agent.graph.nodes.filter(pk=agent.node_ids["think"]).update(metadata={"customized_name": "outer"})
    run = wait_for(begin(agent).pk)

    assert given_by(run)["said"] == ["Done."]
    assert "Couldn't." in results(run)[0]
    assert "can't be used as its tool" in results(run)[0]
    assert len(rows_of(run, agent, "think")) == 1


def test_agents_are_tools_as_blocks_are(owner, runs, model):
    b.GATE.set()
    child = family(owner, 0)
    values = {
        "graph_id": str(child.graph.graph_id),
        "graph_version": child.graph.version,
        "input_schema": {"type": "object", "properties": {"in": {"type": "string"}}, "required": ["in"]},
        "output_schema": {"type": "object", "properties": {"out": {}}},
    }
    agent = looping(
        owner,
        model,
        {"below": (AgentExecutor.id, values)},
        [("think.tools", "below.in")],
        [calls("below", **{"in": "deep"})],
        [{"text": "Done."}],
    )
    run = wait_for(begin(agent).pk)

    assert results(run) == ['{"out": ["deep"]}']
    assert Execution.objects.get(parent=run).inputs == {"in": "deep"}


def test_in_a_dry_run_tools_are_played(owner, runs, model, monkeypatch):
    monkeypatch.delitem(offered, "ask_cheap_model")
    agent = looping(
        owner,
        model,
        {"send": (b.SENSITIVE, {}), "add": (b.ADD, {})},
        [("think.tools", "send.value"), ("think.tools", "add.a")],
        [calls("send", value="draft")],
        [calls("add", a=5)],
        [{"text": "Done."}],
    )
    run = wait_for(begin(agent, is_dry_run=True).pk)

    assert results(run) == ['{"out": ["Sample out"]}', '{"out": [5.0]}']
    assert (b.LOG, run.cost_cents) == ([], 0)


# Crashes


def play(run: Execution, now: dict[str, Fate], *deaths: Fate) -> None:
    """Have runners work on a run, each until it dies as it is told to, the last one until the end."""

    async def attempts() -> None:
        kind = GraphKind()
        try:
            for fate in [*deaths, Fate(None)]:
                claim = await db(kind.claim, run.pk, "test")
                if claim is None:
                    return
                now["fate"] = fate
                with suppress(SimulatedCrash, Replaced):
                    async with asyncio.timeout(20):
                        await kind.run(claim, Signals())
                await db(
                    Execution.objects.filter(pk=run.pk, status=Status.RUNNING).update,
                    lease_expires_at=timezone.now() - timedelta(seconds=60),
                )
        finally:
            await kind.waits.aclose()
            await kind.redis.aclose()

    asyncio.run(attempts())
    run.refresh_from_db()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 9))
def test_a_tool_that_completed_never_runs_again_wherever_a_runner_dies(
    fates, owner, transactional_db, model, dies_at, after
):
    agent = looping(
        owner,
        model,
        {"once": (b.ONCE, {}), "add": (b.ADD, {}), "paid": (b.PAID, {})},
        [("think.tools", "once.value"), ("think.tools", "add.a"), ("think.tools", "paid.value")],
        [calls("once", value="x"), calls("add", a=5)],
        [calls("paid", value="p")],
        [{"text": "Done."}],
        orchestrator={"multiple_tool_calls": True},
    )
    run = begin(agent)
    play(run, fates, Fate(dies_at, after=after))

    assert (run.status, given_by(run)["said"]) == ("COMPLETED", ["Done."])
    ran = [value for what, value in b.LOG if what in {"once", "paid"}]
    assert len(ran) == len(set(ran)) <= 2
    once, add, paid = results(run)
    assert once in ('{"out": ["x"]}', "Error: interrupted")
    assert add == '{"out": [5.0]}'
    assert paid in ('{"out": ["p"]}', "Error: interrupted")
    for name in ("once", "add", "paid"):
        assert len(rows_of(run, agent, name)) == 1, "the model's call led to one node run"
    assert run.cost_cents in (0, 3)
    assert [row.charged_cents for row in rows_of(run, agent, "paid")] == [run.cost_cents]
    [think] = rows_of(run, agent, "think")
    assert think.status == "COMPLETED"
    assert 3 <= think.stats["model_calls"] <= 4


def test_a_run_that_is_handed_over_goes_on_after_its_tools(owner, runs, model):
    from apps.library import process

    agent = looping(
        owner,
        model,
        {"once": (b.ONCE, {}), "wait": (b.WAIT, {"seconds": 0.4})},
        [("think.tools", "once.value"), ("think.tools", "wait.value")],
        [calls("once", value="x")],
        [calls("wait", value="y")],
        [{"text": "Done."}],
    )
    run = begin(agent)
    until(lambda: ("start", "y") in b.LOG)
    process.stop(5)
    assert Execution.objects.get(pk=run.pk).status == "RUNNING"
    process.start()

    run = wait_for(run.pk)
    assert (run.status, run.attempt, run.lost_leases) == ("COMPLETED", 2, 0)
    assert results(run) == ['{"out": ["x"]}', '{"out": ["y"]}']
    assert len([1 for what, _ in b.LOG if what == "once"]) == 1
    assert NodeOutput.objects.filter(node_execution__node=agent.node_ids["once"]).count() == 1
