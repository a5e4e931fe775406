"""Runs of agents by the real worker loop: values, order, failures, limits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from apps.library.errors import GraphInvalid, InputsInvalid
from apps.library.executor import commits, rows
from apps.library.executor import run as run_module
from apps.library.executor.outputs import grouped, values_by_name
from apps.library.executor.start import start_execution
from apps.library.models import Execution, NodeExecution, NodeOutput, Review
from tests.library.executor import blocks as b
from tests.library.executor.conftest import make_agent, wait_for
from tests.library.executor.test_life import family


def run_agent(
    agent: Any, inputs: dict[str, Any] | None = None, *, status: str = "COMPLETED", **fields: Any
) -> Execution:
    started = start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs=inputs or {}, **fields)
    run = wait_for(started.pk)
    assert run.status == status, (run.error_code, run.error)
    return run


def outputs(run: Execution) -> dict[str, list[Any]]:
    return grouped(values_by_name(run))


def nodes_of(run: Execution, agent: Any, name: str) -> list[NodeExecution]:
    return list(NodeExecution.objects.filter(execution=run, node=agent.node_ids[name]).order_by("number"))


def test_a_run_adds_its_inputs(owner, runs):
    agent = make_agent(
        owner,
        {
            "a": (b.TAKE, {"name": "a"}),
            "b": (b.TAKE, {"name": "b", "value": 5}),
            "add": (b.ADD, {}),
            "sum": (b.GIVE, {"name": "sum"}),
        },
        [("a.out", "add.a"), ("b.out", "add.b"), ("add.out", "sum.value")],
    )

    run = run_agent(agent, {"a": 2})

    assert outputs(run) == {"sum": [7.0]}
    assert run.node_count == 4
    assert run.attempt == 1
    assert set(NodeExecution.objects.filter(execution=run).values_list("status", flat=True)) == {"COMPLETED"}


def test_values_of_concurrent_runs_of_a_node_go_out_in_order(owner, runs):
    agent = make_agent(
        owner,
        {
            "each": (b.EACH, {"items": [{"v": place, "s": 0.2 - place * 0.04} for place in range(5)]}),
            "wait": (b.WAIT, {}),
            "out": (b.GIVE, {"name": "out"}),
        },
        [("each.item_#_v", "wait.value"), ("each.item_#_s", "wait.seconds"), ("wait.out", "out.value")],
    )

    run = run_agent(agent)

    assert outputs(run) == {"out": [0, 1, 2, 3, 4]}
    ended = [value for what, value in b.LOG if what == "end"]
    assert ended == [4, 3, 2, 1, 0], "they worked at once, the last ended first"


def test_at_most_so_many_nodes_work_at_once(owner, runs, settings):
    settings.NODE_CONCURRENCY = 2
    agent = make_agent(
        owner,
        {"each": (b.EACH, {"items": list(range(6))}), "wait": (b.WAIT, {"seconds": 0.05})},
        [("each.item", "wait.value")],
    )

    run_agent(agent)

    working = most = 0
    for what, _ in b.LOG:
        working += 1 if what == "start" else -1
        most = max(most, working)
    assert most == 2


def test_a_failing_node_fails_alone_and_tells_its_error(owner, runs):
    agent = make_agent(
        owner,
        {
            "fail": (b.FAIL, {"value": "luck"}),
            "error": (b.GIVE, {"name": "error"}),
            "value": (b.GIVE, {"name": "value"}),
            "other": (b.GIVE, {"name": "other", "value": 1}),
        },
        [("fail.error", "error.value"), ("fail.out", "value.value")],
    )

    run = run_agent(agent)

    assert outputs(run) == {"error": ["no luck"], "value": ["luck"], "other": [1]}
    assert run.node_error_count == 1
    [failed] = nodes_of(run, agent, "fail")
    assert (failed.status, failed.error) == ("FAILED", "no luck")


def test_a_bug_in_a_block_tells_its_kind_and_not_its_words(owner, runs):
    agent = make_agent(owner, {"fail": (b.FAIL, {"value": "bug"})})

    run = run_agent(agent)

    [failed] = nodes_of(run, agent, "fail")
    assert failed.error == "Something went wrong inside the block (KeyError)."


def test_inputs_that_do_not_fit_fail_the_node_by_name(owner, runs):
    agent = make_agent(
        owner, {"a": (b.TAKE, {"name": "a"}), "add": (b.ADD, {})}, [("a.out", "add.a")], run_cap_cents=None
    )

    run = run_agent(agent, {"a": "much"})

    [failed] = nodes_of(run, agent, "add")
    assert failed.status == "FAILED"
    assert failed.error.startswith("The inputs don't fit. a:")
    assert "much" not in failed.error


def test_a_node_has_its_time_and_no_more(owner, runs):
    agent = make_agent(owner, {"slow": (b.SLOW, {}), "out": (b.GIVE, {"name": "out"})}, [("slow.out", "out.value")])

    run = run_agent(agent)

    [slow] = nodes_of(run, agent, "slow")
    assert (slow.status, slow.error) == ("FAILED", "It took longer than 0.2 seconds.")
    assert outputs(run) == {"out": ["before"]}, "what it had put out stays"


def test_a_loop_without_an_end_is_cut_off(owner, runs, monkeypatch):
    monkeypatch.setattr(run_module, "MOST_NODE_RUNS", 20)
    agent = make_agent(
        owner,
        {"first": (b.EACH, {"items": [1]}), "add": (b.ADD, {"b": 1})},
        [("first.item", "add.a"), ("add.out", "add.a")],
    )

    run = run_agent(agent, status="FAILED")

    assert run.error_code == "too_many_steps"
    assert 20 <= NodeExecution.objects.filter(execution=run).count() <= 22
    assert not NodeExecution.objects.filter(execution=run, status__in=["QUEUED", "RUNNING"]).exists()


def test_a_chain_that_must_not_run_twice_takes_one_commit_a_node(owner, runs, monkeypatch):
    """The commit that notes that a node begins holds the end of the one before it."""
    monkeypatch.setattr(commits, "GATHER_SECONDS", 5)  # nothing is written before somebody waits for it
    written: list[rows.Write] = []
    real = rows.commit

    def commit(claim: Any, number: int, write: rows.Write) -> rows.Written:
        written.append(write)
        return real(claim, number, write)

    monkeypatch.setattr(rows, "commit", commit)
    names = [f"n{place}" for place in range(10)]
    agent = make_agent(
        owner,
        {name: (b.ONCE, {"value": 1}) for name in names},
        [(f"{one}.out", f"{other}.value") for one, other in pairwise(names)],
    )

    run = run_agent(agent)

    assert run.node_count == 10
    assert len(written) == 11
    ids = list(NodeExecution.objects.filter(execution=run).order_by("number").values_list("pk", flat=True))
    for place, write in enumerate(written[1:-1], 1):
        assert {(node.id, node.status) for node in write.nodes} == {
            (ids[place - 1], "COMPLETED"),
            (ids[place], "RUNNING"),
        }


def test_an_accumulator_keeps_its_order_and_the_last_one_waits(owner, runs):
    agent = make_agent(
        owner,
        {"each": (b.EACH, {"items": ["x", "y", "z"]}), "all": (b.COLLECT, {}), "out": (b.GIVE, {"name": "out"})},
        [("each.item", "all.entry"), ("all.out", "all.items"), ("all.out", "out.value")],
    )

    run = run_agent(agent)

    assert outputs(run)["out"] == [["x"], ["x", "y"], ["x", "y", "z"]]
    assert [node.status for node in nodes_of(run, agent, "all")] == ["COMPLETED"] * 3 + ["INCOMPLETE"]


def test_masks_win_over_what_nodes_and_links_say(owner, runs):
    agent = make_agent(
        owner,
        {"a": (b.TAKE, {"name": "a", "value": 1}), "add": (b.ADD, {"b": 2}), "out": (b.GIVE, {"name": "sum"})},
        [("a.out", "add.a"), ("add.out", "out.value")],
    )

    run = run_agent(agent, node_input_masks={str(agent.node_ids["add"]): {"a": 10, "b": 20}})

    assert outputs(run) == {"sum": [30.0]}


def test_values_that_no_database_takes_are_made_storable(owner, runs):
    agent = make_agent(owner, {"odd": (b.AWKWARD, {}), "out": (b.GIVE, {"name": "out"})}, [("odd.out", "out.value")])

    run = run_agent(agent)

    assert outputs(run)["out"] == [{"nul  and ?": ["Infinity", "NaN", 1 << 70]}]


@pytest.mark.parametrize("how", ["error", "error pin"])
def test_errors_that_no_database_takes_are_made_storable(owner, runs, how):
    agent = make_agent(
        owner, {"odd": (b.AWKWARD, {"value": how}), "out": (b.GIVE, {"name": "out"})}, [("odd.error", "out.value")]
    )

    run = run_agent(agent)

    assert outputs(run) == {"out": ["bad  and ?"]}
    [odd] = nodes_of(run, agent, "odd")
    assert (odd.status, odd.error) == ("FAILED", "bad  and ?")


def test_names_of_outputs_are_storable_and_of_bounded_length(owner, runs):
    agent = make_agent(owner, {"odd": (b.AWKWARD, {"value": "pin"}), "long": (b.AWKWARD, {"value": "long pin"})})

    run = run_agent(agent)

    [odd], [long] = nodes_of(run, agent, "odd"), nodes_of(run, agent, "long")
    assert [output.pin for output in odd.outputs.order_by("position")] == ["nul  and ?", "out"]
    assert (long.status, long.error) == ("FAILED", "The name of an output has more than 300 characters.")


def test_json_texts_that_hold_nul_characters_reach_agents_below(owner, runs):
    b.GATE.set()
    agent = family(owner, 1)
    node = agent.node_ids["run"]
    masks = {str(node): {"inputs": '{"in": "a \\u0000 b"}'}}

    run = run_agent(agent, {"in": 1}, node_input_masks=masks)

    assert outputs(run) == {"out": ["a  b"]}
    assert Execution.objects.get(parent=run).inputs == {"in": "a  b"}


def test_numbers_without_end_reach_the_person_who_is_asked(owner, runs):
    agent = make_agent(
        owner,
        {"send": (b.SENSITIVE_NUMBER, {"value": "Infinity"})},
        settings={"sensitive_action_safe_mode": True},
    )
    started = start_execution(user_id=agent.user_id, graph=agent.graph, agent=agent, inputs={})

    wait_for(started.pk, "REVIEW")
    assert Review.objects.get().payload in ({"value": "Infinity"}, {"value": None})


def test_notes_never_run_and_nothing_to_run_is_refused(owner, runs):
    agent = make_agent(
        owner,
        {"one": (b.ADD, {}), "two": (b.ADD, {})},
        [("one.out", "two.a"), ("two.out", "one.a")],
    )

    with pytest.raises(GraphInvalid):
        start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    assert not Execution.objects.exists()


def test_unknown_blocks_are_named(owner, runs):
    agent = make_agent(owner, {"gone": ("no-such-block", {})})

    with pytest.raises(GraphInvalid) as refused:
        start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    assert "no-such-block" in refused.value.fields["problems"][0]["message"]


def test_missing_inputs_are_named(owner, runs):
    agent = make_agent(owner, {"a": (b.TAKE, {"name": "topic"}), "out": (b.GIVE, {})}, [("a.out", "out.value")])

    with pytest.raises(GraphInvalid) as lacking:
        start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={"topic": 1})
    assert lacking.value.fields["problems"][0]["pin"] == "name"
    agent = make_agent(owner, {"a": (b.TAKE, {"name": "topic"})})
    with pytest.raises(InputsInvalid) as missing:
        start_execution(user_id=owner.user.pk, graph=agent.graph, inputs={})
    assert missing.value.fields["problems"] == {"topic": "A value is missing."}


def test_a_wide_and_a_long_graph_keep_every_row(owner, runs):
    nodes: dict[str, Any] = {"first": (b.EACH, {"items": list(range(30))}), "add": (b.ADD, {"b": 1})}
    links = [("first.item", "add.a")]
    for place in range(60):
        nodes[f"n{place}"] = (b.KEEP if place % 7 == 0 else b.FAIL if place % 11 == 0 else b.ADD, {"b": 1})
        pin = "value" if nodes[f"n{place}"][0] != b.ADD else "a"
        links.append((f"n{place - 1}.out" if place else "add.out", f"n{place}.{pin}"))
    agent = make_agent(owner, nodes, links)

    run = run_agent(agent)

    rows = NodeExecution.objects.filter(execution=run)
    numbers = list(rows.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert not rows.filter(status__in=["QUEUED", "RUNNING"]).exists()
    assert run.node_count == rows.exclude(status="INCOMPLETE").count()
    assert run.node_error_count == rows.filter(status="FAILED").count() > 0
    last = [node.outputs.get(pin="out").data for node in nodes_of(run, agent, "n4")]
    assert last == [place + 1.0 + 4 for place in range(30)]
    assert NodeOutput.objects.filter(node_execution__execution=run).count() > 30 * 20
