"""The block that lets a model decide which of the nodes behind it are used, and with what."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import Field

from apps.engines.base import ToolSpec, Usage
from apps.engines.providers import EXTENDED_THINKING, FAST
from apps.library.blocks.ask_model import MODEL_COSTS, Choice, ModelAnswer, PromptTooLong, ask, choose
from apps.library.blocks.base import Block, BlockContext, BlockType, Category, Pins
from apps.library.blocks.model_messages import Messages, as_text, clean_messages, open_calls
from apps.library.blocks.models import MOST_RETRIES, ModelPins
from apps.library.blocks.templates import render_template
from apps.library.errors import BlockError

#: Stands before the sink's pin in `tools_^_<node>_~_<pin>`.
PIN_MARK: Final = "_~_"
#: Rounds of a loop that goes on until it is done.
MOST_ROUNDS: Final = 50
DRY_ROUNDS: Final = 10
COMPACTIONS: Final = 3
SYSTEM_PROMPT: Final = (
    "You work towards a goal with the tools that you are given. Think about which of them brings you nearer to it, and "
    "call it with arguments that fit its description; never make up values that you could ask for or find out. When "
    "no tool is needed any more, answer with the result."
)
EMPTY_RESULT: Final = "(It put nothing out.)"
_LEFT_OUT: Final = "(Earlier parts of the conversation were left out.)"


class ExecutionMode(StrEnum):
    """What engines there are."""

    BUILT_IN = "built_in"
    EXTENDED_THINKING = "extended_thinking"


@dataclass(frozen=True, slots=True)
class Tool:
    """A node behind this one, as a model is offered it.

    Attributes:
        spec: What the model reads.
        node_id: The node.
        pins: The pin to put each argument out on, by the argument's name.
    """

    spec: ToolSpec
    node_id: str
    pins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A checked call: its id in the conversation, the tool, and the value of every argument."""

    id: str
    tool: Tool
    values: Mapping[str, Any]

    def answered(self, result: str) -> dict[str, Any]:
        """Return its result as a message of the conversation."""
        return {"role": "tool", "tool_call_id": self.id, "content": result}


class Orchestrator(Block["Orchestrator.Input"]):
    """Lets a model decide which nodes are used next."""

    id = "3b191d9f-356f-482d-8238-ba04b6d18381"
    name = "Orchestrator"
    description = "Lets a model decide which of the blocks linked to its tools are used, and with what."
    categories = frozenset({Category.AI, Category.LOGIC})
    type = BlockType.AI
    costs = MODEL_COSTS
    is_idempotent = True  # begun again, it goes on after the tools that it has used
    timeout_seconds = 3600.0

    class Input(ModelPins):
        """Its input pins."""

        prompt: str = Field(description="What to do; a Jinja2 template.")
        sys_prompt: str = Field(default=SYSTEM_PROMPT, description="What the model is told first; a Jinja2 template.")
        prompt_values: dict[str, Any] = Field(default={}, description="What the names in the templates mean.")
        multiple_tool_calls: bool = Field(default=False, description="Whether several tools may be called at once.")
        conversation_history: list[dict[str, Any]] = Field(default=[], description="Its own `conversations`.")
        last_tool_output: Any = Field(default=None, description="What the tool that was called last put out.")
        retry: int = Field(default=3, description="How often it is asked again when its calls can't be used.")
        agent_mode_max_iterations: int = Field(
            default=0, description="Rounds in which the tools are used at once; 0 = one, by links; -1 = until done."
        )
        execution_mode: ExecutionMode = Field(default=ExecutionMode.BUILT_IN, description="Which engine answers.")
        conversation_compaction: bool = Field(default=True, description="Leave earlier parts out when it gets long.")

    class Output(Pins):
        """Its output pins."""

        tools: Any = Field(description="Links to the blocks that may be used.")
        finished: str = Field(description="The answer, when no tool is used any more.")
        conversations: list[Any] = Field(description="What was said; the next `conversation_history`.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Ask, and put out what the model wants done."""
        tools = await tools_of(context)
        talk = await _conversation(inputs)
        if open_calls(talk):  # several tools were called, and some results are still to come
            if inputs.last_tool_output is not None:
                yield "conversations", talk
            return
        mode = EXTENDED_THINKING if inputs.execution_mode == ExecutionMode.EXTENDED_THINKING else FAST
        choice = choose(inputs.model, context.secrets.get("credentials"), mode=mode)
        if inputs.agent_mode_max_iterations:
            async for pair in self._loop(inputs, context, choice, tools, talk):
                yield pair
            return
        talk, answer, calls = await decide(inputs, context, choice, tools, talk)
        for call in calls:
            for name, pin in call.tool.pins.items():
                yield pin, call.values[name]
        if not calls:
            yield "finished", answer.text
        yield "conversations", talk

    async def _loop(
        self, inputs: Input, context: BlockContext, choice: Choice, tools: Mapping[str, Tool], talk: Messages
    ) -> AsyncGenerator[tuple[str, Any]]:
        """Have tools used at once, and their results read, until the model is done or the rounds are."""
        use = context.services.get("run_tool_node")
        if use is None:
            raise BlockError("This installation doesn't let a model use tools by itself; set the iterations to 0.")
        wanted = inputs.agent_mode_max_iterations
        most = MOST_ROUNDS if wanted < 0 else min(wanted, MOST_ROUNDS)
        if context.is_dry_run:
            most = min(most, DRY_ROUNDS)
        done = await _take_up(context, talk)
        calls = _left(talk, tools)
        while True:
            for call in calls:
                talk.append(call.answered(await _use(use, call, _note(context, talk, done, call))))
            if done >= most:
                break
            talk, answer, calls = await decide(inputs, context, choice, tools, talk)
            done += 1
            if not calls:
                yield "finished", answer.text
                yield "conversations", talk
                return
        yield "finished", f"It isn't done after {most} rounds."
        yield "conversations", talk


async def tools_of(context: BlockContext) -> dict[str, Tool]:
    """Return the tools of the block's node, by name.

    Raises:
        BlockError: When there are none.
    """
    describe = context.services.get("tools_of_node")
    found = await describe(context.node_id) if describe is not None else []
    if not found:
        raise BlockError("No block is linked to the tools of this one.")
    return {
        tool["name"]: Tool(
            ToolSpec(name=tool["name"], description=tool["description"], parameters=tool["parameters"]),
            str(tool["node_id"]),
            tool["pins"],
        )
        for tool in found
    }


async def decide(
    inputs: Orchestrator.Input, context: BlockContext, choice: Choice, tools: Mapping[str, Tool], talk: Messages
) -> tuple[Messages, ModelAnswer, list[Call]]:
    """Ask the model what is to be done next.

    Returns:
        The conversation with its answer, the answer, and its checked calls; none when it is done.

    Raises:
        BlockError: When its calls couldn't be used, however often it was asked.
    """
    specs = [tool.spec for tool in tools.values()]
    problem, extra, compactions = "", Messages(), 0
    attempts = min(max(inputs.retry, 0), MOST_RETRIES) + 1
    while attempts:
        try:
            answer = await ask(context, choice, [*talk, *extra], tools=specs, max_tokens=inputs.max_tokens)
        except PromptTooLong:
            compactions += 1
            if not inputs.conversation_compaction or compactions > COMPACTIONS:
                raise
            talk = compacted(talk)
            continue
        if not inputs.multiple_tool_calls:
            del answer.tool_calls[1:]
        try:
            calls = [_checked(call, tools) for call in answer.tool_calls]
            if not calls and not answer.text:
                raise ValueError("It is empty.")
        except ValueError as error:
            problem = str(error)
            # Its answer is told as text: half of a call that can't be used would need a result.
            said = answer.text or f"(A call of {', '.join(_names(answer)) or 'nothing'})"
            extra = [
                {"role": "assistant", "content": said},
                {"role": "user", "content": f"Your answer can't be used: {problem} Try again, correctly."},
            ]
            attempts -= 1
            context.stats.retries += bool(attempts)
            continue
        return [*talk, answer.as_message()], answer, calls
    raise BlockError(f"The model made no calls that can be used. {problem}")


def compacted(talk: Messages) -> Messages:
    """Return a conversation without the first half of what isn't the system's or the first wish."""
    head = [message for message in talk if message["role"] == "system"]
    rest = [message for message in talk if message["role"] != "system"]
    first, later = rest[:1], rest[1:]
    kept = later[(len(later) + 1) // 2 :]
    while kept and kept[0]["role"] == "tool":  # a result belongs to its call
        kept = kept[1:]
    return [*head, *first, {"role": "user", "content": _LEFT_OUT}, *kept]


async def _conversation(inputs: Orchestrator.Input) -> Messages:
    """Return what the model is to answer. What a tool put out is the result of the first call that has none."""
    history = clean_messages(inputs.conversation_history)
    if waiting := open_calls(history):
        if inputs.last_tool_output is None:
            return history
        return [
            *history,
            {"role": "tool", "tool_call_id": waiting[0], "content": as_text(inputs.last_tool_output) or EMPTY_RESULT},
        ]
    prompt = await render_template(inputs.prompt, inputs.prompt_values)
    wish = {"role": "user", "content": prompt}
    if not history:
        system = await render_template(inputs.sys_prompt, inputs.prompt_values)
        return [*([{"role": "system", "content": system}] if system else []), wish]
    return history if wish in history else [*history, wish]


def _checked(call: Mapping[str, Any], tools: Mapping[str, Tool]) -> Call:
    """Return a call whose arguments fit its tool.

    Raises:
        ValueError: When they don't; it says why.
    """
    name = call["function"]["name"]
    tool = tools.get(name)
    if tool is None:
        raise ValueError(f"There is no tool {name}; there are {', '.join(tools)}.")
    try:
        given = json.loads(call["function"]["arguments"])
    except ValueError:
        raise ValueError(f"The arguments of {name} are no JSON.") from None
    if not isinstance(given, dict):
        raise ValueError(f"The arguments of {name} are no object.")  # noqa: TRY004 -- what `decide` catches
    if unknown := sorted(set(given) - set(tool.pins)):
        raise ValueError(f"{name} has no arguments {', '.join(unknown)}.")
    if missing := [key for key in tool.spec.parameters.get("required", ()) if key not in given]:
        raise ValueError(f"{name} lacks the arguments {', '.join(missing)}.")
    schemas = tool.spec.parameters.get("properties", {})
    # A node waits for every pin that is linked: what the model left out gets its default.
    return Call(call["id"], tool, {key: given.get(key, schemas.get(key, {}).get("default")) for key in tool.pins})


def _note(context: BlockContext, talk: Messages, done: int, call: Call) -> dict[str, Any]:
    """Return what is kept of a call, so that the loop can go on after it; see `_take_up`."""
    said = next(message for message in reversed(talk) if message["role"] == "assistant")
    counted = context.stats
    stats = {"usage": asdict(counted.usage), "model_calls": counted.model_calls, "retries": counted.retries}
    return {"round": done, "said": said, "call_id": call.id, "stats": stats}


async def _take_up(context: BlockContext, talk: Messages) -> int:
    """Add to a conversation what was said and done when this use of the block was begun before, and cut off.

    Returns:
        How many rounds there were.
    """
    recall = context.services.get("tool_nodes_run")
    done = 0
    for earlier in await recall() if recall is not None else ():
        note = earlier["note"]
        if note["round"] != done:
            done = note["round"]
            talk.append(note["said"])
            stats = note["stats"]
            context.stats.usage = Usage(**stats["usage"])
            context.stats.model_calls, context.stats.retries = stats["model_calls"], stats["retries"]
        result = _told(earlier["outputs"], earlier["error"])
        talk.append({"role": "tool", "tool_call_id": note["call_id"], "content": result})
    return done


def _left(talk: Messages, tools: Mapping[str, Tool]) -> list[Call]:
    """Return the calls of a conversation that are still to be made."""
    waiting = set(open_calls(talk))
    said = [call for message in talk for call in message.get("tool_calls", ()) if call["id"] in waiting]
    return [_checked(call, tools) for call in said]


async def _use(use: Callable[..., Awaitable[Any]], call: Call, note: Mapping[str, Any]) -> str:
    """Have a node run and return what it put out, or why it failed, for the model to read."""
    try:
        inputs = {call.tool.pins[name].partition(PIN_MARK)[2]: value for name, value in call.values.items()}
        outputs = await use(call.tool.node_id, inputs, note=note)
    except BlockError as error:
        return _told({}, str(error))
    return _told(outputs)


def _told(outputs: Mapping[str, Any], error: str = "") -> str:
    return f"Error: {error}" if error else as_text(outputs) or EMPTY_RESULT


def _names(answer: ModelAnswer) -> list[str]:
    return [call["function"]["name"] for call in answer.tool_calls]
