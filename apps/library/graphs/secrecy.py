"""What never leaves with an exported agent, and is never kept of an imported one: credentials and secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from apps.library.blocks.base import BlockType
from apps.library.graphs.problems import Problem, Stops, quoted
from apps.library.graphs.shape import GraphData, NodeData

#: Words in the name of a value that make it a secret. `tokens` isn't among them: it is what models count.
SECRET_WORDS = re.compile(
    r"credential|api_?key|password|passwd|passphrase|secret|authorization|private_?key|access_?key|token(?!s|iz)"
)
#: Beginnings and forms that keys of well-known services have. Each begins at a word, so that looking for them takes
#: time in proportion to the text.
SECRET_TEXT = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"sk-[A-Za-z0-9_-]{20,}+"
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}+"
    r"|gh[pousr]_[A-Za-z0-9]{30,}+|github_pat_[A-Za-z0-9_]{30,}+"
    r"|xox[abposr]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|AIza[A-Za-z0-9_-]{35}"
    r"|glpat-[A-Za-z0-9_-]{20,}+|hf_[A-Za-z0-9]{30,}+|whsec_[A-Za-z0-9+/=]{20,}+|fd_[A-Za-z0-9_-]{40,}+"
    r"|eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}+"
    r")|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:(?!-----)[\s\S])*+(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?"
)
#: What names a credential without being one; it is left out too, but nobody need be warned.
REFERENCE_KEYS = {"id", "provider", "type", "title"}
REMOVED = "[secret removed]"
#: Pins that hold a JSON schema: the names in it are names of pins, not of values.
SCHEMA_PINS = ("input_schema", "output_schema", "tool_input_schema")
#: What a node that runs an agent holds of the person whose it was.
FOREIGN_PINS = ("user_id", "nodes_input_masks")

#: Told the path of each value that is taken out.
Note = Callable[[str], None]


def is_secret_name(name: str) -> bool:
    """Return whether values of this name are secrets."""
    return SECRET_WORDS.search(re.sub(r"[\s-]+", "_", name).lower()) is not None


def strip(graph: GraphData) -> list[Problem]:
    """Take credentials and secrets out of a graph and its sub-agents.

    Returns:
        What was taken out: the node, the pin and its path, never the value.
    """
    found: list[Problem] = []
    for each in (graph, *graph.sub_graphs):
        inside = "" if each is graph else each.name or each.id
        for key in ("name", "description", "instructions"):
            paths: list[str] = []
            setattr(each, key, _text(getattr(each, key), key, paths.append))
            found += [_problem(path, "The agent", graph=inside) for path in paths]
        for node in each.nodes:
            found += [
                _problem(path, f"The node {quoted(node.label)}", graph=inside, node_id=node.id, pin=path.split(".")[0])
                for path in _strip_node(node)
            ]
    return found


def _problem(path: str, what: str, **where: Any) -> Problem:
    return Problem(
        code="secret_removed",
        message=f"{what} held what looks like a secret in {quoted(path)}; it was taken out.",
        remedy="Store keys as credentials, and treat one that was in a file as known to others.",
        stops=Stops.NOTHING,
        **where,
    )


def _strip_node(node: NodeData) -> list[str]:
    """Take secrets out of a node; returns the paths of what was taken out."""
    found: list[str] = []
    given: dict[str, Any] = {}
    block = node.block
    for pin, value in node.input_default.items():
        if block is not None and block.type == BlockType.AGENT and pin in FOREIGN_PINS:
            continue
        if pin in SCHEMA_PINS and isinstance(value, dict):
            given[pin] = _schema(value, pin, found.append)
        elif _keeps(pin, value, pin, found.append):
            given[pin] = _value(value, pin, found.append)
    if block is not None and block.type == BlockType.INPUT and _is_secret_input(given):
        _forget(given, "value", "value", found.append)
    node.input_default = given
    node.metadata = _value(node.metadata, "metadata", found.append)
    return found


def _is_secret_input(given: dict[str, Any]) -> bool:
    return given.get("secret") is True or is_secret_name(str(given.get("name") or ""))


def _is_empty(value: Any) -> bool:
    """Return whether a value is too little for a secret: switches, and what holds nothing."""
    return value is None or isinstance(value, bool) or value in ("", [], {})


def _forget(given: dict[str, Any], key: str, path: str, note: Note) -> None:
    if not _is_empty(given.get(key)):
        del given[key]
        note(path)


def _keeps(name: str, value: Any, path: str, note: Note) -> bool:
    """Return whether a value of this name stays; tells when it is a secret."""
    if _is_empty(value) or not is_secret_name(name):
        return True
    if not (isinstance(value, dict) and set(value) <= REFERENCE_KEYS):
        note(path)
    return False


def _value(value: Any, path: str, note: Note) -> Any:
    if isinstance(value, str):
        return _text(value, path, note)
    if isinstance(value, list):
        return [_value(item, f"{path}.{place}", note) for place, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            key: _value(item, f"{path}.{key}", note)
            for key, item in value.items()
            if _keeps(key, item, f"{path}.{key}", note)
        }
    return value


def _text(text: str, path: str, note: Note) -> str:
    cleaned, count = SECRET_TEXT.subn(REMOVED, text)
    if count:
        note(path)
    return cleaned


def _schema(schema: dict[str, Any], path: str, note: Note) -> dict[str, Any]:
    """Return a JSON schema without the defaults of secret properties."""
    rest = _value({key: value for key, value in schema.items() if key != "properties"}, path, note)
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return rest
    return {**rest, "properties": {name: _property(name, field, path, note) for name, field in properties.items()}}


def _property(name: str, field: Any, path: str, note: Note) -> Any:
    if not isinstance(field, dict):
        return field
    kept = dict(field)
    if kept.get("secret") is True or is_secret_name(name):
        for key in ("default", "examples", "const"):
            _forget(kept, key, f"{path}.{name}.{key}", note)
    return _schema(kept, f"{path}.{name}", note)
