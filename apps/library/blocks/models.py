"""Blocks that ask a model: for a text, for structured data, in a conversation."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import Field

from apps.library.blocks.ask_model import KEY_PROVIDERS, MODEL_COSTS, Choice, PromptTooLong, ask, choose
from apps.library.blocks.base import Block, BlockContext, Category, CredentialsRef, Pins, credentials_field
from apps.library.blocks.model_messages import Messages, clean_messages
from apps.library.blocks.templates import render_template
from apps.library.errors import BlockError

MOST_RETRIES: Final = 10
#: A prompt that is too long is halved this often at most.
SHORTENINGS: Final = 4
DEFAULT_MODEL: Final = "gpt-4o"  # what files name; here it means the installation's own default unless it is known
_CUT: Final = "\n[…]\n"

T = TypeVar("T")


class ModelPins(Pins):
    """What all of these blocks take."""

    model: str = Field(default=DEFAULT_MODEL, description="The model; unknown ones stand for the default.")
    credentials: CredentialsRef | None = credentials_field(*KEY_PROVIDERS, optional=True)
    max_tokens: int | None = Field(default=None, description="What it may say at most, in tokens.")
    ollama_host: str = Field(default="localhost:11434", description="Of other installations; not used here.")


class PromptPins(ModelPins):
    """What blocks with a prompt take."""

    prompt: str = Field(description="What to ask; a Jinja2 template.")
    sys_prompt: str = Field(default="", description="What the model is told first; a Jinja2 template.")
    prompt_values: dict[str, Any] = Field(default={}, description="What the names in the templates mean.")
    retry: int = Field(default=3, description="How often it is asked again when its answer can't be used.")


class AITextGenerator(Block["AITextGenerator.Input"]):
    """Has a model write a text."""

    id = "1f292d4a-41a4-4977-9684-7c8d560b9f91"
    name = "AI Text Generator"
    description = "Has a model write a text."
    categories = frozenset({Category.AI})
    costs = MODEL_COSTS
    is_idempotent = True

    class Input(PromptPins):
        """Its input pins."""

    class Output(Pins):
        """Its output pins."""

        response: str = Field(description="The text.")
        prompt: list[Any] = Field(description="What was asked.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Ask."""
        messages = await prompt_messages(inputs)
        text = await until_usable(
            context,
            choice_of(inputs, context),
            messages,
            _not_empty,
            retries=inputs.retry,
            max_tokens=inputs.max_tokens,
        )
        yield "response", text
        yield "prompt", messages


class AIStructuredResponseGenerator(Block["AIStructuredResponseGenerator.Input"]):
    """Has a model fill in fields."""

    id = "ed55ac19-356e-4243-a6cb-bc599e9b716f"
    name = "AI Structured Response Generator"
    description = "Has a model fill in the fields that are asked for; its answer is checked."
    categories = frozenset({Category.AI})
    costs = MODEL_COSTS
    is_idempotent = True

    class Input(PromptPins):
        """Its input pins."""

        expected_format: dict[str, str] = Field(description="What each field means, by its name.")
        list_result: bool = Field(default=False, description="Whether there may be any number of such objects.")
        force_json_output: bool = Field(default=False, description="Of other installations; answers are JSON anyway.")
        conversation_history: list[dict[str, Any]] = Field(default=[], description="What was said before.")
        compress_prompt_to_fit: bool = Field(default=True, description="Shorten a prompt that the model can't read.")

    class Output(Pins):
        """Its output pins."""

        response: dict[str, Any] | list[dict[str, Any]] = Field(description="The fields.")
        prompt: list[Any] = Field(description="What was asked.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Ask until the answer has the fields."""
        if not inputs.expected_format:
            raise BlockError("Say which fields are wanted.")
        history = clean_messages(inputs.conversation_history)
        own = await prompt_messages(inputs)
        instruction = _instruction(inputs.expected_format, as_list=inputs.list_result)
        messages = [*history, {"role": "system", "content": instruction}, *own]

        def read(text: str) -> Any:
            return fields_of(json_of(text), inputs.expected_format, as_list=inputs.list_result)

        choice = choice_of(inputs, context)
        for _ in range(SHORTENINGS):
            try:
                found = await until_usable(
                    context, choice, messages, read, retries=inputs.retry, max_tokens=inputs.max_tokens
                )
                break
            except PromptTooLong:
                if not inputs.compress_prompt_to_fit:
                    raise
                messages = shortened(messages)
        else:
            raise PromptTooLong("The prompt is longer than this model can read.")
        yield "response", found
        yield "prompt", messages


class AIConversation(Block["AIConversation.Input"]):
    """Has a model go on with a conversation."""

    id = "32a87eab-381e-4dd4-bdb8-4c47151be35a"
    name = "AI Conversation"
    description = "Has a model go on with a conversation."
    categories = frozenset({Category.AI})
    costs = MODEL_COSTS
    is_idempotent = True

    class Input(ModelPins):
        """Its input pins."""

        prompt: str = Field(default="", description="What is said next.")
        messages: list[Any] = Field(description="What was said before: role and content of each message.")

    class Output(Pins):
        """Its output pins."""

        response: str = Field(description="What the model says.")
        prompt: list[Any] = Field(description="What was asked.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Ask."""
        messages = clean_messages(inputs.messages)
        if inputs.prompt:
            messages.append({"role": "user", "content": inputs.prompt})
        if not messages:
            raise BlockError("There is nothing to answer.")
        answer = await ask(context, choice_of(inputs, context), messages, max_tokens=inputs.max_tokens)
        yield "response", answer.text
        yield "prompt", messages


# What they share ------------------------------------------------------------------------------------------------


def choice_of(inputs: ModelPins, context: BlockContext) -> Choice:
    """Return whom a block asks."""
    return choose(inputs.model, context.secrets.get("credentials"))


async def prompt_messages(inputs: PromptPins) -> Messages:
    """Return the messages of a filled prompt.

    Raises:
        BlockError: When a template can't be filled, or nothing is left of the prompt.
    """
    system = await render_template(inputs.sys_prompt, inputs.prompt_values)
    prompt = await render_template(inputs.prompt, inputs.prompt_values)
    if not prompt.strip():
        raise BlockError("The prompt is empty.")
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": prompt}]


async def until_usable(
    context: BlockContext,
    choice: Choice,
    messages: Messages,
    read: Callable[[str], T],
    *,
    retries: int,
    max_tokens: int | None = None,
) -> T:
    """Ask a model until its answer can be used; it is told what was wrong.

    Args:
        context: Of the block.
        choice: Whom to ask.
        messages: The conversation; it isn't changed.
        read: Makes what is wanted of the answer, or raises ValueError with what is wrong.
        retries: How often it is asked again.
        max_tokens: What it may say at most.

    Raises:
        BlockError: When no answer could be used, or there is none.
    """
    talk = list(messages)
    problem = ""
    for attempt in range(min(max(retries, 0), MOST_RETRIES) + 1):
        if attempt:
            context.stats.retries += 1
        answer = await ask(context, choice, talk, max_tokens=max_tokens)
        try:
            return read(answer.text)
        except ValueError as error:
            problem = str(error)
            talk = [
                *talk,
                {"role": "assistant", "content": answer.text or "(Nothing.)"},
                {"role": "user", "content": f"Your answer can't be used: {problem} Answer again, correctly."},
            ]
    raise BlockError(f"The model gave no answer that can be used. {problem}")


def json_of(text: str) -> Any:
    """Return the first JSON object or list in a text, which models like to put sentences around.

    Raises:
        ValueError: When there is none.
    """
    decoder = json.JSONDecoder()
    places = [place for place, letter in enumerate(text) if letter in "{["]
    for place in places[:100]:
        try:
            return decoder.raw_decode(text, place)[0]
        except (ValueError, RecursionError):
            continue
    raise ValueError("There is no JSON in it.")


def fields_of(found: Any, expected: Mapping[str, str], *, as_list: bool) -> Any:
    """Check that an answer has the expected fields, and return it without others.

    Raises:
        ValueError: When it hasn't; it says which.
    """
    if as_list:
        if isinstance(found, dict) and len(found) == 1 and isinstance(next(iter(found.values())), list):
            found = next(iter(found.values()))
        if not isinstance(found, list):
            raise ValueError("It must be a JSON list of objects.")
        return [fields_of(item, expected, as_list=False) for item in found]
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise ValueError("It must be a JSON object.")  # noqa: TRY004 -- what `until_usable` catches
    if missing := [name for name in expected if name not in found]:
        raise ValueError(f"These fields are missing: {', '.join(missing)}.")
    return {name: found[name] for name in expected}


def shortened(messages: Messages) -> Messages:
    """Return a conversation whose longest message has lost its middle half."""
    longest = max(range(len(messages)), key=lambda number: len(messages[number]["content"]))
    text = messages[longest]["content"]
    quarter = len(text) // 4
    cut = {**messages[longest], "content": text[:quarter] + _CUT + text[-quarter:]} if quarter else messages[longest]
    return [*messages[:longest], cut, *messages[longest + 1 :]]


def _instruction(expected: Mapping[str, str], *, as_list: bool) -> str:
    fields = json.dumps(dict(expected), ensure_ascii=False, indent=2)
    shape = "a JSON list of objects, each" if as_list else "one JSON object"
    return f"Answer with {shape} with exactly these fields, whose meaning is given here, and nothing else:\n{fields}"


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("It is empty.")
    return text
