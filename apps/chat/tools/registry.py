"""Which tools there are, and the one way to call them: a call always ends in a result, never in an exception."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import traceback
from collections.abc import Collection, Sequence
from pathlib import PurePath
from typing import Any, Final
from uuid import uuid4

import structlog
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from apps.chat.tools.base import Tool, ToolContext, ToolFailure, ToolResult
from apps.chat.tools.permissions import Permissions
from apps.chat.tools.todo import TodoWrite
from apps.chat.tools.web import WebFetch
from apps.chat.tools.workspace import workspace_tools
from apps.engines.base import ToolSpec

CALL_LIMIT_SECONDS: Final = 300.0
MAX_ARGUMENTS_CHARS: Final = 1_000_000  # far above what a model writes in one go; bounds parsing
MAX_ARGUMENTS_DEPTH: Final = 64  # far below where Python's own recursion gives up
MAX_RESULT_CHARS: Final = 80_000
MAX_PROBLEMS: Final = 10  # a model mends a few at a time; a broken list could name thousands
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # what both providers' wires take

logger = structlog.get_logger(__name__)


class ToolRegistry:
    """The tools of one installation."""

    def __init__(self, *, call_limit_seconds: float = CALL_LIMIT_SECONDS) -> None:
        """Start empty.

        Args:
            call_limit_seconds: How long one call may take.
        """
        self._call_limit_seconds = call_limit_seconds
        self._tools: dict[str, Tool] = {}
        self._specs: dict[str, ToolSpec] = {}

    def register(self, tool: Tool) -> None:
        """Add a tool.

        Args:
            tool: An instance; its schema is made once, here.

        Raises:
            ValueError: If its name can't be used or is taken.
        """
        if not _NAME.fullmatch(tool.name):
            raise ValueError(f"A tool can't be named {tool.name!r}.")
        if tool.name in self._tools:
            raise ValueError(f"There are two tools named {tool.name!r}.")
        parameters = _schema(tool)
        self._tools[tool.name] = tool
        self._specs[tool.name] = ToolSpec(name=tool.name, description=tool.description, parameters=parameters)

    @property
    def names(self) -> frozenset[str]:
        """The names of all tools, also of those that this installation can't offer now."""
        return frozenset(self._tools)

    def within(self, permissions: Permissions) -> ToolRegistry:
        """Return a registry of the tools that a turn may use: others are neither offered nor called.

        Args:
            permissions: The turn's.
        """
        allowed = [name for name in self._tools if permissions.allows_tool(name)]
        found = ToolRegistry(call_limit_seconds=self._call_limit_seconds)
        found._tools = {name: self._tools[name] for name in allowed}
        found._specs = {name: self._specs[name] for name in allowed}
        return found

    def get(self, name: str) -> Tool | None:
        """Find a tool that this installation can offer right now.

        Args:
            name: What the model calls it by.

        Returns:
            The tool, or None.
        """
        tool = self._tools.get(name)
        return tool if tool is not None and tool.is_available() else None

    def specs(self) -> list[ToolSpec]:
        """Say what a model is offered.

        Returns:
            The available tools by name, so that the text is the same each time and prompt caches hold.
        """
        return [spec for name, spec in sorted(self._specs.items()) if self.get(name) is not None]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Call a tool the way a model asked for it.

        Args:
            name: The tool's name.
            arguments: The JSON text that the model wrote; empty text means no arguments.
            context: Who asks, and what may be done.

        Returns:
            The tool's answer, or a `ToolFailure`: `unknown_tool`, `input_validation_error`, `timeout`,
            `internal_error`, or the tool's own. Only `CancelledError` is raised.
        """
        tool = self.get(name)
        if tool is None:
            return self._unknown(name)
        try:
            return await self._run(tool, arguments, context)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a tool raises, the turn goes on
            return _internal_error(tool, error, context)

    async def _run(self, tool: Tool, arguments: str, context: ToolContext) -> ToolResult:
        try:
            parsed = tool.arguments.model_validate(_parse(arguments))
        except _BadArguments as error:
            return _invalid(tool, str(error))
        except ValidationError as error:
            return _invalid_fields(tool, error)
        limit = asyncio.timeout(self._call_limit_seconds)
        try:
            async with limit:
                result = await tool.run(parsed, context)
        except TimeoutError:
            if not limit.expired():
                raise  # the tool's own: a fault of the tool
            return ToolFailure(
                message=f"{tool.name} took longer than {self._call_limit_seconds:g} seconds and was stopped.",
                error="timeout",
                details={"limit_seconds": self._call_limit_seconds},
            )
        if not isinstance(result, ToolResult):
            raise TypeError(f"{tool.name} returned {type(result).__name__}")
        return result

    def _unknown(self, name: str) -> ToolFailure:
        known = [spec.name for spec in self.specs()]
        return ToolFailure(
            message=f"There is no tool {name[:64]!r}. The tools are: {', '.join(known) or 'none'}.",
            error="unknown_tool",
            details={"tools": known},
        )


def default_registry(
    *,
    extra_modules: Sequence[str] = (),
    fetch_allow: Collection[str] = (),
    call_limit_seconds: float = CALL_LIMIT_SECONDS,
) -> ToolRegistry:
    """Make the registry of the product's tools.

    Args:
        extra_modules: Dotted paths of modules whose `TOOLS` (a list of tools) are added.
        fetch_allow: `host:port` pairs that `web_fetch` may read although they aren't public.
        call_limit_seconds: How long one call may take.

    Returns:
        A new registry.

    Raises:
        ImportError: If a module can't be imported or has no `TOOLS`.
        ValueError: If two tools share a name.
    """
    registry = ToolRegistry(call_limit_seconds=call_limit_seconds)
    for tool in (TodoWrite(), WebFetch(allow=fetch_allow), *workspace_tools()):
        registry.register(tool)
    for path in extra_modules:
        tools = getattr(importlib.import_module(path), "TOOLS", None)
        if tools is None:
            raise ImportError(f"The module {path} has no list TOOLS.")
        for tool in tools:
            registry.register(tool)
    return registry


def render_result(result: ToolResult) -> tuple[str, bool]:
    """Write a result as the model and the wire get it.

    Args:
        result: What a call returned.

    Returns:
        JSON text of at most 80 000 characters that begins with `type`, with unset (None) fields of models left out,
        and whether it is a failure. Of longer results there is the size and a preview, cut in the middle.
    """
    text = _to_json_text(result)
    if len(text) > MAX_RESULT_CHARS:
        text = _shortened(text, result)
    return text, isinstance(result, ToolFailure)


class _BadArguments(ValueError):
    """The model's text isn't a JSON object that can be used; the message is for the model."""


def _parse(text: str) -> dict[str, Any]:
    if len(text) > MAX_ARGUMENTS_CHARS:
        raise _BadArguments(f"The arguments are longer than {MAX_ARGUMENTS_CHARS} characters.")
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _BadArguments(f"The arguments are not valid JSON: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise _BadArguments("The arguments are nested too deeply.") from None
    except ValueError:
        raise _BadArguments("The arguments hold a number that JSON doesn't have or that is too long.") from None
    if not isinstance(value, dict):
        raise _BadArguments("The arguments must be one JSON object.")
    if _deeper_than(value, MAX_ARGUMENTS_DEPTH):
        raise _BadArguments(f"The arguments are nested deeper than {MAX_ARGUMENTS_DEPTH} levels.")
    if _has_half_characters(text, value):
        raise _BadArguments("The arguments hold half of a surrogate pair (\\ud800 to \\udfff on its own).")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _has_half_characters(text: str, value: object) -> bool:
    """Find what no database, file or wire takes: it would only fail later and further away."""
    try:
        text.encode()
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _deeper_than(value: object, levels: int) -> bool:
    """Walk level by level, so that the walk itself can't run out of stack."""
    layer = [value]
    for _ in range(levels):
        layer = [child for node in layer for child in _children(node)]
        if not layer:
            return False
    return True


def _children(node: object) -> Collection[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _known(tool: Tool) -> list[str]:
    return [field.alias or name for name, field in tool.arguments.model_fields.items()]


def _invalid(tool: Tool, problem: str, problems: Sequence[dict[str, str]] = ()) -> ToolFailure:
    details: dict[str, Any] = {"known_arguments": _known(tool)}
    if problems:
        details["problems"] = list(problems)
    return ToolFailure(message=f"{tool.name}: {problem}", error="input_validation_error", details=details)


def _invalid_fields(tool: Tool, error: ValidationError) -> ToolFailure:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    unknown = [str(p["loc"][0])[:64] for p in problems if p["type"] == "extra_forbidden" and len(p["loc"]) == 1]
    if unknown:
        known = ", ".join(_known(tool)) or "none"
        return _invalid(tool, f"unknown arguments: {', '.join(unknown[:MAX_PROBLEMS])}. The known ones are: {known}.")
    listed = [
        {"argument": ".".join(str(part) for part in p["loc"])[:200], "problem": p["msg"][:300]}
        for p in problems[:MAX_PROBLEMS]
    ]
    summary = "; ".join(f"{p['argument']}: {p['problem']}" for p in listed)
    return _invalid(tool, f"the arguments don't fit. {summary}", listed)


def _internal_error(tool: Tool, error: Exception, context: ToolContext) -> ToolFailure:
    reference_id = str(uuid4())
    # The exception's own text stays out of the log: it may quote arguments, pages or messages.
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    logger.error(
        "copilot_tool_failed",
        tool=tool.name,
        reference_id=reference_id,
        error_type=type(error).__name__,
        where=[f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
        session_id=str(context.session_id),
        turn_id=str(context.turn_id),
        tool_call_id=str(context.tool_call_id),
    )
    return ToolFailure(
        message=f"{tool.name} failed unexpectedly. Whoever runs this server finds it under reference {reference_id}.",
        error="internal_error",
        details={"reference_id": reference_id},
    )


def _schema(tool: Tool) -> dict[str, Any]:
    """Make the arguments' JSON schema without what costs tokens and says nothing."""
    schema: dict[str, Any] = _without_titles(tool.arguments.model_json_schema())
    schema.pop("description", None)  # the class's docstring; the tool has a description of its own
    schema.setdefault("properties", {})
    return schema


def _without_titles(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):  # here the keys are names, and one may be "title"
            kept[key] = {name: _without_titles(child) for name, child in value.items()}
        elif key in ("default", "const", "enum", "examples"):  # data, not schema
            kept[key] = value
        elif key != "title":
            kept[key] = _without_titles(value)
    return kept


def _to_json_text(result: ToolResult) -> str:
    try:
        return result.model_dump_json(by_alias=True, exclude_none=True, fallback=str)
    except PydanticSerializationError:
        # Half a surrogate pair or raw bytes from outside: shown as replacements rather than lost with all the rest.
        fields = result.model_dump(mode="python", by_alias=True, exclude_none=True)
        plain = to_json(_mended(fields), fallback=str, inf_nan_mode="null")
        return plain.decode()


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_mended(key): _mended(child) for key, child in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mended(child) for child in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _mended(str(value))


def _shortened(text: str, result: ToolResult) -> str:
    """Write the marker for a result that is too long: its size, and its text with the middle cut out."""
    shown = MAX_RESULT_CHARS
    while True:
        shown = shown * 3 // 4  # quoting JSON inside JSON makes it longer, by how much depends on the text
        half = shown // 2
        left_out = len(text) - 2 * half
        marker = {
            "type": "tool_output_truncated",
            "message": f"The answer has {len(text)} characters, too many to show; the middle is left out. "
            "Ask for less if you need it.",
            "tool_output_type": result.type,
            "total_characters": len(text),
            "preview": f"{text[:half]}\n… [{left_out} characters left out] …\n{text[-half:]}",
        }
        if isinstance(result, ToolFailure):
            marker["error"] = result.error
        shortened = json.dumps(marker, ensure_ascii=False)
        if len(shortened) < MAX_RESULT_CHARS:
            return shortened
