"""Scripts: what the model server is told to do, independent of any provider's wire.

A step is a list of actions, which are JSON objects (`chunk`: characters a delta; `delay`: seconds before each):

    {"text": "…", "chunk": 0, "delay": 0}
    {"reasoning": "…", "shape": "reasoning | reasoning_content | reasoning_details | think_tag", "chunk", "delay"}
    {"redacted": "thoughts that nobody may read"}
    {"tool": "name", "arguments": {…} or "raw_arguments": "…", "parts": 1, "delay": 0, "id": …, "index": …}
        (an `id` or `index` of null is left out on the wire)
    {"interleave": [tool actions]}    {"delta": {a literal delta}}    {"raw": "literal bytes"}
    {"sleep": seconds}    {"disconnect": true}    {"error_chunk": {…}}
    {"status": 429, "body": {…}, "times": k}    (without `times`: always)
    {"finish": "length" or null for an end without a reason}    {"usage": {figures over the counted ones} or null}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARKER = re.compile(r"\[script:([\w.-]+)\]")
FINISH_REASONS = {"stop", "tool_calls", "length", "content_filter", "error"}
SHAPES = {"reasoning", "reasoning_content", "reasoning_details", "think_tag"}


class ScriptError(ValueError):
    """A script that can't be understood; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a text is streamed: `chunk` characters a delta (0: all at once), `delay` seconds before each.

    With `words`, each word is a delta of its own at the server's own pace instead.
    """

    chunk: int = 0
    delay: float = 0.0
    words: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Visible text."""

    text: str
    pace: Pace = Pace()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Reasoning, in one of the shapes that servers send it in."""

    text: str
    shape: str = "reasoning"
    pace: Pace = Pace()


@dataclass(frozen=True, slots=True)
class Redacted:
    """Reasoning that only the model can read."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call: its arguments' JSON text is cut into `parts`; `labels` overrides the wire's `id` and `index`."""

    name: str
    arguments: str
    parts: int = 1
    delay: float = 0.0
    labels: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Parallel tool calls whose parts take turns."""

    calls: Sequence[ToolCall]


@dataclass(frozen=True, slots=True)
class Delta:
    """A delta that is sent literally: for what servers do that no other action does."""

    delta: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Silence, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP error instead of an answer: always, or the first `times` times that this step is asked for."""

    status: int
    body: Mapping[str, Any] | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The connection is cut without an end (after the headers, which are sent if nothing else was)."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are sent literally."""

    text: str


@dataclass(frozen=True, slots=True)
class ErrorChunk:
    """An error object within the stream, which then ends."""

    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """How the answer ends; None: without saying so."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Overrides of the reported usage; None: no usage is reported."""

    usage: Mapping[str, Any] | None


Action = (
    Text
    | Reasoning
    | Redacted
    | ToolCall
    | Interleaved
    | Delta
    | Sleep
    | Status
    | Disconnect
    | Raw
    | ErrorChunk
    | Finish
    | UsageReport
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A conversation's model steps. After the last one, "Done." is said, or the last is repeated."""

    name: str
    steps: Sequence[Sequence[Action]]
    repeat_last: bool = False
    context: int | None = None

    def step(self, index: int) -> Sequence[Action]:
        """Return what to do at a step, counted from 0."""
        if index < len(self.steps):
            return self.steps[index]
        return self.steps[-1] if self.repeat_last and self.steps else (Text("Done."),)


def parse_script(raw: object) -> Script:
    """Read `{"name": …, "steps": [[action, …], …], "repeat_last": false, "context": null}`.

    With a `context`, requests whose messages have more characters (as JSON) than that are refused as too long.

    Raises:
        ScriptError: It can't be understood.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("steps"), list):
        raise ScriptError('a script is {"name": "…", "steps": [[action, …], …]}')
    name = raw.get("name")
    if not isinstance(name, str) or not MARKER.fullmatch(f"[script:{name}]"):
        raise ScriptError("a script's name is letters, digits, dots, dashes and underscores")
    steps = []
    for number, step in enumerate(raw["steps"]):
        if not isinstance(step, list):
            raise ScriptError(f"step {number} is not a list of actions")
        steps.append([parse_action(action, f"step {number}, action {place}") for place, action in enumerate(step)])
    context = raw.get("context")
    if context is not None and (isinstance(context, bool) or not isinstance(context, int)):
        raise ScriptError("a script's context is a whole number of characters")
    return Script(name=name, steps=steps, repeat_last=bool(raw.get("repeat_last", False)), context=context)


def parse_action(raw: object, where: str = "action") -> Action:
    """Read one action; the first of its keys that names an action decides which it is.

    Raises:
        ScriptError: It can't be understood.
    """
    if not isinstance(raw, Mapping):
        raise ScriptError(f"{where} is not an object")
    kind = next((key for key in _PARSERS if key in raw), None)
    if kind is None:
        raise ScriptError(f"{where}: expected one of {', '.join(_PARSERS)}")
    try:
        return _PARSERS[kind](raw)
    except (TypeError, ValueError) as error:
        raise ScriptError(f"{where}: {error}") from error


def _pace(raw: Mapping[str, Any]) -> Pace:
    return Pace(chunk=int(raw.get("chunk", 0)), delay=float(raw.get("delay", 0)))


def _text(raw: Mapping[str, Any]) -> Text:
    return Text(str(raw["text"]), _pace(raw))


def _reasoning(raw: Mapping[str, Any]) -> Reasoning:
    shape = raw.get("shape", "reasoning")
    if shape not in SHAPES:
        raise ScriptError(f"shape is one of {', '.join(sorted(SHAPES))}")
    return Reasoning(str(raw["reasoning"]), shape, _pace(raw))


def _tool(raw: Mapping[str, Any]) -> ToolCall:
    arguments = raw.get("raw_arguments")
    if arguments is None:
        arguments = json.dumps(raw.get("arguments", {}), ensure_ascii=False)
    return ToolCall(
        name=str(raw["tool"]),
        arguments=str(arguments),
        parts=max(1, int(raw.get("parts", 1))),
        delay=float(raw.get("delay", 0)),
        labels={key: raw[key] for key in ("id", "index") if key in raw},
    )


def _status(raw: Mapping[str, Any]) -> Status:
    times = raw.get("times")
    return Status(int(raw["status"]), raw.get("body"), None if times is None else int(times))


def _finish(raw: Mapping[str, Any]) -> Finish:
    reason = raw["finish"]
    if reason is not None and reason not in FINISH_REASONS:
        raise ScriptError(f"finish is null or one of {', '.join(sorted(FINISH_REASONS))}")
    return Finish(reason)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ScriptError("expected an object")
    return value


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Action]] = {
    "text": _text,
    "reasoning": _reasoning,
    "redacted": lambda raw: Redacted(str(raw["redacted"])),
    "tool": _tool,
    "interleave": lambda raw: Interleaved([_tool(_object(call)) for call in raw["interleave"]]),
    "status": _status,
    "sleep": lambda raw: Sleep(float(raw["sleep"])),
    "disconnect": lambda raw: Disconnect(),
    "raw": lambda raw: Raw(str(raw["raw"])),
    "error_chunk": lambda raw: ErrorChunk(_object(raw["error_chunk"])),
    "finish": _finish,
    "usage": lambda raw: UsageReport(None if raw["usage"] is None else _object(raw["usage"])),
    "delta": lambda raw: Delta(_object(raw["delta"])),
}


class ScriptBook:
    """The registered scripts, and how often each failing step was asked for."""

    def __init__(self) -> None:
        """Start without scripts."""
        self._scripts: dict[str, Script] = {}
        self._failures: dict[tuple[str, int, int], int] = {}

    def register(self, script: Script) -> None:
        """Add a script, or replace the one of its name; its count of failures starts anew."""
        self._scripts[script.name] = script
        self._failures = {key: count for key, count in self._failures.items() if key[0] != script.name}

    def known(self, name: str | None) -> str | None:
        """Return a script's name if such a script is registered."""
        return name if name in self._scripts else None

    def refuses(self, name: str | None, messages: object) -> bool:
        """Return whether a conversation is longer than its script's context."""
        script = self._scripts.get(name or "")
        if script is None or script.context is None:
            return False
        return len(json.dumps(messages, ensure_ascii=False)) > script.context

    def actions(self, name: str, step: int) -> list[Action]:
        """Return what to do now at a step: used-up failures (`times`) are left out, the first other one counts."""
        chosen: list[Action] = []
        for place, action in enumerate(self._scripts[name].step(step)):
            if isinstance(action, Status) and action.times is not None:
                failed = self._failures.get((name, step, place), 0)
                if failed >= action.times:
                    continue
                self._failures[name, step, place] = failed + 1
            chosen.append(action)
            if isinstance(action, Status):
                break  # nothing follows an HTTP error
        return chosen
