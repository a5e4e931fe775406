"""A graph in memory: read from the file format, from rows, and written back."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from apps.library.blocks.base import Block
from apps.library.blocks.registry import OLD_IDS, get_block
from apps.library.graphs.known import block_name
from apps.library.graphs.problems import Problem, quoted, refuse
from apps.library.models import Graph

#: Bytes of a graph with its sub-agents, as JSON.
MOST_BYTES = 1_000_000
#: Levels of lists and objects in a file.
MOST_DEPTH = 48
#: Parts of one graph; its sub-agents have their own.
MOST = {"nodes": 1000, "links": 5000, "sub_graphs": 100}
NAME_LENGTH = 200
CRON_LENGTH = 200
ID_LENGTH = 64
PIN_LENGTH = 300
#: What PostgreSQL's text can't hold: NUL characters and lone surrogates.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
TOO_DEEP = Problem(
    code="too_deep",
    message=f"The file nests lists and objects deeper than {MOST_DEPTH} levels.",
    remedy="Flatten what its nodes hold.",
)


@dataclass(slots=True)
class NodeData:
    """One use of a block."""

    id: str
    block_id: str
    input_default: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def block(self) -> Block[Any] | None:
        """Its block; None when it is a placeholder for one that is missing here."""
        return get_block(self.block_id)

    @property
    def label(self) -> str:
        """What people call it."""
        return str(self.metadata.get("customized_name") or block_name(self.block_id))


@dataclass(slots=True)
class LinkData:
    """A wire from an output pin to an input pin."""

    id: str
    source_id: str
    source_name: str
    sink_id: str
    sink_name: str
    is_static: bool = False


@dataclass(slots=True)
class GraphData:
    """A version of a graph; `sub_graphs` are those that its nodes run, and theirs, in one flat list."""

    id: str = ""
    version: int = 1
    name: str = ""
    description: str = ""
    instructions: str = ""
    recommended_schedule_cron: str = ""
    nodes: list[NodeData] = field(default_factory=list)
    links: list[LinkData] = field(default_factory=list)
    sub_graphs: list[GraphData] = field(default_factory=list)

    def by_id(self) -> dict[str, NodeData]:
        """Return its nodes by id."""
        return {node.id: node for node in self.nodes}

    def incoming(self) -> Mapping[str, list[LinkData]]:
        """Return the links into each node."""
        found: defaultdict[str, list[LinkData]] = defaultdict(list)
        for link in self.links:
            found[link.sink_id].append(link)
        return found

    def outgoing(self) -> Mapping[str, list[LinkData]]:
        """Return the links out of each node."""
        found: defaultdict[str, list[LinkData]] = defaultdict(list)
        for link in self.links:
            found[link.source_id].append(link)
        return found

    def wires(self) -> Iterator[tuple[LinkData, NodeData, NodeData]]:
        """Yield each link whose ends exist, with them."""
        nodes = self.by_id()
        for link in self.links:
            if link.source_id in nodes and link.sink_id in nodes:
                yield link, nodes[link.source_id], nodes[link.sink_id]

    def as_json(self) -> dict[str, Any]:
        """Return it in the file format, without what is computed from it."""
        return {
            "id": self.id,
            "version": self.version,
            "is_active": True,
            "name": self.name,
            "description": self.description,
            "instructions": self.instructions or None,
            "recommended_schedule_cron": self.recommended_schedule_cron or None,
            "nodes": [
                {
                    "id": node.id,
                    "block_id": node.block_id,
                    "input_default": node.input_default,
                    "metadata": node.metadata,
                }
                for node in self.nodes
            ],
            "links": [
                {
                    "id": link.id,
                    "source_id": link.source_id,
                    "source_name": link.source_name,
                    "sink_id": link.sink_id,
                    "sink_name": link.sink_name,
                    "is_static": link.is_static,
                }
                for link in self.links
            ],
            "sub_graphs": [sub.as_json() for sub in self.sub_graphs],
        }


def from_rows(graph: Graph) -> GraphData:
    """Return a stored version, without its sub-agents; two queries unless nodes and links were fetched before."""
    return GraphData(
        id=str(graph.graph_id),
        version=graph.version,
        name=graph.name,
        description=graph.description,
        instructions=graph.instructions,
        recommended_schedule_cron=graph.recommended_schedule_cron,
        nodes=[NodeData(str(node.pk), node.block_id, node.input_default, node.metadata) for node in graph.nodes.all()],
        links=[
            LinkData(
                str(link.pk),
                str(link.source_id),
                link.source_name,
                str(link.sink_id),
                link.sink_name,
                link.is_static,
            )
            for link in graph.links.all()
        ],
    )


def read(data: Any) -> GraphData:
    """Return the graph that a file's JSON describes.

    Raises:
        GraphInvalid: When it doesn't have the form of one.
    """
    graph, problems = parse(data)
    refuse(problems)
    return graph


def parse(data: Any) -> tuple[GraphData, list[Problem]]:
    """Return as much of a graph as its JSON has the form of one, and what hasn't."""
    if (problem := unusable(data)) is not None:
        return GraphData(), [problem]
    reader = _Reader()
    graph = reader.graph(data, "")
    return graph, reader.problems


def unusable(value: Any) -> Problem | None:
    """Return what a database couldn't hold of a value, if there is something."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MOST_DEPTH:
            return TOO_DEEP
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]
        elif isinstance(item, float) and not math.isfinite(item):
            return Problem(code="unusable_value", message="The file holds an endless number.", remedy="Take it out.")
        elif isinstance(item, str) and UNSTORABLE.search(item):
            message = "The file holds text with NUL characters or lone surrogates."
            return Problem(code="unusable_value", message=message, remedy="Take them out.")
    return None


class _Reader:
    """Reads one file and notes what has the wrong form."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, message: str, remedy: str, **where: Any) -> None:
        self.problems.append(Problem(code="malformed", message=message, remedy=remedy, **where))

    def graph(self, data: Any, inside: str) -> GraphData:
        if not isinstance(data, dict):
            self.wrong("An agent file is a JSON object.", "Give an object with name, nodes and links.", graph=inside)
            return GraphData()
        graph = GraphData(
            id=self.text(data, "id", ID_LENGTH, inside) or str(uuid4()),
            version=self.version(data, inside),
            name=self.text(data, "name", NAME_LENGTH, inside).strip(),
            description=self.text(data, "description", MOST_BYTES, inside),
            instructions=self.text(data, "instructions", MOST_BYTES, inside),
            recommended_schedule_cron=self.text(data, "recommended_schedule_cron", CRON_LENGTH, inside),
        )
        if not graph.name:
            self.wrong("The agent has no name.", "Give it a “name”.", graph=inside)
        graph.nodes = [node for item in self.items(data, "nodes", inside) if (node := self.node(item, inside))]
        graph.links = [link for item in self.items(data, "links", inside) if (link := self.link(item, inside))]
        for item in self.items(data, "sub_graphs", inside):
            sub = self.graph(item, str(item.get("name", "")) or "sub-agent" if isinstance(item, dict) else "sub-agent")
            graph.sub_graphs += [sub, *sub.sub_graphs]  # files of others may nest what ours keep flat
            sub.sub_graphs = []
        return graph

    def node(self, data: Any, inside: str) -> NodeData | None:
        if not isinstance(data, dict):
            self.wrong("A node is no JSON object.", "Make it one, or take it out.", graph=inside)
            return None
        node_id = self.text(data, "id", PIN_LENGTH, inside)
        block_id = self.text(data, "block_id", ID_LENGTH, inside, node_id=node_id)
        for name, value in (("id", node_id), ("block_id", block_id)):
            if not value:
                self.wrong(f"A node has no “{name}”.", f"Give it its {name}.", graph=inside, node_id=node_id)
        if not node_id or not block_id:
            return None
        defaults = self.object(data, "input_default", inside, node_id)
        metadata = self.object(data, "metadata", inside, node_id)
        return NodeData(node_id, OLD_IDS.get(block_id, block_id), defaults, metadata)

    def link(self, data: Any, inside: str) -> LinkData | None:
        if not isinstance(data, dict):
            self.wrong("A link is no JSON object.", "Make it one, or take it out.", graph=inside)
            return None
        link_id = self.text(data, "id", PIN_LENGTH, inside)
        ends = {
            name: self.text(data, name, PIN_LENGTH, inside, link_id=link_id)
            for name in ("source_id", "source_name", "sink_id", "sink_name")
        }
        missing = [name for name, value in ends.items() if not value]
        if missing:
            words = ", ".join(missing)
            self.wrong(f"A link has no {words}.", f"Give it its {words}.", graph=inside, link_id=link_id)
            return None
        return LinkData(link_id or str(uuid4()), **ends, is_static=data.get("is_static") is True)

    def text(self, data: Mapping[str, Any], key: str, length: int, inside: str, **where: str) -> str:
        value = data.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.wrong(f"“{key}” is no text.", f"Write “{key}” as text.", graph=inside, **where)
            return ""
        if len(value) > length:
            self.wrong(
                f"“{key}” has {len(value)} characters: {quoted(value)}", f"Use at most {length}.", graph=inside, **where
            )
            return value[:length]
        return value

    def version(self, data: Mapping[str, Any], inside: str) -> int:
        value = data.get("version")
        if value is None:
            return 1
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.wrong("“version” is no whole number.", "Write a number such as 1, or leave it out.", graph=inside)
            return 1
        return value

    def object(self, data: Mapping[str, Any], key: str, inside: str, node_id: str) -> dict[str, Any]:
        value = data.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.wrong(f"“{key}” is no object.", f"Write “{key}” as an object.", graph=inside, node_id=node_id)
            return {}
        return value

    def items(self, data: Mapping[str, Any], key: str, inside: str) -> list[Any]:
        value = data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(f"“{key}” is no list.", f"Write “{key}” as a list.", graph=inside)
            return []
        if len(value) > MOST[key]:
            self.wrong(
                f"The agent has {len(value)} {key}; there may be {MOST[key]}.",
                "Make parts of it agents of their own.",
                graph=inside,
            )
            return []
        return value
