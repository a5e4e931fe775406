"""What may happen to a run: stops, reviews, children, crashes, other runners."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from celery.signals import worker_shutdown
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.library.blocks.special import AgentExecutor, HumanInTheLoop
from apps.library.blocks.text import FillTextTemplate
from apps.library.errors import BlockError
from apps.library.executor import commits as commits_module
from apps.library.executor import rows
from apps.library.executor import run as run_module
from apps.library.executor.agents import start_child
from apps.library.executor.cancel import cancel_execution
from apps.library.executor.load import load
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.executor.waits import Waits
from apps.library.executor.worker import GraphKind
from apps.library.models import Execution, NodeExecution, NodeOutput, Review
from apps.library.models.executions import REACHED_FROM, Status
from apps.runtime.children import run_in_child
from apps.runtime.db import db
from apps.runtime.leases import Claim, Replaced
from apps.runtime.worker import Signals
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, until, wait_for
from tests.runtime import child_work

BASE = "/api/library"


def start(agent: Any, inputs: dict[str, Any] | None = None, **fields: Any) -> Execution:
    return start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs=inputs or {}, **fields)


def outputs(run: Execution) -> dict[str, list[Any]]:
    return grouped(values_by_name(run))


def statuses(run: Execution) -> dict[str, int]:
    found: dict[str, int] = {}
    for status in NodeExecution.objects.filter(execution=run).values_list("status", flat=True):
        found[status] = found.get(status, 0) + 1
    return found


# Stops


def test_a_running_run_stops_at_once_and_keeps_what_it_has(owner, runs):
    agent = make_agent(
        owner,
        {"first": (b.ADD, {"a": 1}), "gate": (b.GATED, {}), "out": (b.GIVE, {"name": "out"})},
        [("first.out", "gate.value"), ("gate.out", "out.value")],
    )
    run = start(agent)
    until(lambda: b.LOG)
    asked = time.monotonic()
    assert owner.client.post(f"{BASE}/executions/{run.pk}/cancel").status_code == 200
    run = wait_for(run.pk)

    assert time.monotonic() - asked < 5
    assert (run.status, run.error_code) == ("TERMINATED", "stopped")
    assert statuses(run) == {"COMPLETED": 1, "TERMINATED": 1}


@pytest.mark.parametrize("last", ["out", "ask"])
def test_a_run_that_is_over_before_it_hears_of_its_stop_is_stopped_all_the_same(owner, runs, monkeypatch, last):
    monkeypatch.setattr("apps.library.executor.announce.wake_stop", lambda run_id: None)
    ends = {
        "out": ((b.GIVE, {"name": "out"}), ("gate.out", "end.value")),
        "ask": ((HumanInTheLoop.id, {"name": "Look"}), ("gate.out", "end.data")),
    }
    node, link = ends[last]
    run = start(make_agent(owner, {"gate": (b.GATED, {}), "end": node}, [link]))
    until(lambda: b.LOG)
    owner.client.post(f"{BASE}/executions/{run.pk}/cancel")
    b.GATE.set()
    run = wait_for(run.pk, *Execution.ENDED, "REVIEW")

    assert (run.status, run.error_code) == ("TERMINATED", "stopped")
    assert not Review.objects.filter(status="WAITING").exists()


def test_a_deaf_node_does_not_keep_a_run_from_stopping(owner, runs, monkeypatch):
    monkeypatch.setattr(run_module, "CANCEL_SECONDS", 0.3)
    agent = make_agent(owner, {"deaf": (b.DEAF, {})})
    run = start(agent)
    until(lambda: NodeOutput.objects.filter(node_execution__execution=run).exists())
    owner.client.post(f"{BASE}/executions/{run.pk}/cancel")

    assert wait_for(run.pk, timeout=7).status == "TERMINATED"
    until(lambda: ("deaf", None) in b.LOG and not runs.worker._running)


def test_the_sweep_stops_a_run_whose_runner_is_gone(owner, runs):
    agent = make_agent(owner, {"gate": (b.GATED, {})})
    run = start(agent)
    until(lambda: b.LOG)
    [(_, _, task)] = runs.worker._running.values()
    runs.thread.loop.call_soon_threadsafe(task.cancel)
    until(lambda: not runs.worker._running)
    asked = timezone.now() - timedelta(seconds=11)
    Execution.objects.filter(pk=run.pk).update(cancel_requested_at=asked)

    assert wait_for(run.pk, timeout=5).status == "TERMINATED"
    assert statuses(run) == {"FAILED": 1} or statuses(run) == {"TERMINATED": 1}


def family(owner: Any, depth: int) -> Any:
    """Return an agent that runs an agent that runs … one that waits for the test."""
    agent = make_agent(
        owner,
        {"in": (b.TAKE, {"name": "in"}), "gate": (b.GATED, {}), "out": (b.GIVE, {"name": "out"})},
        [("in.out", "gate.value"), ("gate.out", "out.value")],
    )
    for _ in range(depth):
        agent = parent_of(owner, agent)
    return agent


def parent_of(owner: Any, child: Any) -> Any:
    schema = {"type": "object", "properties": {"in": {}}, "required": ["in"]}
    values = {
        "user_id": "somebody",
        "graph_id": str(child.graph.graph_id),
        "graph_version": child.graph.version,
        "input_schema": schema,
        "output_schema": {"type": "object", "properties": {"out": {}}},
        "inputs": {},
    }
    return make_agent(
        owner,
        {"in": (b.TAKE, {"name": "in"}), "run": (AgentExecutor.id, values), "out": (b.GIVE, {"name": "out"})},
        [("in.out", "run.in"), ("run.out", "out.value")],
    )


def test_an_agent_runs_agents_and_keeps_no_place_meanwhile(owner, runs, settings):
    runs.worker._places._free = 1  # one place for four runs that wait for one another
    agent = family(owner, 3)
    run = start(agent, {"in": "deep"})
    until(lambda: b.LOG)
    b.GATE.set()

    assert wait_for(run.pk).status == "COMPLETED"
    assert outputs(run) == {"out": ["deep"]}
    assert sorted(Execution.objects.values_list("depth", flat=True)) == [0, 1, 2, 3]
    assert set(Execution.objects.values_list("root_id", flat=True)) == {run.pk}
    until(lambda: not runs.worker._running)
    assert runs.worker._places._free == 1


def test_a_stop_goes_down_a_tree_of_three_levels(owner, runs):
    agent = family(owner, 2)
    run = start(agent, {"in": 1})
    until(lambda: b.LOG)
    owner.client.post(f"{BASE}/executions/{run.pk}/cancel")
    wait_for(run.pk)

    until(lambda: set(Execution.objects.values_list("status", flat=True)) == {"TERMINATED"})
    assert Execution.objects.count() == 3


@pytest.mark.django_db
def test_runs_below_are_stopped_before_those_above(owner, monkeypatch, django_capture_on_commit_callbacks):
    agent = make_agent(owner, {"one": (b.ADD, {})})
    tree: list[Execution] = []
    for status in ("RUNNING", "RUNNING", "REVIEW", "QUEUED"):
        above = tree[-1] if tree else None
        root = tree[0].pk if tree else uuid.uuid4()
        tree.append(
            Execution.objects.create(
                **({} if above else {"id": root}), user=owner.user, graph=agent.graph, parent=above, root_id=root,
                status=status,
            )
        )  # fmt: skip
    over = Execution.objects.create(
        user=owner.user, graph=agent.graph, parent=tree[0], root_id=tree[0].pk, status="COMPLETED"
    )
    told: list[tuple[str, uuid.UUID]] = []
    monkeypatch.setattr("apps.library.executor.announce.wake_stop", lambda run_id: told.append(("stop", run_id)))
    monkeypatch.setattr("apps.library.executor.announce.tell_end", lambda run_id: told.append(("end", run_id)))

    with django_capture_on_commit_callbacks(execute=True):
        cancel_execution(execution_id=tree[0].pk)

    top, middle, asking, queued = (run.pk for run in tree)
    assert told == [("end", queued), ("end", asking), ("stop", middle), ("stop", top)]
    rows_now = dict(Execution.objects.values_list("pk", "status"))
    assert [rows_now[pk] for pk in (top, middle, asking, queued)] == ["RUNNING", "RUNNING", "TERMINATED", "TERMINATED"]
    assert Execution.objects.filter(cancel_requested_at=None).get().pk == over.pk


def test_an_end_that_is_told_before_the_first_look_is_heard():
    async def wait() -> None:
        waits = Waits()
        gone = uuid.uuid4()
        waiting = asyncio.create_task(waits.until_over(gone))
        await asyncio.sleep(0)
        waits.hear(gone)
        waiting.cancel()
        await waits.aclose()

    asyncio.run(wait())


@pytest.mark.django_db
@pytest.mark.parametrize("end", ["FAILED", "TERMINATED"])
def test_an_end_that_is_no_completion_takes_runs_below_and_questions_along(owner, end):
    agent = make_agent(owner, {"one": (b.ADD, {})})
    row = {"user": owner.user, "graph": agent.graph}
    run = Execution.objects.create(root_id=uuid.uuid4(), **row)
    claim = Execution.objects.claim(run.pk, runner="test", lease_seconds=15)
    assert claim is not None
    queued, running = (
        Execution.objects.create(parent=run, root_id=run.root_id, status=status, **row)
        for status in ("QUEUED", "RUNNING")
    )
    asking = NodeExecution.objects.create(execution=run, node_id=agent.node_ids["one"], number=1, status="REVIEW")
    review = Review.objects.create(node_execution=asking, execution=run, user=owner.user, payload=1)

    rows.commit(claim, 1, rows.Write(user_id=owner.user.pk, end=end, error=("broken", "It broke.")))

    for each in (run, queued, running, review):
        each.refresh_from_db()
    assert (run.status, run.error_code) == (end, "broken")
    assert queued.status == "TERMINATED"
    assert (running.status, running.cancel_requested_at is None) == ("RUNNING", False)
    assert review.status == "REJECTED"


@pytest.mark.django_db
def test_a_run_that_is_being_stopped_starts_none_below(owner):
    child = make_agent(owner, {"in": (b.TAKE, {"name": "in"})})
    run = start(parent_of(owner, child), {"in": 1})
    Execution.objects.filter(pk=run.pk).update(status="RUNNING", cancel_requested_at=timezone.now())
    facts = load(run.pk)
    assert facts is not None

    with pytest.raises(BlockError, match="being stopped"):
        start_child(
            facts,
            uuid.uuid4(),
            graph_id=str(child.graph_id_shared),
            graph_version=1,
            inputs={"in": 1},
            node_input_masks=None,
        )
    assert not Execution.objects.filter(parent=run).exists()


def test_a_run_whose_block_is_gone_meanwhile_fails_by_its_name(owner, runs):
    agent = make_agent(owner, {"gone": ("no-such-block", {})})
    run = Execution.objects.create(user=owner.user, graph=agent.graph, root_id=uuid.uuid4())
    runs.thread.call(runs.worker.offer(run.pk))

    run = wait_for(run.pk)
    assert (run.status, run.error_code) == ("FAILED", "graph_invalid")
    assert "no-such-block" in run.error


def test_agents_run_agents_only_so_deep(owner, runs, monkeypatch):
    monkeypatch.setattr("apps.library.executor.agents.MOST_DEPTH", 1)
    b.GATE.set()
    run = start(family(owner, 2), {"in": 1})

    assert wait_for(run.pk).status == "COMPLETED"
    child = Execution.objects.get(parent=run)
    assert "at most 1 deep" in NodeExecution.objects.get(execution=child, status="FAILED").error


def test_a_child_that_cannot_start_fails_the_node_that_runs_it(owner, runs):
    child = make_agent(owner, {"in": (b.TAKE, {"name": "in"}), "paid": (b.PAID, {})}, [("in.out", "paid.value")])
    run = start(parent_of(owner, child), {"in": 1})

    assert wait_for(run.pk).status == "COMPLETED"
    failed = NodeExecution.objects.get(execution=run, status="FAILED")
    assert failed.error.startswith("The agent can't run: This agent costs credits, and you have too few")


# Reviews


def reviewed(owner: Any, **fields: Any) -> Any:
    return make_agent(
        owner,
        {
            "each": (b.EACH, {"items": ["x", "y"]}),
            "ask": (HumanInTheLoop.id, {"name": "Look at this"}),
            "yes": (b.GIVE, {"name": "yes"}),
            "no": (b.GIVE, {"name": "no"}),
            "rest": (b.GIVE, {"name": "rest", "value": 1}),
        },
        [("each.item", "ask.data"), ("ask.approved_data", "yes.value"), ("ask.rejected_data", "no.value")],
        **fields,
    )


def decide(person: Any, *decisions: dict[str, Any]) -> Any:
    return person.client.post(f"{BASE}/reviews/actions", {"reviews": list(decisions)}, format="json")


def test_a_run_waits_for_people_and_goes_on_by_itself(owner, runs):
    run = start(reviewed(owner))

    assert wait_for(run.pk, "REVIEW").lease_expires_at is None
    assert outputs(run) == {"rest": [1]}, "the rest of the graph goes on meanwhile"
    first, second = Review.objects.order_by("node_execution__number")
    assert (first.payload, first.instructions, first.status) == ("x", "Look at this", "WAITING")
    answer = decide(owner, {"node_execution_id": str(first.pk), "approved": True, "reviewed_data": "X"})
    assert answer.status_code == 200, answer.json()
    assert Execution.objects.get().status == "REVIEW", "one still waits"
    decide(owner, {"node_execution_id": str(second.pk), "approved": False, "message": "no"})

    assert wait_for(run.pk).status == "COMPLETED"
    assert outputs(run) == {"rest": [1], "yes": ["X"], "no": ["y"]}


def test_approving_all_further_ones_lets_later_ones_pass(owner, runs):
    run = start(reviewed(owner))
    wait_for(run.pk, "REVIEW")
    first = Review.objects.order_by("node_execution__number").first()
    assert (
        decide(owner, {"node_execution_id": str(first.pk), "approved": True, "auto_approve_future": True}).status_code
        == 200
    )

    assert wait_for(run.pk).status == "COMPLETED"
    assert sorted(outputs(run)["yes"]) == ["x", "y"]


def test_without_safe_mode_nobody_is_asked(owner, runs):
    agent = reviewed(owner, settings={"human_in_the_loop_safe_mode": False})
    run = start(agent)

    assert wait_for(run.pk).status == "COMPLETED"
    assert outputs(run)["yes"] == ["x", "y"]
    assert not Review.objects.exists()


def test_a_sensitive_block_asks_when_the_agent_says_so(owner, runs):
    agent = make_agent(
        owner,
        {"send": (b.SENSITIVE, {"value": "draft"}), "out": (b.GIVE, {"name": "out"})},
        [("send.out", "out.value")],
        settings={"sensitive_action_safe_mode": True},
    )
    run = start(agent)
    wait_for(run.pk, "REVIEW")
    assert b.LOG == []
    review = Review.objects.get()
    assert review.payload == {"value": "draft"}
    decide(owner, {"node_execution_id": str(review.pk), "approved": True, "reviewed_data": {"value": "final"}})

    assert wait_for(run.pk).status == "COMPLETED"
    assert b.LOG == [("sent", "final")]
    run = start(agent)
    wait_for(run.pk, "REVIEW")
    decide(
        owner,
        {"node_execution_id": str(Review.objects.get(status="WAITING").pk), "approved": False, "message": "never"},
    )
    assert wait_for(run.pk).status == "COMPLETED"
    assert NodeExecution.objects.get(execution=run, status="FAILED").error == "A person rejected this. never"
    assert b.LOG == [("sent", "final")]


def test_a_run_that_waits_for_people_stops_at_once(owner, runs):
    run = start(reviewed(owner))
    wait_for(run.pk, "REVIEW")
    assert owner.client.post(f"{BASE}/executions/{run.pk}/cancel").json()["status"] == "TERMINATED"

    assert not Review.objects.filter(status="WAITING").exists()
    assert "REVIEW" not in statuses(run)


# Runners


def test_a_run_is_handed_over_when_its_process_stops(owner, runs, settings):
    from apps.library import process

    agent = make_agent(
        owner,
        {
            "each": (b.EACH, {"items": list(range(5))}),
            "wait": (b.WAIT, {"seconds": 0.3}),
            "out": (b.GIVE, {"name": "o"}),
        },
        [("each.item", "wait.value"), ("wait.out", "out.value")],
    )
    settings.NODE_CONCURRENCY = 1
    run = start(agent)
    until(lambda: b.LOG)
    process.stop(5)
    left = Execution.objects.get(pk=run.pk)
    assert (left.status, left.runner) == ("RUNNING", "")
    assert not NodeExecution.objects.filter(status="RUNNING").exists(), "it came to a good place first"
    process.start()

    run = wait_for(run.pk)
    assert (run.status, run.lost_leases, run.attempt) == ("COMPLETED", 0, 2)
    assert outputs(run) == {"o": [0, 1, 2, 3, 4]}
    assert len([1 for what, _ in b.LOG if what == "start"]) == 5


def test_a_worker_that_stops_ends_its_child_processes(owner, runs):
    agent = make_agent(
        owner,
        {"fill": (FillTextTemplate.id, {"values": {"a": 1}, "format": "{{ a }}"}), "out": (b.GIVE, {"name": "out"})},
        [("fill.output", "out.value")],
    )
    assert outputs(wait_for(start(agent).pk)) == {"out": ["1"]}
    child = runs.thread.call(run_in_child(child_work.pid, timeout_seconds=5))
    os.kill(child, 0)
    worker_shutdown.send(sender=None)

    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_runner_that_was_replaced_writes_nothing(owner, transactional_db):
    agent = make_agent(owner, {"gate": (b.GATED, {}), "out": (b.GIVE, {"name": "o"})}, [("gate.out", "out.value")])
    run = start(agent)

    async def both() -> None:
        kind = GraphKind()
        try:
            frozen = await db(kind.claim, run.pk, "frozen")
            task = asyncio.create_task(kind.run(frozen, Signals()))
            while not b.LOG:
                await asyncio.sleep(0.01)
            await db(Execution.objects.filter(pk=run.pk).update, lease_expires_at=timezone.now() - timedelta(seconds=9))
            newer = await db(kind.claim, run.pk, "newer")
            second = asyncio.create_task(kind.run(newer, Signals()))
            await second
            b.GATE.set()
            with pytest.raises(Replaced):
                await task
        finally:
            await kind.waits.aclose()
            await kind.redis.aclose()

    asyncio.run(both())
    run.refresh_from_db()
    assert (run.status, run.lost_leases) == ("COMPLETED", 1)
    [gate] = NodeExecution.objects.filter(execution=run, node=agent.node_ids["gate"])
    assert (gate.status, gate.error) == ("FAILED", run_module.INTERRUPTED_SENTENCE)
    assert NodeOutput.objects.filter(pin="out").count() == 0


def test_static_values_outlive_the_runner_that_routed_them(owner, transactional_db):
    agent = make_agent(
        owner,
        {
            "keep": (b.KEEP, {"value": 10}),
            "first": (b.GIVE, {"name": "first", "value": 1}),
            "add": (b.ADD, {}),
            "gate": (b.GATED, {}),
            "out": (b.GIVE, {"name": "out"}),
        },
        [
            ("keep.out", "add.a"),
            ("first.output", "add.b"),
            ("add.out", "gate.value"),
            ("gate.error", "add.b"),
            ("add.out", "out.value"),
        ],
    )
    run = start(agent)

    async def both() -> None:
        kind = GraphKind()
        try:
            first = asyncio.create_task(kind.run(await db(kind.claim, run.pk, "first"), Signals()))
            while not b.LOG:
                await asyncio.sleep(0.01)
            await db(Execution.objects.filter(pk=run.pk).update, lease_expires_at=timezone.now() - timedelta(seconds=9))
            await kind.run(await db(kind.claim, run.pk, "second"), Signals())
            b.GATE.set()
            with pytest.raises(Replaced):
                await first
        finally:
            await kind.waits.aclose()
            await kind.redis.aclose()

    asyncio.run(both())
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("COMPLETED", 2)
    later = NodeExecution.objects.filter(execution=run, node=agent.node_ids["add"]).order_by("number").last()
    assert later.input_data == {"a": 10, "b": run_module.INTERRUPTED}


def test_of_four_claimers_one_gets_the_run(owner, transactional_db):
    agent = make_agent(owner, {"one": (b.ADD, {})})
    for _ in range(10):
        run = start(agent)
        claims: list[Claim | None] = []

        def claim(run_id: uuid.UUID = run.pk, claims: list[Any] = claims) -> None:
            claims.append(Execution.objects.claim(run_id, runner=uuid.uuid4().hex, lease_seconds=15))
            connection.close()

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([found for found in claims if found is not None]) == 1


def test_a_run_is_given_up_when_its_runners_keep_dying(owner, runs):
    agent = make_agent(owner, {"one": (b.ADD, {})})
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    wait_for(run.pk)
    lost = Execution.objects.create(user=owner.user, graph=agent.graph, root_id=uuid.uuid4(), lost_leases=4)
    runs.thread.call(runs.worker.offer(lost.pk))

    lost = wait_for(lost.pk)
    assert (lost.status, lost.error_code) == ("FAILED", "lost_runners")


@pytest.mark.django_db
@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("after", list(Status))
def test_rows_change_status_only_along_the_table(owner, before, after):
    agent = make_agent(owner, {"one": (b.ADD, {})})
    run = Execution.objects.create(user=owner.user, graph=agent.graph, root_id=uuid.uuid4(), status=before)
    node = NodeExecution.objects.create(execution=run, node_id=agent.node_ids["one"], number=1, status=before)

    moved = Execution.objects.filter(pk=run.pk).move(after)
    assert bool(moved) == (before in REACHED_FROM[after])
    write = rows.NodeWrite(id=node.pk, node_id=node.node_id, number=1, before=before, status=after)
    via_running = before in REACHED_FROM[Status.RUNNING] and Status.RUNNING in REACHED_FROM[after]
    if before in REACHED_FROM[after] or via_running or before == after:
        rows.update_nodes([write])
        node.refresh_from_db()
        assert node.status == after
    else:
        with pytest.raises((Replaced, AssertionError)):
            rows.update_nodes([write])


# Crashes


class SimulatedCrash(BaseException):
    """The process died here."""


class Fate:
    """At a chosen commit the process dies, before it or right after it."""

    def __init__(self, dies_at: int | None, *, after: bool = False) -> None:
        self.dies_at, self.after = dies_at, after
        self.count = 0
        self.dead = False

    def point(self, *, after: bool) -> None:
        if not after:
            self.count += 1
        if self.count == self.dies_at and after == self.after:
            self.dead = True
        if self.dead:
            raise SimulatedCrash


@pytest.fixture
def fates(monkeypatch) -> dict[str, Fate]:
    now = {"fate": Fate(None)}
    real = commits_module.db_until_done

    async def commit(*args: Any) -> Any:
        fate = now["fate"]
        fate.point(after=False)
        answer = await real(*args)
        fate.point(after=True)
        return answer

    async def write_for_ever(self: Any) -> None:
        try:
            await original(self)
        except SimulatedCrash as crash:
            self.failure = crash
            self._on_trouble()

    original = commits_module.Commits._write_for_ever
    monkeypatch.setattr(commits_module, "db_until_done", commit)
    monkeypatch.setattr(commits_module.Commits, "_write_for_ever", write_for_ever)
    monkeypatch.setattr(commits_module, "GATHER_SECONDS", 0.001)
    monkeypatch.setattr("apps.library.executor.worker.FLUSH_SECONDS", 0.3)
    return now


NODES = st.lists(st.sampled_from(["add", "once", "each", "fail", "paid"]), min_size=1, max_size=7)


@given(
    kinds=NODES,
    parents=st.lists(st.integers(0, 6), min_size=7, max_size=7),
    deaths=st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=3),
)
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=25)
def test_completed_nodes_never_run_again_wherever_runners_die(fates, owner, transactional_db, kinds, parents, deaths):
    from apps.billing.models import CreditTransaction
    from apps.billing.services import grant

    b.LOG.clear()
    grant(user_id=owner.user.pk, amount_cents=1000, key=uuid.uuid4().hex)
    spent_before = sum(CreditTransaction.objects.filter(type="USAGE").values_list("amount_cents", flat=True))
    ids = {"add": b.ADD, "once": b.ONCE, "each": b.EACH, "fail": b.FAIL, "paid": b.PAID}
    pins = {"add": "a", "once": "value", "each": "items", "fail": "value", "paid": "value"}
    nodes: dict[str, Any] = {"n": (b.EACH, {"items": [1, 2]})}
    links = []
    for place, kind in enumerate(kinds):
        nodes[f"n{place}"] = (ids[kind], {})
        parent = parents[place] % (place + 1)
        source = f"n{parent - 1}" if parent else "n"
        pin = "item" if nodes[source][0] == b.EACH else "out"
        links.append((f"{source}.{pin}", f"n{place}.{pins[kind]}"))
    agent = make_agent(owner, nodes, links)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})

    async def play() -> None:
        kind = GraphKind()
        try:
            for fate in [*(Fate(at, after=after) for at, after in deaths), Fate(None)]:
                claim = await db(kind.claim, run.pk, "test")
                if claim is None:
                    break
                fates["fate"] = fate
                with suppress(SimulatedCrash):
                    async with asyncio.timeout(20):
                        await kind.run(claim, Signals())
                await db(
                    Execution.objects.filter(pk=run.pk, status=Status.RUNNING).update,
                    lease_expires_at=timezone.now() - timedelta(seconds=60),
                )
        finally:
            await kind.waits.aclose()
            await kind.redis.aclose()

    asyncio.run(play())

    run.refresh_from_db()
    assert run.status == "COMPLETED", (run.error_code, run.error)
    left = set(NodeExecution.objects.filter(execution=run).values_list("status", flat=True))
    assert left <= {"COMPLETED", "FAILED", "INCOMPLETE"}
    ran = [node_execution_id for what, node_execution_id in b.LOG if what == "once"]
    assert len(ran) == len(set(ran)), "a block that isn't idempotent ran twice"
    interrupted = NodeExecution.objects.filter(execution=run, error=run_module.INTERRUPTED_SENTENCE)
    assert not interrupted.filter(node__block_id__in=[b.ADD, b.EACH]).exclude(outputs__pin="out").exists() or deaths
    if not deaths:
        assert not interrupted.exists()
    # Every stored value reached each sink of its node, once.
    for node_run in NodeExecution.objects.filter(execution=run).prefetch_related("outputs"):
        positions = [output.position for output in sorted(node_run.outputs.all(), key=lambda found: found.position)]
        assert positions == list(range(len(positions)))
    # Charges: one line a paid node run that ended otherwise than by an interruption.
    paid = NodeExecution.objects.filter(execution=run, node__block_id=b.PAID, charged_cents__gt=0)
    spent = sum(CreditTransaction.objects.filter(type="USAGE").values_list("amount_cents", flat=True)) - spent_before
    assert -spent == 3 * paid.count() == run.cost_cents
