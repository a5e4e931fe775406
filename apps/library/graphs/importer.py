"""Reads agent files, ours and those of the platform whose format they are in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, NoReturn
from uuid import uuid4

from apps.library.blocks.base import BlockType
from apps.library.graphs import pins, renames, schemas, secrecy, shape
from apps.library.graphs.problems import Problem, Stops, quoted, refuse, stopping
from apps.library.graphs.shape import MOST_BYTES, TOO_DEEP, GraphData, NodeData
from apps.library.graphs.validate import every_problem

TOO_LARGE = Problem(
    code="too_large",
    message=f"The file is larger than {MOST_BYTES:,} bytes.",
    remedy="Shorten the texts in it, or make parts of it agents of their own.",
)


def load(raw: bytes) -> Any:
    """Return the JSON of a file.

    Raises:
        GraphInvalid: When it is too large, nested too deep, or isn't JSON.
    """
    if len(raw) > MOST_BYTES:
        refuse([TOO_LARGE])
    try:
        return json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number)
    except RecursionError:
        refuse([TOO_DEEP])
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        refuse([Problem(code="not_json", message=f"The file isn't JSON{place}.", remedy="Export the agent anew.")])


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def check_size(data: Any) -> None:
    """Refuse JSON that would be too large as a file.

    Raises:
        GraphInvalid: When it is.
    """
    try:
        size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    except RecursionError:
        refuse([TOO_DEEP])
    else:
        if size > MOST_BYTES:
            refuse([TOO_LARGE])


def read_agent(data: Any) -> tuple[GraphData, list[Problem]]:
    """Return the agent that a file's JSON describes, ready to be saved, with references to sub-agents set anew.

    Returns:
        The graph, and what its new owner should know: secrets that were taken out, blocks that are missing, advice.

    Raises:
        GraphInvalid: With everything that is wrong; nothing can be saved of it then.
    """
    graph = shape.read(data)
    refuse(_doubled(graph))
    told = secrecy.strip(graph)
    renames.modernise(graph)
    found = every_problem(graph)
    refuse(stopping(found, for_run=False))
    told += [*_set_references(graph), *found]
    return graph, told


def _doubled(graph: GraphData) -> list[Problem]:
    counted = Counter((each.id, each.version) for each in (graph, *graph.sub_graphs))
    return [
        Problem(
            code="duplicate_id",
            message=f"{count} agents in the file have the id {quoted(graph_id)} and version {version}.",
            remedy="Keep one of them.",
        )
        for (graph_id, version), count in counted.items()
        if count > 1
    ]


def _set_references(graph: GraphData) -> list[Problem]:
    """Give the agents of a file new ids, and the nodes that run them these."""
    family = [graph, *graph.sub_graphs]
    names = {id(each): _pin_names(schemas.input_schema(each), schemas.output_schema(each)) for each in graph.sub_graphs}
    runs = [
        (each, node, _target(node, graph, names))
        for each in family
        for node, _ in schemas.nodes_of(each, BlockType.AGENT)
    ]
    for each in family:
        each.id, each.version = str(uuid4()), 1
    told = []
    for each, node, target in runs:
        if target is None:
            told.append(_outside(node, "" if each is graph else each.name))
        else:
            node.input_default["graph_id"], node.input_default["graph_version"] = target.id, 1
    return told


def _outside(node: NodeData, inside: str) -> Problem:
    return Problem(
        code="agent_outside_file",
        message=f"The file doesn't hold the agent that {quoted(node.label)} runs.",
        remedy="Unless it is in your library, choose one that is.",
        stops=Stops.NOTHING,
        node_id=node.id,
        pin="graph_id",
        graph=inside,
    )


#: Names of the inputs and of the outputs of an agent.
PinNames = tuple[frozenset[str], frozenset[str]]


def _target(node: NodeData, graph: GraphData, pin_names: Mapping[int, PinNames]) -> GraphData | None:
    """Return the agent of the file that a node runs. Files name them by id, or only by version, pins and name."""
    given = node.input_default
    family, subs = [graph, *graph.sub_graphs], graph.sub_graphs
    version = given.get("graph_version")
    same_id = [each for each in family if each.id == given.get("graph_id")]
    wanted = _pin_names(pins.own_schema(node, "input_schema"), pins.own_schema(node, "output_schema"))
    alike = [each for each in subs if each.version == version and pin_names[id(each)] == wanted]
    names = (given.get("agent_name"), node.metadata.get("customized_name"))
    named = [each for each in subs if each.name in names]
    choices = (
        [each for each in same_id if each.version == version],
        same_id,
        [each for each in alike if each.name in names],
        alike,
        named,
    )
    return next((found[0] for found in choices if found), None)


def _pin_names(takes: pins.Schema, gives: pins.Schema) -> PinNames:
    return frozenset(pins.properties(takes)), frozenset(pins.properties(gives))
