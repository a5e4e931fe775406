"""Samples: each method takes what it says, the same again for the same seed."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter

import pytest
from pydantic import ValidationError

from apps.library.errors import BlockError
from apps.library.models import Execution, Graph, Node, NodeExecution
from apps.library.models.executions import Status
from apps.runtime.db import db
from tests.library.blocks.running import block, last, run

PEOPLE = [{"name": f"p{n}", "team": "abc"[n % 3] if n < 9 else "c", "weight": n} for n in range(12)]
KEYS = {"stratify_key": "team", "weight_key": "weight", "cluster_key": "team"}
METHODS = ["random", "systematic", "top", "bottom", "stratified", "weighted", "reservoir", "cluster"]


async def indices(data, method, size, seed=1, **pins) -> list[int]:
    pins = {"data": data, "sampling_method": method, "sample_size": size, "random_seed": seed, **KEYS, **pins}
    outputs = await last("DataSampling", pins)
    assert outputs["sampled_data"] == [data[index] for index in outputs["sample_indices"]]
    return outputs["sample_indices"]


@pytest.mark.parametrize("method", METHODS)
async def test_a_sample_has_its_size_and_no_element_twice(method):
    for size in (0, 1, 5, 11):
        taken = await indices(PEOPLE, method, size)
        assert len(taken) == len(set(taken)) == size
    assert len(await indices(PEOPLE[1:], method, 50)) == 11
    assert await indices([], method, 3) == []


@pytest.mark.parametrize("method", METHODS)
async def test_a_seed_gives_the_same_sample_again(method):
    first = await indices(PEOPLE, method, 5, seed="42")
    assert first == await indices(PEOPLE, method, 5, seed=42)
    samples = {tuple(await indices(PEOPLE, method, 5, seed=seed)) for seed in range(12)}
    assert (len(samples) == 1) == (method in {"top", "bottom"})


async def test_top_and_bottom():
    assert await indices(PEOPLE, "top", 3) == [0, 1, 2]
    assert await indices(PEOPLE, "bottom", "3") == [9, 10, 11]


async def test_systematic_samples_lie_evenly():
    for seed in range(10):
        taken = await indices(PEOPLE, "systematic", 4, seed)
        assert {later - earlier for earlier, later in itertools.pairwise(taken)} == {3}


async def test_strata_keep_their_shares():
    for seed in range(5):
        taken = await indices(PEOPLE, "stratified", 4, seed)
        assert Counter(PEOPLE[index]["team"] for index in taken) == {"a": 1, "b": 1, "c": 2}


async def test_clusters_are_taken_whole():
    for seed in range(5):
        taken = await indices(PEOPLE, "cluster", 6, seed)
        counts = Counter(PEOPLE[index]["team"] for index in taken)
        sizes = {"a": 3, "b": 3, "c": 6}
        assert sum(counts[team] != sizes[team] for team in counts) <= 1


async def test_the_heavier_are_taken_more_often():
    data = [{"weight": 1}, {"weight": "50"}, {"weight": 0}]
    counts = Counter([(await indices(data, "weighted", 1, seed))[0] for seed in range(60)])
    assert counts[1] > 45
    assert counts[2] == 0


async def test_loose_data():
    assert await last("DataSampling", {"data": {"a": 1}}) == {"sampled_data": [{"a": 1}], "sample_indices": [0]}
    assert (await last("DataSampling", {"data": [[1], [2]], "sample_size": None}))["sample_indices"] in ([0, 1], [1, 0])


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        ({"sampling_method": "stratified", "stratify_key": None}, "needs “stratify_key”"),
        ({"sampling_method": "weighted", "weight_key": ""}, "needs “weight_key”"),
        ({"sampling_method": "cluster", "cluster_key": "nowhere"}, "no field “nowhere”"),
        ({"sampling_method": "stratified", "data": [1, 2]}, "no field “team”"),
        ({"sampling_method": "weighted", "weight_key": "name"}, "isn't a number"),
        ({"sampling_method": "weighted", "data": [{"weight": -1}]}, "negative"),
        ({"sampling_method": "weighted", "data": [{"weight": "inf"}]}, "endless"),
        ({"sampling_method": "weighted", "data": [{"weight": 0}, {"weight": 1}], "sample_size": 2}, "Fewer elements"),
    ],
)
async def test_what_a_method_cant_work_with(pins, words):
    with pytest.raises(BlockError, match=words):
        await run("DataSampling", {"data": PEOPLE, **KEYS, **pins})


@pytest.mark.parametrize(
    "pins", [{}, {"data": "x"}, {"data": [], "sample_size": -1}, {"data": [], "sampling_method": "x"}]
)
def test_samples_that_cant_be(pins):
    with pytest.raises(ValidationError):
        block("DataSampling").Input.model_validate(pins)


@pytest.fixture
def node(owner, transactional_db):
    """A node with three uses in a run, and another node and run beside it."""
    graph = Graph.objects.create(user=owner.user, name="g")
    nodes = [Node.objects.create(graph=graph, position=place, block_id=block("DataSampling").id) for place in (0, 1)]
    runs = []
    for _ in range(2):
        execution_id = uuid.uuid4()
        runs.append(Execution.objects.create(id=execution_id, user=owner.user, graph=graph, root_id=execution_id))

    def use(number, data, of=0, run=0, status=Status.COMPLETED):
        return NodeExecution.objects.create(
            execution=runs[run], node=nodes[of], number=number, status=status, input_data={"data": data}
        )

    use(0, ["other node"], of=1)
    use(1, [1, 2])
    use(2, ["failed"], status=Status.FAILED)
    use(0, ["other run"], run=1)
    use(5, ["later"])
    return {"execution_id": runs[0].pk, "present": use(3, [3], status=Status.RUNNING).pk, "use": use}


async def test_data_is_gathered_until_there_is_enough(node):
    facts = {"execution_id": node["execution_id"], "node_execution_id": node["present"]}
    pins = {"data": [3], "accumulate": "true", "sampling_method": "top"}
    assert await run("DataSampling", {**pins, "sample_size": 4}, **facts) == []
    found = await run("DataSampling", {**pins, "sample_size": 3}, **facts)
    assert found == [("sampled_data", [1, 2, 3]), ("sample_indices", [0, 1, 2])]
    # The first use had enough for two, so that one put them out; this is a new beginning.
    assert await run("DataSampling", {**pins, "sample_size": 2}, **facts) == []
    await db(NodeExecution.objects.filter(pk=node["present"]).update, status=Status.COMPLETED)
    following = (await db(node["use"], 4, [4], status=Status.RUNNING)).pk
    facts["node_execution_id"] = following
    found = await last("DataSampling", {**pins, "data": [4], "sample_size": 2}, **facts)
    assert found["sampled_data"] == [3, 4]


async def test_nothing_is_gathered_outside_of_a_run(transactional_db):
    assert await last("DataSampling", {"data": [1], "accumulate": True, "sample_size": 1}) == {
        "sampled_data": [1],
        "sample_indices": [0],
    }
