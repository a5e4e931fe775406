from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engines.base import BrokenStream, ToolInputDelta, ToolInputEnd, ToolInputStart
from apps.engines.tool_parts import ToolParts

Part = dict[str, Any]


def part(arguments: Any = None, name: str | None = None, **labels: Any) -> Part:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**labels, "function": function}


def assemble(*parts: Part) -> list[tuple[str, str]]:
    """Return (name, arguments) of each call, after checking the events' order."""
    tools = ToolParts()
    events = [event for each in parts for event in tools.feed(each)] + list(tools.finish())
    streamed: dict[int, str] = {}
    names: dict[int, str] = {}
    calls: list[tuple[str, str]] = []
    for event in events:
        match event:
            case ToolInputStart(index, name):
                assert index not in names
                names[index], streamed[index] = name, ""
            case ToolInputDelta(index, delta):
                assert delta
                streamed[index] += delta
            case ToolInputEnd(index, name, arguments):
                assert (names[index], streamed.pop(index)) == (name, arguments)
                assert index == len(calls)
                calls.append((name, arguments))
    assert not streamed
    return calls


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        pytest.param([part("{}", "a", index=0, id="x")], [("a", "{}")], id="whole"),
        pytest.param(
            [part("", "a", index=0, id="x"), part('{"q"', index=0), part(": 1}", index=0)],
            [("a", '{"q": 1}')],
            id="parts",
        ),
        pytest.param(
            [part('{"q"', index=0, id="x"), part(": 1}", index=0), part(None, "a", index=0)],
            [("a", '{"q": 1}')],
            id="name last",
        ),
        pytest.param(
            [part("", "a", index=0, id="x"), part("", "b", index=1, id="y"), part("{}", index=1), part("[]", index=0)],
            [("a", "[]"), ("b", "{}")],
            id="interleaved",
        ),
        pytest.param(
            [part("", "a", id="x"), part("{", id="x"), part("}", id="x"), part("{}", "a", id="y")],
            [("a", "{}"), ("a", "{}")],
            id="no index, id repeated",
        ),
        pytest.param(
            [part("", "a", index=0, id="x"), part("{", "a", index=0, id="x"), part("}", "a", index=0, id="x")],
            [("a", "{}")],
            id="all repeated",
        ),
        pytest.param(
            [part("{}", "a", index=0, id="x"), part("{}", "a", index=0, id="y")],
            [("a", "{}"), ("a", "{}")],
            id="all index 0",
        ),
        pytest.param([part("{}", "a"), part("{}", "a")], [("a", "{}"), ("a", "{}")], id="no labels, whole"),
        pytest.param([part("{", "a"), part("}"), part("{}", "b")], [("a", "{}"), ("b", "{}")], id="no labels, parts"),
        pytest.param([part("{", "a"), part("}", "a"), part("", "a")], [("a", "{}")], id="no labels, name repeated"),
        pytest.param(
            [part("", "a", index=0, id="r1"), part("{", index=0, id="r2"), part("}", index=0, id="r3")],
            [("a", "{}")],
            id="an id made up for each part",
        ),
        pytest.param([part("{}", "a", index=3, id="x")], [("a", "{}")], id="odd index"),
        pytest.param([part({"q": 1}, "a", index=0)], [("a", '{"q": 1}')], id="decoded arguments"),
        pytest.param([part(None, "a", index=0)], [("a", "")], id="no arguments"),
        pytest.param([{"index": True, "id": 5, "function": {"name": "a", "arguments": 7}}], [("a", "")], id="nonsense"),
    ],
)
def test_calls_are_put_together(parts: list[Part], calls: list[tuple[str, str]]) -> None:
    assert assemble(*parts) == calls


def test_a_call_is_announced_before_its_arguments_are_there() -> None:
    tools = ToolParts()
    assert list(tools.feed(part("", "a", index=0))) == [ToolInputStart(0, "a")]
    assert list(tools.feed(part('{"q', index=0))) == [ToolInputDelta(0, '{"q')]


def test_a_call_without_a_name_breaks_the_answer() -> None:
    tools = ToolParts()
    assert list(tools.feed(part("{}", index=0))) == []
    with pytest.raises(BrokenStream):
        list(tools.finish())


_call = st.tuples(
    st.sampled_from(["a", "b"]),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3).map(json.dumps),
)


@given(st.lists(_call, min_size=1, max_size=4), st.sampled_from(["index", "id", "both"]), st.booleans(), st.data())
def test_any_cut_and_any_interleaving_gives_the_same_calls(
    calls: list[tuple[str, str]], labelled: str, repeat_name: bool, data: st.DataObject
) -> None:
    queues: list[list[Part]] = []
    for number, (name, arguments) in enumerate(calls):
        labels = {"index": number, "id": f"call{number}"}
        kept = labels if labelled == "both" else {labelled: labels[labelled]}
        places = sorted(data.draw(st.sets(st.integers(1, max(1, len(arguments) - 1)), max_size=3)))
        pieces = [arguments[start:end] for start, end in zip([0, *places], [*places, len(arguments)], strict=True)]
        queues.append([part(piece, name if first or repeat_name else None, **kept) for first, piece in _marked(pieces)])
    order: list[Part] = [queue.pop(0) for queue in queues]  # calls begin in order, then anything goes
    while any(queues):
        order.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    assert assemble(*order) == calls


def _marked(pieces: list[str]) -> list[tuple[bool, str]]:
    return [(place == 0, piece) for place, piece in enumerate(pieces)]
