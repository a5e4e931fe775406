"""The rules by which values find node runs, against an interpreter that is as plain as they are."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.library.blocks.base import BlockType, Pins
from apps.library.errors import BlockError
from apps.library.executor import pins
from apps.library.executor.plan import Plan, PlanNode, wire
from apps.library.executor.state import NodeRun, RunState, WrongTransition
from apps.library.models.executions import REACHED_FROM, Status
from tests.depth import depth

MOST_ROUNDS = 4  # of a node that puts something out, or fails: every loop has an end
MOST_RUNS = 60  # of one example: loops and iterations multiply


class Loose(Pins):
    a: Any = None
    b: Any = None
    needed: Any


def block(*, static: bool = False, kind: str = BlockType.STANDARD) -> Any:
    return SimpleNamespace(static_output=static, type=kind, Input=Loose, name="stub")


def node(number: int, *, static: bool = False, kind: str = BlockType.STANDARD, **defaults: Any) -> PlanNode:
    return PlanNode(id=UUID(int=number), block=block(static=static, kind=kind), defaults=defaults)


def graph(nodes: list[PlanNode], links: list[tuple[int, str, int, str]]) -> Plan:
    wires = [(UUID(int=source), out, UUID(int=sink), pin) for source, out, sink, pin in links]
    return wire({found.id: found for found in nodes}, wires)


class Reference:
    """The rules of routing in their plainest form: lists, looked through from the beginning."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.runs: list[dict[str, Any]] = []
        self.order: list[tuple[Any, ...]] = []
        for found in plan.nodes.values():
            if found.is_start:
                self.create(found)["status"] = "QUEUED"

    def create(self, found: PlanNode) -> dict[str, Any]:
        is_first = not any(run["node"] is found for run in self.runs)
        run = {"node": found, "inputs": {}, "status": "INCOMPLETE", "first": is_first, "out": []}
        self.runs.append(run)
        return run

    def put_out(self, run: dict[str, Any], pin: str, value: Any) -> None:
        run["out"].append((pin, value))
        for link in run["node"].wires:
            found = value
            name, path = pins.parse(link.source_pin)
            if name != pin:
                continue
            for step in path:
                if isinstance(found, list) and step.kind == "_$_":
                    found = found[int(step.key)] if int(step.key) < len(found) else pins.MISSING
                elif isinstance(found, dict) and step.kind != "_$_":
                    found = found.get(step.key, pins.MISSING)
                else:
                    found = pins.MISSING
            if found is not pins.MISSING:
                self.route(link, found)

    def route(self, link: Any, value: Any) -> None:
        sink = self.plan.nodes[link.sink_id]
        mine = [run for run in self.runs if run["node"] is sink]
        waiting = [run for run in mine if run["status"] == "INCOMPLETE" and link.sink_pin not in run["inputs"]]
        run = waiting[0] if waiting else self.create(sink)
        run["inputs"][link.sink_pin] = value
        for pin in sink.static:
            holders = [other for other in mine if pin in other["inputs"]]
            if pin not in run["inputs"] and holders:
                run["inputs"][pin] = holders[-1]["inputs"][pin]
        self.look(run)
        if link.is_static:
            for other in waiting[1:]:
                other["inputs"][link.sink_pin] = value
                self.look(other)

    def look(self, run: dict[str, Any]) -> None:
        lacking = run["node"].linked - set(run["inputs"])
        if not lacking or (run["first"] and lacking <= run["node"].feedback):
            run["status"] = "QUEUED"


@dataclass
class Behaviour:
    """What a node does: the values that it puts out, as (pin, kind), and whether it fails after that."""

    outputs: list[tuple[str, str]]
    fails: bool

    def play(self, found: PlanNode, inputs: dict[str, Any], nth: int) -> list[tuple[str, Any]]:
        if nth > MOST_ROUNDS:
            return []
        seed = repr(sorted(inputs.items()))[-30:]
        made = {
            "text": f"{found.id.int}:{nth}:{seed}",
            "list": [found.id.int, f"{nth}{seed}"],
            "short": [found.id.int],
            "object": {"k": nth, "deep": [{"x": seed}]},
        }
        return [(pin, made[kind]) for pin, kind in self.outputs]


OUT = st.sampled_from(["out", "out_$_0", "out_$_1", "more", "more_#_k", "more_#_deep_$_0_@_x", "error"])
IN = st.sampled_from(["a", "b", "needed", "a_#_k", "a_$_2"])
BEHAVIOUR = st.builds(
    Behaviour,
    st.lists(
        st.tuples(st.sampled_from(["out", "more"]), st.sampled_from(["text", "list", "short", "object"])), max_size=3
    ),
    st.booleans(),
)


@st.composite
def graphs(draw: Any) -> tuple[Plan, list[Behaviour]]:
    size = draw(st.integers(1, 6))
    nodes = [
        node(
            number,
            static=draw(st.sampled_from([False, False, True])),
            kind=draw(st.sampled_from([BlockType.STANDARD, BlockType.STANDARD, BlockType.INPUT])),
            **({"needed": 1} if draw(st.booleans()) else {}),
        )
        for number in range(size)
    ]
    place = st.integers(0, size - 1)
    links = draw(st.lists(st.tuples(place, OUT, place, IN), max_size=10, unique=True))
    return graph(nodes, links), draw(st.lists(BEHAVIOUR, min_size=size, max_size=size))


@pytest.mark.long
@settings(max_examples=depth(quick=40, full=200, deep=3000))
@given(made=graphs(), data=st.data())
def test_routing_is_what_the_plain_interpreter_says(made, data):
    plan, behaviours = made
    OUTPUTS.clear()
    state, reference = RunState(plan), Reference(plan)
    state.begin()
    runs: list[NodeRun] = []
    collect(state, runs)
    going: list[tuple[NodeRun, list[tuple[str, Any]], bool]] = []
    while state.ready or going:
        choice = data.draw(st.integers(0, len(state.ready) + len(going) - 1))
        if choice < len(state.ready):
            run = state.ready[choice]
            del state.ready[choice]
            state.move(run, Status.RUNNING)
            nth = sum(other.node is run.node and other.number < run.number for other in runs)
            nth += len(runs) // MOST_RUNS * 10
            behaviour = behaviours[run.node.id.int]
            fails = behaviour.fails and nth <= MOST_ROUNDS
            going.append((run, behaviour.play(run.node, run.inputs, nth), fails))
            reference.runs[run.number - 1]["status"] = "RUNNING"
        else:
            run, left, fails = going[choice - len(state.ready)]
            mirror = reference.runs[run.number - 1]
            if left:
                pin, value = left.pop(0)
                state.put_out(run, pin, value)
                reference.put_out(mirror, pin, value)
            else:
                going.remove((run, left, fails))
                if fails:
                    state.fail(run, "it broke")
                    reference.put_out(mirror, "error", "it broke")
                    mirror["status"] = "FAILED"
                else:
                    state.move(run, Status.COMPLETED)
                    mirror["status"] = "COMPLETED"
        collect(state, runs)
        check(runs, reference)
        if data.draw(st.integers(0, 9)) == 0 and not going:
            state = taken_up(plan, runs)
            runs = runs.copy()
    check(runs, reference)


OUTPUTS: dict[UUID, list[tuple[str, Any]]] = {}


def collect(state: RunState, runs: list[NodeRun]) -> None:
    """Take what changed, as the writer of rows does."""
    touched, outputs = state.take()
    known = {run.id for run in runs}
    runs.extend(sorted((run for run in touched if run.id not in known), key=lambda run: run.number))
    for output in outputs:
        found = OUTPUTS.setdefault(output.run.id, [])
        assert output.position == len(found)
        found.append((output.pin, output.data))


def check(runs: list[NodeRun], reference: Reference) -> None:
    assert [run.number for run in runs] == list(range(1, len(runs) + 1))
    assert [(run.node.id, run.status, run.inputs) for run in runs] == [
        (mirror["node"].id, mirror["status"], mirror["inputs"]) for mirror in reference.runs
    ]
    assert [OUTPUTS.get(run.id, []) for run in runs] == [mirror["out"] for mirror in reference.runs]


def taken_up(plan: Plan, runs: list[NodeRun]) -> RunState:
    """Return the state that a new runner makes of the same rows."""
    state = RunState(plan)
    state.restore(runs)
    return state


def test_values_pair_in_the_order_in_which_they_come():
    plan = graph([node(0), node(1), node(2)], [(0, "out", 2, "a"), (1, "out", 2, "b")])
    state = RunState(plan)
    state.begin()
    first, second = state.ready
    for run in (first, second):
        state.move(run, Status.RUNNING)
    for value in (1, 2, 3):
        state.put_out(first, "out", value)
    for value in "xy":
        state.put_out(second, "out", value)

    assert [run.inputs for run in state.touched.values() if run.node.id.int == 2] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 3},
    ]
    assert [run.status for run in state.touched.values()][-1] == Status.INCOMPLETE


def test_static_values_are_used_again_and_fill_what_waits():
    plan = graph([node(0, static=True), node(1), node(2)], [(0, "out", 2, "a"), (1, "out", 2, "b")])
    state = RunState(plan)
    state.begin()
    kept, items = state.ready
    for run in (kept, items):
        state.move(run, Status.RUNNING)
    state.put_out(items, "out", 1)
    state.put_out(items, "out", 2)
    state.put_out(kept, "out", "s")
    state.put_out(items, "out", 3)

    fed = [run.inputs for run in state.ready if run.node.id.int == 2]
    assert fed == [{"b": 1, "a": "s"}, {"b": 2, "a": "s"}, {"b": 3, "a": "s"}]


def test_an_accumulator_begins_without_its_own_value_and_then_waits_for_it():
    plan = graph([node(0), node(1, needed=[])], [(0, "out", 1, "a"), (1, "out", 1, "needed")])
    assert plan.nodes[UUID(int=1)].feedback == {"needed"}
    state = RunState(plan)
    state.begin()
    items = state.ready.popleft()
    state.move(items, Status.RUNNING)
    for value in (1, 2):
        state.put_out(items, "out", value)

    [first] = state.ready
    assert first.inputs == {"a": 1}
    state.ready.clear()
    state.move(first, Status.RUNNING)
    state.put_out(first, "out", [1])
    assert [run.inputs for run in state.ready] == [{"a": 2, "needed": [1]}]


def test_only_the_way_into_a_loop_may_begin_early():
    # 1 and 2 feed one another, and 2 has a further value from outside: only 1 may begin without the other.
    plan = graph(
        [node(0), node(1), node(2)],
        [(0, "out", 1, "a"), (2, "out", 1, "b"), (1, "out", 2, "a"), (0, "out", 2, "b")],
    )

    assert plan.nodes[UUID(int=1)].feedback == {"b"}
    assert plan.nodes[UUID(int=2)].feedback == frozenset()


def test_a_loop_that_needs_a_value_without_a_default_never_begins():
    plan = graph([node(0), node(1)], [(0, "out", 1, "a"), (1, "out", 1, "needed")])

    assert plan.nodes[UUID(int=1)].feedback == frozenset()


def test_a_tool_call_goes_to_the_node_that_it_names():
    plan = graph(
        [node(0), node(1), node(2)],
        [(0, "tools_^_old_name_~_a", 1, "a"), (0, "tools", 2, "a"), (0, "out", 2, "b")],
    )
    state = RunState(plan)
    state.begin()
    asking = state.ready.popleft()
    state.move(asking, Status.RUNNING)
    state.put_out(asking, f"tools_^_{UUID(int=1)}_~_a", "question")

    assert [run.node.id.int for run in state.ready] == [1]


@pytest.mark.parametrize("before", list(Status))
@pytest.mark.parametrize("after", list(Status))
def test_statuses_follow_the_table(before, after):
    run = NodeRun(UUID(int=1), node(1), 1, status=before)

    if before in REACHED_FROM[after]:
        run.move(after)
        assert run.status == after
    else:
        with pytest.raises(WrongTransition):
            run.move(after)
        assert run.status == before


@pytest.mark.parametrize(
    ("data", "merged"),
    [
        ({"a": 1}, {"a": 1}),
        ({"v_#_Published URL": 1, "v_#_b": 2}, {"v": {"Published URL": 1, "b": 2}}),
        ({"v": {"a": 0, "z": 9}, "v_#_a": 1}, {"v": {"a": 1, "z": 9}}),
        ({"l_$_2": "c", "l_$_0": "a"}, {"l": ["a", "", "c"]}),
        ({"o_@_x": 1}, {"o": {"x": 1}}),
        ({"o_#_rows_$_1_#_name": "n"}, {"o": {"rows": ["", {"name": "n"}]}}),
        ({"l": None, "l_$_0": 1}, {"l": [1]}),
    ],
)
def test_dynamic_pins_become_one_value(data, merged):
    before = repr(data)

    assert pins.merge(data) == merged
    assert repr(data) == before


@pytest.mark.parametrize("data", [{"l_$_x": 1}, {"l_$_-1": 1}, {"l_$_99999999": 1}, {"l": "text", "l_$_0": 1}])
def test_pins_that_fit_nowhere_are_errors(data):
    with pytest.raises(BlockError):
        pins.merge(data)
