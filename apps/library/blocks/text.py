"""Blocks for texts: patterns, templates, joining, splitting, counting."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.blocks.child_calls import in_child
from apps.library.blocks.coercion import text_of
from apps.library.blocks.work.patterns import Search, extract, matches
from apps.library.blocks.work.templates import fill_template
from apps.library.errors import BlockError

#: A text that is made longer than this is a mistake, or meant to fill the memory.
MAX_TEXT_CHARS = 16 * 1024 * 1024


class MatchTextPattern(Block["MatchTextPattern.Input"]):
    """Sends a value one way or the other."""

    id = "3060088f-6ed9-4928-9ba7-9c92823a7ccd"
    name = "Match Text Pattern"
    description = "Sends a value one way if a text has a regular expression in it, and the other way if not."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: Any = Field(description="The text to look into.")
        match: str = Field(description="The regular expression.")
        data: Any = Field(default=None, description="What is put out instead of the text.")
        case_sensitive: bool = Field(default=True, description="Whether large and small letters differ.")
        dot_all: bool = Field(default=True, description="Whether a dot stands for line breaks too.")

    class Output(Pins):
        """Its output pins."""

        positive: Any = Field(description="The value, if the text has it.")
        negative: Any = Field(description="The value, if not.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Look for the pattern.

        Raises:
            BlockError: It is malformed or takes too long.
        """
        found = await in_child(matches, inputs.match, text_of(inputs.text), inputs.case_sensitive, inputs.dot_all)
        yield "positive" if found else "negative", inputs.data or inputs.text


class ExtractTextInformation(Block["ExtractTextInformation.Input"]):
    """Takes out what a pattern finds."""

    id = "3146e4fe-2cdd-4f29-bd12-0c9d5bb4deb0"
    name = "Extract Text Information"
    description = "Takes out of a text what a regular expression finds."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: Any = Field(description="The text.")
        pattern: str = Field(description="The regular expression.")
        group: int = Field(default=0, ge=0, description="Which of its groups is taken; 0 for all that it matches.")
        case_sensitive: bool = Field(default=True, description="Whether large and small letters differ.")
        dot_all: bool = Field(default=True, description="Whether a dot stands for line breaks too.")
        find_all: bool = Field(default=False, description="Whether every match counts, or only the first.")

    class Output(Pins):
        """Its output pins."""

        positive: str = Field(description="What was found, one after the other.")
        negative: str = Field(description="The text, if nothing was found.")
        matched_results: list[str] = Field(description="All that was found.")
        matched_count: int = Field(description="How much that is.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Find them.

        Raises:
            BlockError: The pattern is malformed, hasn't that group, or takes too long.
        """
        text = text_of(inputs.text)
        search = Search(
            pattern=inputs.pattern,
            group=inputs.group,
            case_sensitive=inputs.case_sensitive,
            dot_all=inputs.dot_all,
            find_all=inputs.find_all,
        )
        found = await in_child(extract, search, text)
        for match in found:
            yield "positive", match
        if not found:
            yield "negative", text
        yield "matched_results", found
        yield "matched_count", len(found)


class FillTextTemplate(Block["FillTextTemplate.Input"]):
    """Fills a template."""

    id = "db7d8f02-2f44-4c55-ab7a-eae0941f0c30"
    name = "Fill Text Template"
    description = "Fills a Jinja2 template with values."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        values: dict[str, Any] = Field(description="The values by name.")
        format: str = Field(description="The template, with {{name}} where a value goes.")
        escape_html: bool = Field(default=False, description="Whether values are escaped for HTML.")

    class Output(Pins):
        """Its output pins."""

        output: str = Field(description="The text.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Fill it.

        Raises:
            BlockError: It can't be filled, or takes too long.
        """
        yield "output", await in_child(fill_template, inputs.format, inputs.values, inputs.escape_html)


class CombineTexts(Block["CombineTexts.Input"]):
    """Joins texts."""

    id = "e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85"
    name = "Combine Texts"
    description = "Joins texts to one."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input: list[str] = Field(description="The texts.")
        delimiter: str = Field(default="", description="What goes between them.")

    class Output(Pins):
        """Its output pins."""

        output: str = Field(description="The one text.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Join them.

        Raises:
            BlockError: The result is too large.
        """
        if sum(map(len, inputs.input)) + len(inputs.delimiter) * len(inputs.input) > MAX_TEXT_CHARS:
            raise BlockError("The result is too large.")
        yield "output", inputs.delimiter.join(inputs.input)


class TextSplit(Block["TextSplit.Input"]):
    """Cuts a text."""

    id = "d5ea33c8-a575-477a-b42f-2fe3be5055ec"
    name = "Text Split"
    description = "Cuts a text into several."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The text.")
        delimiter: str = Field(description="Where it is cut.")
        strip: bool = Field(default=True, description="Whether white space around the parts goes.")

    class Output(Pins):
        """Its output pins."""

        texts: list[str] = Field(description="The parts.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Cut it; an empty text has no parts.

        Raises:
            BlockError: It isn't said where.
        """
        if not inputs.delimiter:
            raise BlockError("Name the text that lies between the parts.")
        parts = inputs.text.split(inputs.delimiter) if inputs.text else []
        yield "texts", [part.strip() for part in parts] if inputs.strip else parts


class TextReplace(Block["TextReplace.Input"]):
    """Replaces a text in another."""

    id = "7e7c87ab-3469-4bcc-9abe-67705091b713"
    name = "Text Replace"
    description = "Replaces a text wherever it is in another."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The text.")
        old: str = Field(description="What goes.")
        new: str = Field(description="What comes in its place.")

    class Output(Pins):
        """Its output pins."""

        output: str = Field(description="The text with the replacement.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Replace it.

        Raises:
            BlockError: Nothing is to be replaced, or the result is too large.
        """
        if not inputs.old:
            raise BlockError("Name the text that is to be replaced.")
        grown = inputs.text.count(inputs.old) * max(len(inputs.new) - len(inputs.old), 0)
        if len(inputs.text) + grown > MAX_TEXT_CHARS:
            raise BlockError("The result is too large.")
        yield "output", inputs.text.replace(inputs.old, inputs.new)


class WordCharacterCount(Block["WordCharacterCount.Input"]):
    """Counts words and characters."""

    id = "ab2a782d-22cf-4587-8a70-55b59b3f9f90"
    name = "Word Character Count"
    description = "Counts the words and characters of a text."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The text.")

    class Output(Pins):
        """Its output pins."""

        word_count: int = Field(description="How many words it has.")
        character_count: int = Field(description="How many characters it has, white space among them.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Count them."""
        yield "word_count", len(inputs.text.split())
        yield "character_count", len(inputs.text)
