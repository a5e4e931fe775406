"""An agent that is deleted while something starts it: either nothing starts, or what has started is stopped."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.library.errors import BlockError
from apps.library.executor import agents, announce
from apps.library.executor.load import load
from apps.library.executor.services import run_agent
from apps.library.executor.start import start_execution
from apps.library.graphs.services import delete_agent
from apps.library.models import Execution, Graph, LibraryAgent, Schedule, Webhook
from apps.library.schedules import fire
from apps.library.schedules import services as schedules
from apps.library.webhooks import deliver
from apps.library.webhooks.calls import Call
from apps.runtime.errors import NotFound
from tests.billing.crowds import at_once
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent
from tests.library.webhooks.callers import TRIGGER

ROUNDS = 12


@pytest.fixture(autouse=True)
def no_workers(monkeypatch, transactional_db):
    monkeypatch.setattr(announce, "wake_worker", lambda execution_id: None)


def plain(person: Any) -> LibraryAgent:
    return make_agent(person, {"add": (b.ADD, {})})


def deletion(agent: LibraryAgent) -> Any:
    return lambda: delete_agent(user_id=agent.user_id, agent_id=agent.pk)


def check(agent: LibraryAgent, *, started: bool) -> None:
    """Check that no run of a deleted agent goes on, and that its graph is there only where a run needs it."""
    assert not LibraryAgent.objects.filter(pk=agent.pk).exists()
    runs = Execution.objects.filter(graph__graph_id=agent.graph_id_shared)
    assert set(runs.values_list("status", flat=True)) == ({"TERMINATED"} if started else set())
    assert Graph.objects.filter(graph_id=agent.graph_id_shared).exists() is started


def test_a_start_and_a_deletion_follow_one_another(owner):
    for _ in range(ROUNDS):
        agent = plain(owner)

        def start(agent: LibraryAgent = agent) -> Execution:
            return start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={})

        run, gone = at_once([start, deletion(agent)])
        assert gone is None
        assert isinstance(run, (Execution, NotFound)), run
        check(agent, started=isinstance(run, Execution))


def test_a_deleted_agent_is_not_found(owner):
    agent = plain(owner)
    deletion(agent)()
    with pytest.raises(NotFound):
        run_agent(
            user_id=owner.user.pk,
            agent=agent,
            inputs={},
            credential_inputs={},
            preset_id=None,
            graph_version=None,
            dry_run=False,
        )
    check(agent, started=False)


def test_a_start_does_not_count_as_a_change_of_the_agent(owner):
    agent = plain(owner)
    agent.refresh_from_db()
    start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={})

    assert LibraryAgent.objects.get(pk=agent.pk).updated_at == agent.updated_at


def test_due_schedules_and_deletions_do_not_wait_for_one_another_for_ever(owner):
    for _ in range(ROUNDS):
        agent = plain(owner)
        due = timezone.now() - timedelta(seconds=5)
        schedule = Schedule.objects.create(
            user=agent.user, agent=agent, name="x", run_at=due, next_run_at=due, time_zone="UTC"
        )

        def change(agent: LibraryAgent = agent, schedule: Schedule = schedule) -> Any:
            return schedules.update_schedule(user_id=agent.user_id, schedule_id=schedule.pk, inputs={"a": 1})

        fired, changed, gone = at_once([fire.fire_due_schedules, change, deletion(agent)])
        assert gone is None, gone
        assert fired in (0, 1), fired
        assert isinstance(changed, (Schedule, NotFound)), changed
        check(agent, started=Execution.objects.filter(graph__graph_id=agent.graph_id_shared).exists())


def test_deliveries_and_deletions_do_not_wait_for_one_another_for_ever(owner):
    for _ in range(ROUNDS):
        agent = make_agent(owner, {"hook": (TRIGGER, {})})
        webhook = Webhook.objects.create(user=agent.user, agent=agent, path_hash=uuid.uuid4().hex)
        call = Call(delivery_id="d", payload={})

        def take(webhook: Webhook = webhook, call: Call = call) -> Any:
            return deliver.take_delivery(webhook, call)

        taken, gone = at_once([take, deletion(agent)])
        assert gone is None, gone
        assert isinstance(taken, (deliver.Taken, NotFound)), taken
        check(agent, started=isinstance(taken, deliver.Taken))


def test_an_agent_that_runs_itself_may_be_deleted_meanwhile(owner):
    for _ in range(ROUNDS):
        agent = plain(owner)
        parent = start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={})
        Execution.objects.filter(pk=parent.pk).update(status="RUNNING", lease_expires_at=timezone.now())
        facts = load(parent.pk)
        assert facts is not None
        which = {"graph_id": str(agent.graph.graph_id), "graph_version": 1, "inputs": {}, "node_input_masks": None}

        def start(facts: Any = facts, which: Any = which) -> Any:
            return agents.start_child(facts, uuid.uuid4(), **which)

        child, gone = at_once([start, deletion(agent)])
        assert gone is None, gone
        assert isinstance(child, (uuid.UUID, BlockError)), child
        left = Execution.objects.filter(graph__graph_id=agent.graph_id_shared).exclude(status="TERMINATED")
        assert [run.pk for run in left] == [parent.pk]
        assert left[0].cancel_requested_at is not None
