"""Mends what can be mended of a graph without asking anybody."""

from __future__ import annotations

from copy import deepcopy

from apps.library.graphs import fixes_of_links as links
from apps.library.graphs import fixes_of_values as values
from apps.library.graphs.checks_of_blocks import Agents
from apps.library.graphs.shape import GraphData

#: In this order: later ones look at what earlier ones left.
FIXES = (
    values.fix_ids,
    values.fix_braces,
    links.fix_conditions,
    links.fix_lists,
    links.fix_lists_for_mail,
    links.fix_dictionaries,
    links.fix_code_output,
    values.fix_sample_size,
    values.fix_replacements,
    values.fix_credentials,
    values.fix_positions,
    values.fix_date_offsets,
    links.fix_nested_links,
    values.fix_models,
    links.fix_static_links,
    links.fix_types,
    values.fix_mcp,
)


def fix(graph: GraphData, *, agents: Agents | None = None) -> tuple[GraphData, list[str]]:
    """Return a mended copy of a graph, and a sentence for each thing that was changed.

    Args:
        graph: The graph, which isn't changed. Its sub-agents are mended too.
        agents: The agents of the person's library by graph id; nodes that run agents aren't touched without.
    """
    mended = deepcopy(graph)
    told: list[str] = []
    for each in (mended, *mended.sub_graphs):
        for step in FIXES:
            told += step(each)
    if agents is not None:
        told += links.fix_agents(mended, agents)
    return mended, told
