"""Blocks that are an agent's own inputs and outputs."""

from __future__ import annotations

import datetime
from abc import abstractmethod
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from pydantic import AliasChoices, Field

from apps.library.blocks.base import Block, BlockContext, BlockType, Category, Pins
from apps.library.blocks.child_calls import in_child
from apps.library.blocks.files_access import FilePin, is_kept, keep_file, read_file
from apps.library.blocks.reaching import ReachingBlock
from apps.library.blocks.work.templates import fill_template
from apps.library.errors import BlockError


class AgentPins(Pins):
    """What all inputs and outputs of an agent have."""

    name: str = Field(description="The name by which it is asked for or shown.")
    title: str | None = Field(default=None, description="What people see instead of the name.")
    description: str | None = Field(default=None, description="What it is for.")
    advanced: bool = Field(default=False, description="Whether it is only shown on demand.")
    secret: bool = Field(default=False, description="Whether its value is hidden.")


class AgentInputPins(AgentPins):
    """What all inputs of an agent have."""

    value: Any = Field(default=None, description="The value; without one, whoever runs the agent must give it.")


InputPins = TypeVar("InputPins", bound=AgentInputPins)


class AgentInputBlock(ReachingBlock[InputPins]):
    """An input of the agent: gives its value out, unless that is null."""

    type = BlockType.INPUT
    categories = frozenset({Category.INPUT})
    static_output = True
    is_idempotent = True

    async def run(self, inputs: InputPins, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the value out."""
        result = await self.result(inputs, context)
        if result is not None:
            yield "result", result

    @abstractmethod
    async def result(self, inputs: InputPins, context: BlockContext) -> Any:
        """Return what is put out."""


class AgentInput(AgentInputBlock["AgentInput.Input"]):
    """An input of any kind."""

    id = "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b"
    name = "Agent Input"
    description = "An input of the agent, of any kind."

    class Input(AgentInputPins):
        """Its input pins."""

    class Output(Pins):
        """Its output pins."""

        result: Any = Field(description="The value.")

    async def result(self, inputs: Input, context: BlockContext) -> Any:
        """Return the value."""
        return inputs.value


class AgentShortTextInput(AgentInputBlock["AgentShortTextInput.Input"]):
    """A short text."""

    id = "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158"
    name = "Agent Short Text Input"
    description = "An input of the agent: a short text."

    class Input(AgentInputPins):
        """Its input pins."""

        value: str | None = Field(default=None, description="The text.", json_schema_extra={"format": "short-text"})

    class Output(Pins):
        """Its output pins."""

        result: str = Field(description="The text.")

    async def result(self, inputs: Input, context: BlockContext) -> str | None:
        """Return the text."""
        return inputs.value


class AgentLongTextInput(AgentInputBlock["AgentLongTextInput.Input"]):
    """A long text."""

    id = "90a56ffb-7024-4b2b-ab50-e26c5e5ab8ba"
    name = "Agent Long Text Input"
    description = "An input of the agent: a text of several lines."

    class Input(AgentInputPins):
        """Its input pins."""

        value: str | None = Field(default=None, description="The text.", json_schema_extra={"format": "long-text"})

    class Output(Pins):
        """Its output pins."""

        result: str = Field(description="The text.")

    async def result(self, inputs: Input, context: BlockContext) -> str | None:
        """Return the text."""
        return inputs.value


class AgentNumberInput(AgentInputBlock["AgentNumberInput.Input"]):
    """A whole number."""

    id = "96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98"
    name = "Agent Number Input"
    description = "An input of the agent: a whole number."

    class Input(AgentInputPins):
        """Its input pins."""

        value: int | None = Field(default=None, description="The number.")

    class Output(Pins):
        """Its output pins."""

        result: int = Field(description="The number.")

    async def result(self, inputs: Input, context: BlockContext) -> int | None:
        """Return the number."""
        return inputs.value


class AgentDateInput(AgentInputBlock["AgentDateInput.Input"]):
    """A date."""

    id = "7e198b09-4994-47db-8b4d-952d98241817"
    name = "Agent Date Input"
    description = "An input of the agent: a date."

    class Input(AgentInputPins):
        """Its input pins."""

        value: datetime.date | None = Field(
            default=None, description="The date, as 2026-12-31.", json_schema_extra={"format": "date"}
        )

    class Output(Pins):
        """Its output pins."""

        result: str = Field(description="The date, as 2026-12-31.", json_schema_extra={"format": "date"})

    async def result(self, inputs: Input, context: BlockContext) -> str | None:
        """Return the date."""
        return inputs.value.isoformat() if inputs.value else None


class AgentTimeInput(AgentInputBlock["AgentTimeInput.Input"]):
    """A time of day."""

    id = "2a1c757e-86cf-4c7e-aacf-060dc382e434"
    name = "Agent Time Input"
    description = "An input of the agent: a time of day."

    class Input(AgentInputPins):
        """Its input pins."""

        value: datetime.time | None = Field(
            default=None, description="The time, as 13:45:00.", json_schema_extra={"format": "time"}
        )

    class Output(Pins):
        """Its output pins."""

        result: str = Field(description="The time, as 13:45:00.", json_schema_extra={"format": "time"})

    async def result(self, inputs: Input, context: BlockContext) -> str | None:
        """Return the time."""
        return None if inputs.value is None else inputs.value.isoformat()


class AgentFileInput(AgentInputBlock["AgentFileInput.Input"]):
    """A file."""

    id = "95ead23f-8283-4654-aef3-10c053b74a31"
    name = "Agent File Input"
    description = "An input of the agent: a file, put out as a file of the workspace or as a data URI."

    class Input(AgentInputPins):
        """Its input pins."""

        value: FilePin | None = Field(default=None, description="A URL, a data URI or a file of the workspace.")
        base_64: bool = Field(default=False, description="Whether the whole file is put out as a data URI.")

    class Output(Pins):
        """Its output pins."""

        result: str = Field(description="The file of the workspace, or the data URI.")

    async def result(self, inputs: Input, context: BlockContext) -> str | None:
        """Return the file's reference, or all of it.

        Raises:
            BlockError: It can't be read or kept.
        """
        if not inputs.value:
            return None
        if context.is_dry_run or (is_kept(inputs.value) and not inputs.base_64):
            return inputs.value
        file = await read_file(inputs.value, context=context, allow=self.allow)
        return file.data_uri if inputs.base_64 else await keep_file(file, context=context)


class AgentDropdownInput(AgentInputBlock["AgentDropdownInput.Input"]):
    """One of several values."""

    id = "655d6fdf-a334-421c-b733-520549c07cd1"
    name = "Agent Dropdown Input"
    description = "An input of the agent: one of the values that it names."

    class Input(AgentInputPins):
        """Its input pins."""

        value: str | None = Field(default=None, description="What was chosen.")
        options: list[str] = Field(
            default=[],
            validation_alias=AliasChoices("options", "placeholder_values"),  # the second: in files of old
            description="What can be chosen.",
        )

    class Output(Pins):
        """Its output pins."""

        result: str = Field(description="What was chosen.")

    async def result(self, inputs: Input, context: BlockContext) -> str | None:
        """Return what was chosen.

        Raises:
            BlockError: It isn't among the options.
        """
        if inputs.value is not None and inputs.options and inputs.value not in inputs.options:
            raise BlockError(f"The value isn't one of the options of “{inputs.name}”.")
        return inputs.value


class AgentToggleInput(AgentInputBlock["AgentToggleInput.Input"]):
    """Yes or no."""

    id = "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e"
    name = "Agent Toggle Input"
    description = "An input of the agent: yes or no."

    class Input(AgentInputPins):
        """Its input pins."""

        value: bool = Field(default=False, description="Yes or no.")

    class Output(Pins):
        """Its output pins."""

        result: bool = Field(description="Yes or no.")

    async def result(self, inputs: Input, context: BlockContext) -> bool:
        """Return the value."""
        return inputs.value


class AgentTableInput(AgentInputBlock["AgentTableInput.Input"]):
    """A table."""

    id = "5603b273-f41e-4020-af7d-fbc9c6a8d928"
    name = "Agent Table Input"
    description = "An input of the agent: a table, as a list of rows."

    class Input(AgentInputPins):
        """Its input pins."""

        value: list[dict[str, Any]] | None = Field(
            default=None, description="The rows, by column.", json_schema_extra={"format": "table"}
        )
        column_headers: list[str] = Field(
            default=["Column 1", "Column 2", "Column 3"], description="What the columns are called."
        )

    class Output(Pins):
        """Its output pins."""

        result: list[dict[str, Any]] = Field(description="The rows, by column.")

    async def result(self, inputs: Input, context: BlockContext) -> list[dict[str, Any]]:
        """Return the rows."""
        return inputs.value or []


class AgentOutput(Block["AgentOutput.Input"]):
    """An output of the agent."""

    id = "363ae599-353e-4804-937e-b2ee3cef3da4"
    name = "Agent Output"
    description = "An output of the agent: a value, as it is or in a format."
    categories = frozenset({Category.OUTPUT, Category.BASIC})
    type = BlockType.OUTPUT
    static_output = True
    is_idempotent = True

    class Input(AgentPins):
        """Its input pins."""

        value: Any = Field(default=None, description="The value.")
        format: str = Field(
            default="", description="A Jinja2 template that shapes the value, which has the output's name in it."
        )
        escape_html: bool = Field(default=False, description="Whether the value is escaped for HTML in the format.")

    class Output(Pins):
        """Its output pins."""

        output: Any = Field(description="The value, in the format when there is one.")
        name: Any = Field(description="The output's name; not put out when there is a format.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the value out.

        Raises:
            BlockError: The format can't be filled.
        """
        if inputs.format:
            yield (
                "output",
                await in_child(fill_template, inputs.format, {inputs.name: inputs.value}, inputs.escape_html),
            )
        else:
            yield "output", inputs.value
            yield "name", inputs.name
