"""Pins that name a part of a value: `list_$_0`, `dictionary_#_key`, `object_@_attribute`, also one after another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from apps.library.errors import BlockError
from apps.library.models import Link

INDEX, KEY, ATTRIBUTE = "_$_", "_#_", "_@_"
_DELIMITER = re.compile(r"(_\$_|_#_|_@_)")

#: What fills the places of a list that no pin names.
GAP = ""
#: A list that pins make is at most this long; the index is somebody's text.
LONGEST_LIST = 10_000

#: Between the sink's id and its pin, in the name of a pin that calls a tool.
TOOL_PIN = "_~_"


class Missing:
    """Stands for "there is nothing there", which None doesn't."""


MISSING: Final = Missing()


class Step(NamedTuple):
    """One step into a value: `kind` is one of the three delimiters."""

    kind: str
    key: str


class Pin(NamedTuple):
    """A pin's name, taken apart."""

    name: str
    path: tuple[Step, ...]


@lru_cache(4096)
def parse(pin: str) -> Pin:
    """Take a pin's name apart."""
    name, *rest = _DELIMITER.split(pin)
    return Pin(name, tuple(Step(kind, key) for kind, key in zip(rest[::2], rest[1::2], strict=True)))


def pick(source_pin: str, put_out_on: str, value: Any) -> Any:
    """Return what a link from `source_pin` carries of a value that was put out on a pin; `MISSING` for nothing."""
    if source_pin == put_out_on:
        return value
    name, path = parse(source_pin)
    if name != put_out_on:
        return MISSING
    for step in path:
        value = _part(value, step)
        if value is MISSING:
            return MISSING
    return value


def _part(value: Any, step: Step) -> Any:
    if step.kind == INDEX:
        if isinstance(value, list) and step.key.isascii() and step.key.isdecimal() and int(step.key) < len(value):
            return value[int(step.key)]
        return MISSING
    return value.get(step.key, MISSING) if isinstance(value, Mapping) else MISSING


def merge(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return input values with those of dynamic pins put into the values that they are parts of.

    Raises:
        BlockError: When a pin can't be a part of what is there.
    """
    merged = {pin: value for pin, value in data.items() if not parse(pin).path}
    for pin, value in data.items():
        name, path = parse(pin)
        if path:
            merged[name] = _with(merged.get(name, MISSING), path, value, pin)
    return merged


def _with(whole: Any, path: tuple[Step, ...], value: Any, pin: str) -> Any:
    """Return `whole` with `value` at the end of a path; nothing that others hold is changed."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step.kind != INDEX:
        entries = dict(_as(whole, dict, pin))
        entries[step.key] = _with(entries.get(step.key, MISSING), rest, value, pin)
        return entries
    if not (step.key.isascii() and step.key.isdecimal() and int(step.key) < LONGEST_LIST):
        raise BlockError(f"The pin {pin} names no place in a list: {step.key} is not a whole number from 0.")
    items, place = list(_as(whole, list, pin)), int(step.key)
    items += [GAP] * (place + 1 - len(items))
    items[place] = _with(items[place] if items[place] != GAP else MISSING, rest, value, pin)
    return items


def _as(whole: Any, kind: type, pin: str) -> Any:
    if whole is MISSING or whole is None:
        return kind()
    if not isinstance(whole, kind):
        raise BlockError(f"The pin {pin} can't be put into what is there: it is no {kind.__name__}.")
    return whole


def tool_target(pin: str) -> tuple[str, str] | None:
    """Return the sink's node id and pin of an output that calls a tool; None for every other pin."""
    if not pin.startswith(Link.TOOL_PREFIX):
        return None
    node_id, found, sink_pin = pin.removeprefix(Link.TOOL_PREFIX).partition(TOOL_PIN)
    return (node_id, sink_pin) if found else None


def is_tool_link(source_pin: str) -> bool:
    """Return whether a link hangs on a node's tools: the suffix that files hold is only a hint."""
    return source_pin == "tools" or source_pin.startswith(Link.TOOL_PREFIX)


def base_names(pins: Iterable[str]) -> frozenset[str]:
    """Return the names of pins without their paths."""
    return frozenset(parse(pin).name for pin in pins)
