"""The same graphs by LangGraph, which keeps each step in SQLite before the next begins; has a virtualenv of its own.

A JSON job a line in, a JSON answer a line out.
"""

from __future__ import annotations

import json
import operator
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph


class Chain(TypedDict):
    value: int


class Fan(TypedDict):
    value: int
    values: Annotated[list[int], operator.add]


def chain(size: int) -> Any:
    graph = StateGraph(Chain)
    for place in range(size):
        graph.add_node(f"n{place}", lambda state: {"value": state["value"] + 1})
        graph.add_edge(f"n{place - 1}" if place else START, f"n{place}")
    graph.add_edge(f"n{size - 1}", END)
    return graph


def fan(size: int) -> Any:
    graph = StateGraph(Fan)
    graph.add_node("first", lambda state: {"value": state["value"] + 1})
    graph.add_edge(START, "first")
    for place in range(size):
        graph.add_node(f"n{place}", lambda state: {"values": [state["value"] + 1]})
        graph.add_edge("first", f"n{place}")
        graph.add_edge(f"n{place}", END)
    return graph


def run(shape: str, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, SqliteSaver.from_conn_string(str(Path(folder) / "l.sqlite3")) as kept:
        graph = (chain if shape == "chain" else fan)(size).compile(checkpointer=kept)
        config = {"configurable": {"thread_id": "1"}, "recursion_limit": size + 10}
        given = {"value": 0} if shape == "chain" else {"value": 0, "values": []}
        began = time.perf_counter()
        state = graph.invoke(given, config, durability="sync")
        seconds = time.perf_counter() - began
    value = state["value"] if shape == "chain" else len(state["values"])
    assert value == size, value
    return {"seconds": seconds, "value": value}


for line in sys.stdin:
    job = json.loads(line)
    print(json.dumps(run(job["shape"], job["size"])), flush=True)
