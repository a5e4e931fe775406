"""Libraries to look at: agents, and runs of them in every state, written as their services write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from apps.library.graphs.services import import_agent
from apps.library.models import (
    Execution,
    Folder,
    LibraryAgent,
    NodeExecution,
    NodeOutput,
    Preset,
    Review,
    Schedule,
)
from apps.library.models.executions import Status

SHORT = "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158"
LONG = "90a56ffb-7024-4b2b-ab50-e26c5e5ab8ba"
NUMBER = "96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98"
DATE = "7e198b09-4994-47db-8b4d-952d98241817"
TIME = "2a1c757e-86cf-4c7e-aacf-060dc382e434"
FILE = "95ead23f-8283-4654-aef3-10c053b74a31"
DROPDOWN = "655d6fdf-a334-421c-b733-520549c07cd1"
TOGGLE = "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e"
TABLE = "5603b273-f41e-4020-af7d-fbc9c6a8d928"
ANY = "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b"
OUTPUT = "363ae599-353e-4804-937e-b2ee3cef3da4"
REVIEW = "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d"


def node(block_id: str, x: float = 0, y: float = 0, **given: Any) -> dict[str, Any]:
    """A node of a file."""
    position = {"position": {"x": x, "y": y}}
    return {"id": str(uuid4()), "block_id": block_id, "input_default": given, "metadata": position}


def link(source: dict[str, Any], pin: str, sink: dict[str, Any], into: str) -> dict[str, Any]:
    """A link of a file."""
    ends = {"source_id": source["id"], "source_name": pin, "sink_id": sink["id"], "sink_name": into}
    return {"id": str(uuid4()), **ends, "is_static": False}


def file_of(name: str, nodes: list[Any], links: list[Any], description: str = "") -> dict[str, Any]:
    """An agent's file."""
    return {"name": name, "description": description, "nodes": nodes, "links": links}


def echo_file(name: str = "Echo", description: str = "Says what it hears.") -> dict[str, Any]:
    """An agent with one input and one output."""
    hears, says = node(SHORT, 0, 0, name="word"), node(OUTPUT, 500, 0, name="said")
    return file_of(name, [hears, says], [link(hears, "result", says, "value")], description)


def every_input_file() -> dict[str, Any]:
    """An agent with an input of each kind."""
    inputs = [
        node(SHORT, name="short", title="Short text", description="A few words."),
        node(LONG, name="long", title="Long text"),
        node(NUMBER, name="number", title="Number"),
        node(DATE, name="date", title="Date"),
        node(TIME, name="time", title="Time"),
        node(DROPDOWN, name="choice", title="Choice", options=["Red", "Green"]),
        node(TOGGLE, name="switch", title="Switch"),
        node(TABLE, name="table", title="Table", column_headers=["Name", "Age"]),
        node(FILE, name="file", title="File"),
        node(ANY, name="extra", title="Extra", value="as it was", advanced=True),
    ]
    says = node(OUTPUT, name="said")
    return file_of("Everything", [*inputs, says], [link(inputs[0], "result", says, "value")], "Asks for everything.")


def add_agent(person: Any, file: dict[str, Any] | None = None) -> LibraryAgent:
    """Put an agent into a person's library."""
    return import_agent(user_id=person.user.pk, file=file or echo_file()).agent


def add_run(agent: LibraryAgent, status: str = Status.COMPLETED, **columns: Any) -> Execution:
    """A run of an agent that got as far as its status says."""
    run_id = uuid4()
    now = timezone.now()
    has_begun, is_over = status != Status.QUEUED, status in Execution.ENDED
    facts = {
        "started_at": now - timedelta(seconds=65) if has_begun else None,
        "ended_at": now if is_over else None,
        # As if somebody worked on it: nothing in a test takes it over.
        "lease_expires_at": None if is_over or not has_begun else now + timedelta(hours=1),
        "inputs": {"word": "hello"},
        **columns,
    }
    return Execution.objects.create(
        id=run_id, root_id=run_id, user=agent.user, agent=agent, graph=agent.graph, status=status, **facts
    )


def add_use(run: Execution, place: int, status: str = Status.COMPLETED, **columns: Any) -> NodeExecution:
    """A use of a run's node, by the node's place in the graph."""
    now = timezone.now()
    times = {"started_at": now - timedelta(seconds=2), "ended_at": now if status in Execution.ENDED else None}
    number = NodeExecution.objects.filter(execution=run).count()
    return NodeExecution.objects.create(
        execution=run, node=run.graph.nodes.get(position=place), number=number, status=status, **{**times, **columns}
    )


def put_out(use: NodeExecution, *values: Any, pin: str = "output") -> None:
    """What a use put out."""
    for position, value in enumerate(values):
        NodeOutput.objects.create(node_execution=use, position=position, pin=pin, data=value)


def add_review(run: Execution, payload: Any = "May I?", **columns: Any) -> Review:
    """A question of a run's first node."""
    use = add_use(run, 0, Status.REVIEW)
    facts = {"instructions": "Please look at this", **columns}
    return Review.objects.create(node_execution=use, execution=run, user=run.user, payload=payload, **facts)


def add_schedule(agent: LibraryAgent, name: str = "Morning", **columns: Any) -> Schedule:
    """A daily schedule."""
    facts = {"cron": "0 9 * * *", "next_run_at": timezone.now() + timedelta(hours=3), **columns}
    return Schedule.objects.create(user=agent.user, agent=agent, name=name, **facts)


def add_preset(agent: LibraryAgent, name: str = "Greeting", **columns: Any) -> Preset:
    """Inputs under a name."""
    return Preset.objects.create(user=agent.user, agent=agent, name=name, **{"inputs": {"word": "hi"}, **columns})


def add_folder(person: Any, name: str = "Work") -> Folder:
    """A folder."""
    return Folder.objects.create(user=person.user, name=name)
