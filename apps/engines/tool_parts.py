"""Putting streamed tool calls together, from servers that cut and label the parts in different ways."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.engines.base import BrokenStream, ToolInputDelta, ToolInputEnd, ToolInputStart

ToolEvent = ToolInputStart | ToolInputDelta | ToolInputEnd


@dataclass(slots=True)
class _Call:
    """A call under construction; `started` once its name is known and announced."""

    index: int
    call_id: str = ""
    name: str = ""
    started: bool = False
    parts: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        return "".join(self.parts)

    @property
    def is_complete(self) -> bool:
        """Whether the arguments so far are a whole JSON object, so that nothing can be missing."""
        try:
            return isinstance(json.loads(self.arguments), dict)
        except ValueError:
            return False


class ToolParts:
    """Assembles one answer's tool calls.

    Which call a part belongs to is decided by its `id` if that is known, else by its `index`, else it is the latest
    call's. A part begins a new call when its label is new, and also when it carries a name although the call it
    would belong to has another id, or is already complete: some servers give all parallel calls the index 0, or
    leave out index and id. A new id without a name is not a new call: some servers make up an id for each part.
    """

    def __init__(self) -> None:
        """Start without calls."""
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __bool__(self) -> bool:
        """Tell whether the model called anything."""
        return bool(self._calls)

    def feed(self, part: Mapping[str, Any]) -> Iterator[ToolEvent]:
        """Take one entry of a delta's `tool_calls` and yield what it adds.

        Args:
            part: The decoded entry; fields of a wrong type count as absent.
        """
        function = part.get("function")
        function = function if isinstance(function, Mapping) else {}
        name = _text(function.get("name"))
        arguments = _arguments_text(function.get("arguments"))
        call = self._call_of(part, name, arguments)
        call.name = call.name or name  # servers that send the name again with each part send the same one
        if arguments:
            call.parts.append(arguments)
        if call.started:
            if arguments:
                yield ToolInputDelta(call.index, arguments)
        elif call.name:
            call.started = True
            yield ToolInputStart(call.index, call.name)
            if call.parts:
                yield ToolInputDelta(call.index, call.arguments)

    def finish(self) -> Iterator[ToolEvent]:
        """End every call: only the answer's end tells that no part is missing, as parallel calls may interleave.

        Raises:
            BrokenStream: A call never got a name.
        """
        if any(not call.started for call in self._calls):
            raise BrokenStream("The model called a tool without saying which.")
        for call in self._calls:
            yield ToolInputEnd(call.index, call.name, call.arguments)

    def _call_of(self, part: Mapping[str, Any], name: str, arguments: str) -> _Call:
        call_id, wire_index = _text(part.get("id")), _index(part.get("index"))
        call = self._find(call_id, wire_index)
        if call is None or self._begins_another(call, call_id, name, arguments):
            call = _Call(index=len(self._calls), call_id=call_id)
            self._calls.append(call)
        call.call_id = call.call_id or call_id
        if call_id:
            self._by_id.setdefault(call_id, call)
        if wire_index is not None:
            self._by_index[wire_index] = call
        return call

    def _find(self, call_id: str, wire_index: int | None) -> _Call | None:
        if call_id in self._by_id:
            return self._by_id[call_id]
        if wire_index is not None:
            return self._by_index.get(wire_index)
        return self._calls[-1] if self._calls else None

    def _begins_another(self, call: _Call, call_id: str, name: str, arguments: str) -> bool:
        if not name or not call.name or (call_id and self._by_id.get(call_id) is call):
            return False
        if call_id and call.call_id:
            return True  # another id, and a name with it
        return name != call.name or (bool(arguments) and call.is_complete)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _index(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _arguments_text(value: object) -> str:
    """Return arguments as JSON text; some servers send the decoded object."""
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return _text(value)
