"""What a graph is checked for by what certain blocks need, a function each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.library.blocks.base import BlockType
from apps.library.graphs import pins
from apps.library.graphs.known import ORCHESTRATOR
from apps.library.graphs.problems import Problem, Stops, quoted
from apps.library.graphs.schemas import TRIGGERS, nodes_of
from apps.library.graphs.shape import GraphData, NodeData

ITERATIONS = "agent_mode_max_iterations"


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """What is known of an agent that others may run.

    Attributes:
        version: Its active version.
        name: What its owner calls it.
        input_schema: What it takes.
        output_schema: What it gives.
        versions: Every version that there is.
    """

    version: int
    name: str = ""
    input_schema: dict[str, Any] = field(default_factory=dict)
    output_schema: dict[str, Any] = field(default_factory=dict)
    versions: frozenset[int] = frozenset()


#: Agents of a person's library by graph id.
Agents = Mapping[str, AgentFacts]


def check_prompts(graph: GraphData) -> Iterator[Problem]:
    """7: Braces of a prompt hold names without spaces around them."""
    for node in graph.nodes:
        prompt = node.input_default.get("prompt")
        for piece in prompt.split("{{")[1:] if isinstance(prompt, str) else ():
            name, closed, _ = piece.partition("}}")
            if closed and name != name.strip():
                yield Problem(
                    code="spaces_in_braces",
                    message=f"The prompt of {quoted(node.label)} has spaces inside {{{{ }}}}: {quoted(name)}.",
                    remedy=f"Write {{{{{name.strip()[:80]}}}}}.",
                    stops=Stops.NOTHING,
                    node_id=node.id,
                    pin="prompt",
                )


def check_inputs_and_outputs(graph: GraphData) -> Iterator[Problem]:
    """8: There is something to start with and something that comes out."""
    if not any(nodes_of(graph, BlockType.INPUT, *TRIGGERS)):
        yield Problem(
            code="no_input",
            message="The agent has no input.",
            remedy="Add an Agent Input for what it is to be told, unless it needs nothing.",
            stops=Stops.NOTHING,
        )
    if not any(nodes_of(graph, BlockType.OUTPUT)):
        yield Problem(
            code="no_output",
            message="The agent has no output, so nobody sees what it found.",
            remedy="Add an Agent Output and link the result to it.",
            stops=Stops.NOTHING,
        )


def check_names(graph: GraphData) -> Iterator[Problem]:
    """Inputs don't take names that are kept for credentials."""
    for node, _ in nodes_of(graph, BlockType.INPUT):
        name = node.input_default.get("name")
        if isinstance(name, str) and (name == "credentials" or name.endswith("_credentials")):
            yield Problem(
                code="reserved_name",
                message=f"The input {quoted(name)} has a name that is kept for credentials.",
                remedy="Give it another name.",
                node_id=node.id,
                pin="name",
            )


def check_agent_schemas(graph: GraphData) -> Iterator[Problem]:
    """9: A node that runs an agent says what that agent takes and gives."""
    for node, _ in nodes_of(graph, BlockType.AGENT):
        for key in ("input_schema", "output_schema"):
            schema = pins.own_schema(node, key)
            if "properties" not in schema and "type" not in schema:
                yield Problem(
                    code="no_agent_schema",
                    message=f"The node {quoted(node.label)} has no {key} of the agent that it runs.",
                    remedy="Choose the agent anew, which copies its schemas.",
                    stops=Stops.RUN,
                    node_id=node.id,
                    pin=key,
                )


def check_mcp(graph: GraphData) -> Iterator[Problem]:
    """10: A node that calls an MCP tool names server and tool."""
    for node, _ in nodes_of(graph, BlockType.MCP_TOOL):
        for key in ("server_url", "selected_tool"):
            if not node.input_default.get(key):
                yield Problem(
                    code="no_mcp_tool",
                    message=f"The node {quoted(node.label)} has no {key}.",
                    remedy="Choose a server and one of its tools.",
                    stops=Stops.RUN,
                    node_id=node.id,
                    pin=key,
                )


def check_agents(graph: GraphData, agents: Agents) -> Iterator[Problem]:
    """11: A node that runs an agent runs one that is there, as it is now."""
    incoming = graph.incoming()
    for node, _ in nodes_of(graph, BlockType.AGENT):
        agent_id = str(node.input_default.get("graph_id") or "")
        agent = agents.get(agent_id)
        if agent is None:
            yield _missing_agent(node, agent_id)
            continue
        version = node.input_default.get("graph_version")
        if version not in (agent.versions or {agent.version}):
            message = f"The node {quoted(node.label)} runs version {quoted(version)}, which isn't there."
            remedy = f"Use version {agent.version}."
            yield _of_agent(node, "agent_version", message, remedy, Stops.RUN, pin="graph_version")
        elif version != agent.version:
            message = f"The node {quoted(node.label)} runs version {version}; the active one is {agent.version}."
            remedy = f"Use version {agent.version}, unless you want the other one."
            yield _of_agent(node, "agent_version", message, remedy, Stops.NOTHING, pin="graph_version")
        yield from _check_agent_inputs(node, agent, {pins.base_name(link.sink_name) for link in incoming[node.id]})


def _check_agent_inputs(node: NodeData, agent: AgentFacts, linked: set[str]) -> Iterator[Problem]:
    fields = pins.properties(agent.input_schema)
    for name in fields:
        value = pins.own_value(node, name)
        default = fields[name].get("default") if isinstance(fields[name], dict) else None
        if name in linked:
            continue
        if name in pins.required(agent.input_schema) and value is None:
            message = f"The agent that {quoted(node.label)} runs needs its input {quoted(name)}."
            yield _of_agent(node, "missing_input", message, "Link a value to it, or write one.", Stops.RUN, pin=name)
        elif value is not None and value != default:
            message = f"The node {quoted(node.label)} always gives the same {quoted(name)}."
            remedy = "Link a value to it, unless that is what you want."
            yield _of_agent(node, "fixed_input", message, remedy, Stops.NOTHING, pin=name)


def _missing_agent(node: NodeData, agent_id: str) -> Problem:
    if not agent_id:
        message = f"The node {quoted(node.label)} doesn't say which agent it runs."
    else:
        message = f"The agent {quoted(agent_id)} that {quoted(node.label)} runs isn't in your library."
    return _of_agent(node, "unknown_agent", message, "Choose an agent of your library.", Stops.RUN, pin="graph_id")


def _of_agent(node: NodeData, code: str, message: str, remedy: str, stops: Stops, *, pin: str) -> Problem:
    return Problem(code=code, message=message, remedy=remedy, stops=stops, node_id=node.id, pin=pin)


def check_orchestrators(graph: GraphData) -> Iterator[Problem]:
    """An orchestrator has tools, a limit that can be kept, and both ends of its memory."""
    outgoing, incoming = graph.outgoing(), graph.incoming()
    for node in graph.nodes:
        if node.block_id != ORCHESTRATOR:
            continue
        if not any(pins.base_name(link.source_name) == pins.TOOLS_PIN for link in outgoing[node.id]):
            message = f"{quoted(node.label)} has no tools."
            remedy = f"Link its output {quoted(pins.TOOLS_PIN)} to the inputs of the nodes that it may use."
            yield _of_agent(node, "no_tools", message, remedy, Stops.NOTHING, pin=pins.TOOLS_PIN)
        limit = node.input_default.get(ITERATIONS)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < -1):
            message = f"{quoted(node.label)} has no usable limit of its steps: {quoted(limit)}."
            remedy = "Write -1 for no limit, 0 for one step, or a number of steps."
            yield _of_agent(node, "bad_limit", message, remedy, Stops.RUN, pin=ITERATIONS)
        linked = {link.sink_name for link in incoming[node.id]} & {"conversation_history", "last_tool_output"}
        if len(linked) == 1:
            message = f"Only {quoted(next(iter(linked)))} of {quoted(node.label)} is linked."
            remedy = "Link both conversation_history and last_tool_output, or neither."
            yield _of_agent(node, "half_a_memory", message, remedy, Stops.NOTHING, pin=next(iter(linked)))
