"""Whether a graph can be saved, and whether it can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from apps.library.graphs import checks, checks_of_blocks
from apps.library.graphs.checks_of_blocks import Agents
from apps.library.graphs.cycles import check_cycles
from apps.library.graphs.problems import Problem, Stops, stopping
from apps.library.graphs.shape import GraphData

Masks = Mapping[str, Mapping[str, Any]]

#: The checks that look at nothing but the graph, in the order in which they are told.
CHECKS = (
    checks.check_ids,
    checks.check_blocks,
    checks.check_links,
    checks.check_types,
    checks.check_sinks,
    checks.check_sources,
    checks_of_blocks.check_prompts,
    checks_of_blocks.check_inputs_and_outputs,
    checks_of_blocks.check_names,
    checks_of_blocks.check_agent_schemas,
    checks_of_blocks.check_mcp,
    checks_of_blocks.check_orchestrators,
    check_cycles,
)


def validate(
    graph: GraphData, *, for_run: bool, agents: Agents | None = None, masks: Masks | None = None
) -> list[Problem]:
    """Return what keeps a graph from running, or only what keeps it from being saved; empty when it is fine.

    Args:
        graph: The graph; its sub-agents are checked too.
        for_run: Whether it is to run.
        agents: The agents of the person's library by graph id; references to agents aren't checked without.
        masks: Values that a run gives inputs of nodes, by node id.
    """
    return stopping(every_problem(graph, agents=agents, masks=masks), for_run=for_run)


def every_problem(graph: GraphData, *, agents: Agents | None = None, masks: Masks | None = None) -> list[Problem]:
    """Return everything that is wrong with a graph and its sub-agents, advice included."""
    found = list(_of_one(graph, agents, masks))
    for sub in graph.sub_graphs:
        found += [replace(problem, graph=sub.name or sub.id) for problem in _of_one(sub, None, None)]
    return found


def _of_one(graph: GraphData, agents: Agents | None, masks: Masks | None) -> Iterator[Problem]:
    if not graph.nodes:
        message = "The agent has no nodes, so there is nothing to run."
        yield Problem(code="no_nodes", message=message, remedy="Add a block.", stops=Stops.RUN)
    for check in CHECKS:
        yield from check(graph)
    yield from checks.check_required_inputs(graph, masks)
    if agents is not None:
        yield from checks_of_blocks.check_agents(graph, agents)
