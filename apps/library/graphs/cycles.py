"""Loops of a graph: which can begin, and which wait for themselves for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from apps.library.blocks.base import BlockType
from apps.library.graphs import pins
from apps.library.graphs.problems import Problem, quoted
from apps.library.graphs.shape import GraphData, NodeData

#: Nodes of a loop that a message names; the rest are counted.
MOST_NAMED = 10

Wires = Mapping[str, Mapping[str, set[str]]]


def check_cycles(graph: GraphData) -> Iterator[Problem]:
    """Yield a problem for each loop that no value can enter; loops that are fed from outside are fine."""
    nodes = graph.by_id()
    waiting = nodes.keys() - runnable(graph)
    edges: dict[str, set[str]] = {node_id: set() for node_id in waiting}
    for link, source, sink in graph.wires():
        if source.id in waiting and sink.id in waiting:
            edges[link.source_id].add(link.sink_id)
    for loop in _roots(edges):
        inside = [node for node in graph.nodes if node.id in loop]
        yield _problem(inside)


def _problem(inside: list[NodeData]) -> Problem:
    names = ", ".join(f"{quoted(node.label)} ({node.id})" for node in inside[:MOST_NAMED])
    more = f" and {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
    return Problem(
        code="dead_cycle",
        message=f"These nodes wait for each other, so none can ever begin: {names}{more}.",
        remedy="Link a value from outside into the loop, give the input that waits a value, or cut one of its links.",
        node_id=inside[0].id,
    )


def runnable(graph: GraphData) -> set[str]:
    """Return the ids of the nodes that can come to run.

    A run begins at the nodes without links into them and at the agent's inputs. Another node runs when something
    reaches it and each of its required pins has a value, or gets one from a node that can run.
    """
    nodes = graph.by_id()
    sources: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    sinks: defaultdict[str, set[str]] = defaultdict(set)
    for link, source, sink in graph.wires():
        sources[sink.id][pins.base_name(link.sink_name)].add(source.id)
        sinks[source.id].add(sink.id)
    found = {node.id for node in nodes.values() if not sources[node.id] or _is_input(node)}
    waiting = list(found)
    while waiting:
        for sink_id in sinks[waiting.pop()] - found:
            if _can_run(nodes[sink_id], sources[sink_id], found):
                found.add(sink_id)
                waiting.append(sink_id)
    return found


def _is_input(node: NodeData) -> bool:
    return node.block is not None and node.block.type == BlockType.INPUT


def _can_run(node: NodeData, sources: Mapping[str, set[str]], running: set[str]) -> bool:
    """Return whether each linked required pin has a value of its own or one that comes; unlinked ones aren't ours."""
    schema = pins.input_schema(node)
    needed = set(pins.required(schema)) if schema is not None else set()
    return all(
        name not in needed or pins.own_value(node, name) is not None or not running.isdisjoint(from_)
        for name, from_ in sources.items()
    )


def _roots(edges: Mapping[str, set[str]]) -> Iterator[set[str]]:
    """Yield the loops that wait for nothing but themselves."""
    back: defaultdict[str, set[str]] = defaultdict(set)
    for source, targets in edges.items():
        for target in targets:
            back[target].add(source)
    placed: set[str] = set()
    for start in reversed(list(_finished(edges))):
        loop = _reached([start], back, placed)
        placed |= loop
        if loop and all(back[member] <= loop for member in loop) and any(back[member] for member in loop):
            yield loop


def _finished(edges: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield nodes in the order in which a walk in depth leaves them."""
    seen: set[str] = set()
    for start in edges:
        trail = [(start, iter(edges[start]))] if start not in seen else []
        seen.add(start)
        while trail:
            node, rest = trail[-1]
            following = next((target for target in rest if target not in seen), None)
            if following is None:
                trail.pop()
                yield node
            else:
                seen.add(following)
                trail.append((following, iter(edges[following])))


def _reached(starts: Iterable[str], edges: Mapping[str, set[str]], without: set[str]) -> set[str]:
    found = {start for start in starts if start not in without}
    waiting = list(found)
    while waiting:
        fresh = edges[waiting.pop()] - found - without
        found |= fresh
        waiting += fresh
    return found
