"""Running agents over REST: three people, pages, counts of queries, events."""

from __future__ import annotations

import json
import threading
import time
import uuid
from typing import Any

import httpx2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.library.blocks.special import AgentExecutor
from apps.library.executor.events import log_key
from apps.library.executor.start import start_execution
from apps.library.models import Execution, Node, Preset
from apps.runtime.redis import sync_client
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, until, wait_for
from tests.library.executor.test_life import parent_of

BASE = "/api/library"


def adder(person: Any, **fields: Any) -> Any:
    return make_agent(
        person,
        {"a": (b.TAKE, {"name": "a"}), "add": (b.ADD, {"b": 1}), "sum": (b.GIVE, {"name": "sum"})},
        [("a.out", "add.a"), ("add.out", "sum.value")],
        **fields,
    )


def test_a_run_over_rest(owner, runs):
    agent = adder(owner)

    started = owner.client.post(f"{BASE}/agents/{agent.pk}/run", {"inputs": {"a": 4}}, format="json")

    assert started.status_code == 201, started.json()
    assert started.json()["status"] == "QUEUED"
    wait_for(started.json()["id"])
    shown = owner.client.get(f"{BASE}/executions/{started.json()['id']}").json()
    assert shown["status"] == "COMPLETED"
    assert shown["outputs"] == {"sum": [5.0]}
    assert shown["nodes_total"] == 3
    assert [node["output_data"] for node in shown["nodes"]] == [
        {"out": [{"value": 4}]},
        {"out": [{"value": 5.0}]},
        {"output": [{"value": 5.0}]},
    ]
    assert shown["nodes"][1]["input_data"] == {"a": {"value": 4}}


@pytest.mark.django_db
def test_foreign_and_unknown_ids_answer_alike(owner, teammate, stranger):
    agent = adder(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={"a": 1})
    for method, path in [
        ("post", f"agents/{agent.pk}/run"),
        ("get", f"agents/{agent.pk}/estimate"),
        ("get", f"executions/{run.pk}"),
        ("post", f"executions/{run.pk}/cancel"),
        ("get", f"executions/{run.pk}/events"),
    ]:
        unknown = path.replace(str(agent.pk), str(uuid.uuid4())).replace(str(run.pk), str(uuid.uuid4()))
        foreign = getattr(teammate.client, method)(f"{BASE}/{path}", {}, format="json")
        missing = getattr(teammate.client, method)(f"{BASE}/{unknown}", {}, format="json")
        assert (
            (foreign.status_code, foreign.json())
            == (missing.status_code, missing.json())
            == (
                404,
                {"detail": "Not found."},
            )
        )
        assert getattr(stranger.client, method)(f"{BASE}/{path}", {}, format="json").status_code == 401
    assert teammate.client.get(f"{BASE}/executions").json() == {"executions": [], "total": 0}


@pytest.mark.django_db
def test_bad_inputs_and_presets(owner, teammate):
    agent = adder(owner)
    other = adder(owner)
    foreign = Preset.objects.create(user=owner.user, agent=other, name="other", inputs={"a": 1})
    post = lambda body: owner.client.post(f"{BASE}/agents/{agent.pk}/run", body, format="json")  # noqa: E731

    missing = post({})
    assert (missing.status_code, missing.json()["code"]) == (400, "inputs_invalid")
    assert missing.json()["problems"] == {"a": "A value is missing."}
    assert post({"inputs": {"a": 1}, "preset_id": str(foreign.pk)}).status_code == 404
    assert post({"inputs": {"a": 1}, "graph_version": 7}).status_code == 404
    assert post({"inputs": {"a": 1}, "nonsense": 1}).status_code == 400
    mine = Preset.objects.create(user=owner.user, agent=agent, name="mine", inputs={"a": 1})
    assert post({"preset_id": str(mine.pk)}).status_code == 201
    run = Execution.objects.get()
    assert (run.inputs, run.preset) == ({"a": 1}, mine)


@pytest.mark.django_db
def test_very_many_runs_are_not_counted_to_their_end(owner, monkeypatch):
    monkeypatch.setattr("apps.library.executor.queries.MOST_COUNTED", 2)
    agent = adder(owner)
    for _ in range(3):
        start_execution(user_id=owner.user.pk, graph=agent.graph, agent=agent, inputs={"a": 1})

    page = owner.client.get(f"{BASE}/executions?limit=1&offset=2").json()

    assert (len(page["executions"]), page["total"]) == (1, 2)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_lists_ask_the_database_a_constant_number_of_times(owner, count):
    agent = adder(owner)
    for _ in range(count):
        run = start_execution(user_id=owner.user.pk, graph=agent.graph, agent=agent, inputs={"a": 1})
    owner.client.get(f"{BASE}/executions")  # the first use of a key is noted

    with CaptureQueriesContext(connection) as asked:
        page = owner.client.get(f"{BASE}/executions?agent_id={agent.pk}&status=QUEUED").json()
    assert page["total"] == len(page["executions"]) == count
    assert len(asked) == 3, "who asks, the page, how many"
    with CaptureQueriesContext(connection) as asked:
        owner.client.get(f"{BASE}/executions/{run.pk}")
    assert len(asked) == 5, "who asks, the run, node runs, how many, outputs"


@pytest.mark.django_db
def test_runs_are_listed_newest_first_and_by_what_is_asked(owner):
    agent, other = adder(owner), adder(owner)
    first, second, third = (
        start_execution(user_id=owner.user.pk, graph=agent.graph, agent=chosen, inputs={"a": 1})
        for chosen in (agent, other, agent)
    )
    child = start_execution(
        user_id=owner.user.pk, graph=agent.graph, inputs={"a": 1}, parent=first, parent_node_execution_id=uuid.uuid4()
    )
    for place, run in enumerate((first, second, third, child)):
        Execution.objects.filter(pk=run.pk).update(created_at=f"2026-01-0{place + 1}T00:00:00Z")
    ids = lambda query: [  # noqa: E731
        row["id"] for row in owner.client.get(f"{BASE}/executions{query}").json()["executions"]
    ]

    assert ids("") == [str(run.pk) for run in (third, second, first)]
    assert ids("?limit=1&offset=1") == [str(second.pk)]
    assert ids(f"?agent_id={agent.pk}") == [str(run.pk) for run in (third, first)]
    assert ids("?with_children=true")[0] == str(child.pk)
    assert ids("?status=COMPLETED") == []


@pytest.mark.django_db
def test_a_cancelled_run_cannot_be_cancelled_again(owner):
    agent = adder(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={"a": 1})

    stopped = owner.client.post(f"{BASE}/executions/{run.pk}/cancel")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "TERMINATED")
    again = owner.client.post(f"{BASE}/executions/{run.pk}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "wrong_state")


@pytest.mark.django_db
def test_an_estimate_tells_what_is_certain_and_what_is_counted(owner):
    agent = make_agent(
        owner,
        {
            "one": (b.PAID, {}),
            "two": (b.PAID, {"value": 7}),
            "free": (b.PAID, {"value": "free"}),
            "tokens": (b.METERED, {"kind": "tokens"}),
        },
    )

    told = owner.client.get(f"{BASE}/agents/{agent.pk}/estimate").json()

    assert told == {
        "certain_cents": 6,
        "certain_microdollars": 60_000,
        "counted": [{"type": "tokens", "amount_microdollars": 100, "nodes": 1}],
    }


@pytest.mark.django_db
def test_an_estimate_holds_what_agents_below_cost_as_often_as_they_run(owner):
    child = make_agent(
        owner, {"in": (b.TAKE, {"name": "in"}), "paid": (b.PAID, {}), "by": (b.METERED, {"kind": "items"})}
    )
    middle = parent_of(owner, child)
    Node.objects.create(
        graph=middle.graph,
        position=9,
        block_id=AgentExecutor.id,
        input_default=Node.objects.get(pk=middle.node_ids["run"]).input_default,
    )
    top = parent_of(owner, middle)
    runs_top = {**Node.objects.get(pk=top.node_ids["run"]).input_default, "graph_id": str(top.graph_id_shared)}
    Node.objects.create(graph=child.graph, position=9, block_id=AgentExecutor.id, input_default=runs_top)  # a loop

    told = owner.client.get(f"{BASE}/agents/{top.pk}/estimate").json()

    assert told == {
        "certain_cents": 6,
        "certain_microdollars": 60_000,
        "counted": [{"type": "items", "amount_microdollars": 4_000, "nodes": 2}],
    }


class Reader(threading.Thread):
    """Follows a run over real HTTP."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.url, self.headers = url, headers
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.is_done = False
        self.start()

    def run(self) -> None:
        event_id = ""
        with httpx2.stream("GET", self.url, headers=self.headers, timeout=30) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    event_id = line[4:]
                elif line == "data: [DONE]":
                    self.is_done = True
                elif line.startswith("data: "):
                    self.events.append((event_id, json.loads(line[6:])))

    def kinds(self) -> list[str]:
        return [told["type"] for _, told in self.events]


def gated(person: Any) -> Any:
    return make_agent(
        person,
        {"first": (b.ADD, {"a": 1}), "gate": (b.GATED, {}), "out": (b.GIVE, {"name": "out"})},
        [("first.out", "gate.value"), ("gate.out", "out.value")],
    )


def test_events_tell_a_run_from_where_it_is_to_its_end(web_server, owner, runs):
    agent = gated(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    until(lambda: b.LOG)
    reader = Reader(f"{web_server.url}{BASE}/executions/{run.pk}/events", owner.headers)
    until(lambda: reader.events)
    b.GATE.set()
    until(lambda: reader.is_done)

    first = reader.events[0][1]
    assert first["type"] == "snapshot"
    assert {node["node_id"]: node["status"] for node in first["nodes"]} == {
        str(agent.node_ids["first"]): "COMPLETED",
        str(agent.node_ids["gate"]): "RUNNING",
    }
    told = {}
    for _, event in reader.events[1:]:
        for node in event.get("nodes", ()):
            told[node.get("node_id")] = node
    assert told[str(agent.node_ids["out"])]["status"] == "COMPLETED"
    assert reader.events[-2][1]["outputs"] == {"out": [{"value": 1.0}]}, "the rows once more before the end"
    assert reader.events[-1][1] == {
        "type": "end",
        "run": {"status": "COMPLETED", "node_count": 3, "node_error_count": 0, "cost_cents": 0, "error": ""},
    }
    # A reader that comes back gets only what it lacks; one that comes late gets the rows and the end.
    place = reader.events[0][0]
    again = Reader(f"{web_server.url}{BASE}/executions/{run.pk}/events?after={place}", owner.headers)
    until(lambda: again.is_done)
    assert again.kinds()[-1] == "end"
    late = Reader(f"{web_server.url}{BASE}/executions/{run.pk}/events", owner.headers)
    until(lambda: late.is_done)
    assert late.kinds() == ["snapshot", "end"]


def test_readers_get_the_rows_anew_when_redis_was_emptied(web_server, owner, runs, monkeypatch):
    monkeypatch.setattr("apps.library.executor.follow.SILENCE_SECONDS", 0.3)
    agent = gated(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    until(lambda: b.LOG)
    reader = Reader(f"{web_server.url}{BASE}/executions/{run.pk}/events", owner.headers)
    until(lambda: reader.events)
    sync_client().delete(log_key(run.pk))
    time.sleep(0.1)
    b.GATE.set()
    until(lambda: reader.is_done)

    assert reader.kinds()[-1] == "end"
    assert reader.events[-2][1]["outputs"] == {"out": [{"value": 1.0}]}


def test_a_bad_place_is_refused(owner, runs):
    agent = adder(owner)
    run = start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={"a": 1})

    assert owner.client.get(f"{BASE}/executions/{run.pk}/events?after=soon").status_code == 400
