"""The registry: a call always ends in a result, and what it offers is small and steady."""

from __future__ import annotations

import asyncio
import json
import sys
from types import ModuleType
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, field_validator
from structlog.testing import capture_logs

from apps.chat.tools.base import Tool, ToolArguments, ToolContext, ToolFailure, ToolResult
from apps.chat.tools.registry import MAX_RESULT_CHARS, ToolRegistry, default_registry, render_result


async def quiet(text: str) -> None:
    """Tell nobody."""


def context() -> ToolContext:
    ids = {name: uuid4() for name in ("user_id", "session_id", "turn_id", "tool_call_id")}
    return ToolContext(**ids, dry_run=False, progress=quiet)


class EchoArguments(ToolArguments):
    """Noise that no model should pay for."""

    text: str = ""
    title: str | None = Field(None, title="Noise")
    times: int = Field(1, ge=1, le=3)

    @field_validator("text")
    @classmethod
    def _strange(cls, value: str) -> str:
        if value == "strange":
            raise RuntimeError("a validator's own fault")
        return value


class EchoResult(ToolResult):
    """What was said."""

    type: str = "echo"
    text: Any = None
    extra: str | None = None


class Echo(Tool):
    """Says it again, or misbehaves on demand."""

    name: ClassVar[str] = "echo"
    description: ClassVar[str] = "Says it again."
    arguments: ClassVar[type[ToolArguments]] = EchoArguments
    available = True

    def is_available(self) -> bool:
        return self.available

    async def run(self, arguments: EchoArguments, context: ToolContext) -> ToolResult:
        match arguments.text:
            case "raise":
                raise KeyError("secret words")
            case "sleep":
                await asyncio.sleep(30)
            case "own timeout":
                raise TimeoutError("secret words")
            case "nothing":
                return None  # type: ignore[return-value]
        return EchoResult(message="ok", text=arguments.text * arguments.times)


class Another(Echo):
    """The same under another name."""

    name: ClassVar[str] = "another"


def registry(**options: Any) -> ToolRegistry:
    made = ToolRegistry(**options)
    made.register(Echo())
    return made


async def failure(text: str, name: str = "echo", **options: Any) -> ToolFailure:
    answer = await registry(**options).call(name, text, context())
    assert isinstance(answer, ToolFailure)
    assert render_result(answer)[1]
    return answer


@pytest.mark.parametrize(
    ("text", "said"),
    [("", ""), ("  ", ""), ("{}", ""), (r'{"text": "\ud83d\ude00"}', "😀"), ('{"text": "a", "times": 3}', "aaa")],
)
async def test_a_call(text: str, said: str) -> None:
    answer = await registry().call("echo", text, context())
    assert isinstance(answer, EchoResult)
    assert answer.text == said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("nonsense", "not valid JSON"),
        ('{"text": "cut o', "not valid JSON"),
        ("[]", "one JSON object"),
        ('"text"', "one JSON object"),
        ("null", "one JSON object"),
        ('{"times": NaN}', "number"),
        ('{"times": ' + "9" * 5000 + "}", "number"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested"),
        ('{"text": ' + "[" * 70 + "]" * 70 + "}", "nested"),
        ('{"text": "' + "x" * 1_000_000 + '"}', "longer than"),
        ('{"times": 9}', "times: Input should be less than or equal to 3"),
        ('{"text": 1}', "text: Input should be a valid string"),
        (r'{"text": "\ud800"}', "surrogate"),
        (r'{"text": ["\uDFFF"]}', "surrogate"),
        ('{"text": "\ud800"}', "surrogate"),
    ],
)
async def test_arguments_that_do_not_fit(text: str, words: str) -> None:
    answer = await failure(text)
    assert answer.error == "input_validation_error"
    assert words in answer.message
    assert len(answer.message) < 1000


async def test_unknown_arguments_are_named_with_the_known_ones() -> None:
    answer = await failure('{"txet": "a", "times": 1}')
    assert answer.error == "input_validation_error"
    assert answer.message == "echo: unknown arguments: txet. The known ones are: text, title, times."
    assert answer.details == {"known_arguments": ["text", "title", "times"]}
    many = json.dumps({f"argument{number}" * 20: 1 for number in range(500)})
    assert len((await failure(many)).message) < 1500


async def test_unknown_and_unavailable_tools() -> None:
    answer = await failure("{}", name="ehco")
    assert (answer.error, answer.message) == ("unknown_tool", "There is no tool 'ehco'. The tools are: echo.")
    made, tool = registry(), Another()
    made.register(tool)
    assert [spec.name for spec in made.specs()] == ["another", "echo"]
    tool.available = False
    assert [spec.name for spec in made.specs()] == ["echo"]
    assert made.get("another") is None
    answer_now = await made.call("another", "{}", context())
    assert isinstance(answer_now, ToolFailure)
    assert answer_now.error == "unknown_tool"


@pytest.mark.parametrize("text", ["raise", "own timeout", "nothing", "strange"])
async def test_an_unexpected_failure_is_logged_without_words(text: str) -> None:
    with capture_logs() as logs:
        answer = await failure(json.dumps({"text": text, "title": "private words"}))
    assert answer.error == "internal_error"
    assert answer.details is not None
    reference = answer.details["reference_id"]
    assert UUID(reference)
    assert reference in answer.message
    (entry,) = logs
    assert (entry["event"], entry["reference_id"], entry["tool"]) == ("copilot_tool_failed", reference, "echo")
    assert entry["where"]
    for words in ("secret words", "private words", "own fault"):
        assert words not in str(logs) + answer.message


async def test_a_call_that_takes_too_long() -> None:
    answer = await failure('{"text": "sleep"}', call_limit_seconds=0.05)
    assert (answer.error, answer.details) == ("timeout", {"limit_seconds": 0.05})


async def test_cancellation_passes_through() -> None:
    task = asyncio.create_task(registry().call("echo", '{"text": "sleep"}', context()))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
ARGUMENTS = st.fixed_dictionaries({}, optional={"text": JSON, "times": JSON, "title": JSON, "todos": JSON, "url": JSON})


@pytest.fixture(scope="module")
def offered() -> ToolRegistry:
    """What the product offers, made once: examples don't change it."""
    made = default_registry(call_limit_seconds=2)
    made.register(Echo())
    return made


@settings(max_examples=100, deadline=None)
@given(st.text() | JSON.map(json.dumps) | ARGUMENTS.map(json.dumps), st.sampled_from(["echo", "todo_write", "x"]))
def test_no_text_makes_a_call_raise(offered: ToolRegistry, text: str, name: str) -> None:
    answer = asyncio.run(offered.call(name, text, context()))
    assert json.loads(render_result(answer)[0])["type"] == answer.type


def test_schemas_are_compact_and_together_small() -> None:
    specs = default_registry().specs()
    assert [spec.name for spec in specs] == sorted(spec.name for spec in specs)
    assert {"todo_write", "web_fetch"} <= {spec.name for spec in specs}
    whole = json.dumps([[spec.name, spec.description, spec.parameters] for spec in specs])
    assert len(whole) < 32_000
    assert '"title"' not in whole
    assert specs == default_registry().specs()


def test_a_schema_keeps_an_argument_called_title() -> None:
    (spec,) = registry().specs()
    assert set(spec.parameters["properties"]) == {"text", "title", "times"}
    assert spec.parameters["additionalProperties"] is False
    assert "Noise" not in json.dumps(spec.parameters)
    assert "description" not in spec.parameters


def test_names_are_unique_and_usable() -> None:
    made = registry()
    with pytest.raises(ValueError, match="two tools"):
        made.register(Echo())

    class Badly(Echo):
        name: ClassVar[str] = "badly named"

    with pytest.raises(ValueError, match="badly named"):
        made.register(Badly())


def test_modules_add_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    module, empty = ModuleType("extra_tools"), ModuleType("empty_tools")
    module.TOOLS = [Echo()]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "extra_tools", module)
    monkeypatch.setitem(sys.modules, "empty_tools", empty)
    assert default_registry(extra_modules=["extra_tools"]).get("echo") is not None
    with pytest.raises(ImportError, match="TOOLS"):
        default_registry(extra_modules=["empty_tools"])
    with pytest.raises(ImportError):
        default_registry(extra_modules=["no.such.module"])


def test_results_are_rendered_type_first_without_none() -> None:
    assert render_result(EchoResult(message="é", text={"a": None})) == (
        '{"type":"echo","message":"é","text":{"a":null}}',
        False,
    )
    text, is_error = render_result(ToolFailure(message="no", error="nope"))
    assert (text, is_error) == ('{"type":"error","message":"no","error":"nope"}', True)


@pytest.mark.parametrize(
    "value", ["\ud800", b"\xff", {b"\xff", "\udfff"}, object(), float("nan"), {"k\ud800": uuid4()}]
)
def test_results_with_odd_values_are_still_json(value: Any) -> None:
    text, _ = render_result(EchoResult(message="m", text=value))
    assert json.loads(text.encode())["type"] == "echo"


@pytest.mark.parametrize("unit", ["x", '"', "\\", "\n", "é", "😀", "\x01"])
def test_long_results_are_cut_in_the_middle(unit: str) -> None:
    text, is_error = render_result(EchoResult(message="m", text="BEGIN" + unit * 200_000 + "END"))
    assert len(text) < MAX_RESULT_CHARS
    assert not is_error
    marker = json.loads(text)
    assert (marker["type"], marker["tool_output_type"]) == ("tool_output_truncated", "echo")
    assert marker["total_characters"] > 200_000
    assert len(marker["preview"]) > 15_000
    assert "BEGIN" in marker["preview"]
    assert 'END"}' in marker["preview"]
    long_failure = render_result(ToolFailure(message="m" * 90_000, error="nope"))
    assert long_failure[1]
    assert json.loads(long_failure[0])["error"] == "nope"


def test_a_result_at_the_limit_is_left_alone() -> None:
    empty = len(render_result(EchoResult(message="m", text=""))[0])
    text, _ = render_result(EchoResult(message="m", text="x" * (MAX_RESULT_CHARS - empty)))
    assert (len(text), json.loads(text)["type"]) == (MAX_RESULT_CHARS, "echo")
