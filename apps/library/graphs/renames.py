"""What older files call otherwise, and values that they write in a loose form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.library.graphs import known, pins
from apps.library.graphs.shape import GraphData, NodeData

#: Old name → new name of input pins, by block.
INPUTS: Mapping[str, Mapping[str, str]] = {
    known.DROPDOWN_INPUT: {"placeholder_values": "options"},
    known.SHEETS_READ: {"spreadsheet_id": "spreadsheet"},
    known.SHEETS_WRITE: {"spreadsheet_id": "spreadsheet"},
    known.SHEETS_APPEND: {"spreadsheet_id": "spreadsheet"},
    known.SEND_EMAIL: {"creds": "config"},
}
#: Old name → new name of output pins, by block.
OUTPUTS: Mapping[str, Mapping[str, str]] = {
    known.CODE_EXTRACTION: {"json": "json_code"},
    known.FILE_READ: {"chunk": "content"},
}
#: Pins that are gone.
GONE: Mapping[str, frozenset[str]] = {known.CURRENT_DATE: frozenset({"format"})}
#: What the old pin of a mail server held of the server; the rest was a sign-in.
MAIL_SERVER = ("smtp_server", "smtp_port")
TRUE_WORDS = {"true", "yes", "on", "1"}
FALSE_WORDS = {"false", "no", "off", "0"}


def modernise(graph: GraphData) -> None:
    """Bring names of pins up to date, and values into the types of their pins, in a graph and its sub-agents."""
    for each in (graph, *graph.sub_graphs):
        nodes = each.by_id()
        for node in each.nodes:
            _rename_inputs(node)
            _coerce_inputs(node)
        for link in each.links:
            if link.source_id in nodes:
                names = OUTPUTS.get(nodes[link.source_id].block_id, {})
                link.source_name = _renamed(link.source_name, names)
            if link.sink_id in nodes:
                link.sink_name = _renamed(link.sink_name, INPUTS.get(nodes[link.sink_id].block_id, {}))


def _renamed(pin: str, names: Mapping[str, str]) -> str:
    base = pins.base_name(pin)
    return names[base] + pin[len(base) :] if base in names else pin


def _rename_inputs(node: NodeData) -> None:
    names = INPUTS.get(node.block_id, {})
    gone = GONE.get(node.block_id, frozenset())
    given: dict[str, Any] = {}
    for pin, value in node.input_default.items():
        if pin in gone:
            continue
        fresh = names.get(pin, pin)
        if fresh != pin and node.input_default.get(fresh) is not None:
            continue  # a file that has both means the new one
        given[fresh] = value
    if names.get("spreadsheet_id") and isinstance(given.get("spreadsheet"), str):
        given["spreadsheet"] = {"id": given["spreadsheet"]}
    if node.block_id == known.SEND_EMAIL and isinstance(given.get("config"), dict) and "creds" in node.input_default:
        given["config"] = {key: value for key, value in given["config"].items() if key in MAIL_SERVER}
    node.input_default = given


def _coerce_inputs(node: NodeData) -> None:
    block = node.block
    if block is None:
        return
    schema = pins.schemas_of(type(block))[0]
    for pin, field in pins.properties(schema).items():
        if pin in node.input_default:
            node.input_default[pin] = coerced(node.input_default[pin], pins.types(field, schema))


def coerced(value: Any, kinds: set[str] | None) -> Any:
    """Return a simple value in the one type that a pin takes; as it is where that isn't plain."""
    if kinds is None or len(kinds) != 1:
        return value
    kind = next(iter(kinds))
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if kind == "boolean" and word in TRUE_WORDS | FALSE_WORDS:
        return word in TRUE_WORDS
    if kind in {"integer", "number"} and word and len(word) < 40:
        return _number(word, kind, value)
    return value


def _number(word: str, kind: str, value: str) -> Any:
    plain = word.removeprefix("-").removeprefix("+")
    if plain.isdecimal() and plain.isascii():
        return int(word)
    whole, dot, rest = plain.partition(".")
    if kind == "number" and dot and f"{whole}{rest}".isdecimal() and f"{whole}{rest}".isascii():
        return float(word)
    return value
