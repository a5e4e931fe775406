"""Blocks that encode and decode: JSON, and the escapes that programs write into texts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.errors import BlockError

_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|[\\'\"abfnrtv])")
_SHORT: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class JSONEncoder(Block["JSONEncoder.Input"]):
    """Writes a value as JSON."""

    id = "9a9d20c5-5b4d-4e94-8022-83b6cb72648a"
    name = "JSON Encoder"
    description = "Writes a value as JSON text."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        data: Any = Field(description="The value.")

    class Output(Pins):
        """Its output pins."""

        json_str: str = Field(description="The JSON text.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Write it."""
        yield "json_str", json.dumps(inputs.data, ensure_ascii=False)


class JSONDecoder(Block["JSONDecoder.Input"]):
    """Reads JSON."""

    id = "2b935639-65bc-48fd-9f88-823cd706fcd9"
    name = "JSON Decoder"
    description = "Reads the value that a JSON text stands for."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        json_str: str = Field(description="The JSON text.")

    class Output(Pins):
        """Its output pins."""

        data: Any = Field(description="The value.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it.

        Raises:
            BlockError: It isn't JSON.
        """
        yield "data", decoded_json(inputs.json_str)


def decoded_json(text: str) -> Any:
    """Return what a JSON text stands for.

    Raises:
        BlockError: It isn't JSON. `NaN` and `Infinity`, which Python would read, aren't.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise BlockError(f"This isn't JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None
    except ValueError as error:
        raise BlockError(f"This isn't JSON: {error}.") from None
    except RecursionError:
        raise BlockError("This JSON is nested too deeply.") from None


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} isn't a number")


class TextDecoder(Block["TextDecoder.Input"]):
    """Reads escapes."""

    id = "2570e8fe-8447-43ed-84c7-70d657923231"
    name = "Text Decoder"
    description = "Replaces escapes in a text, such as \\n, by what they stand for."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The text with escapes.")

    class Output(Pins):
        """Its output pins."""

        decoded_text: str = Field(description="The text without them.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Replace them.

        Raises:
            BlockError: One stands for no character.
        """
        try:
            yield "decoded_text", _PAIR.sub(_joined, _ESCAPE.sub(_unescaped, inputs.text))
        except (ValueError, OverflowError):
            raise BlockError("The text has an escape that stands for no character.") from None


def _unescaped(found: re.Match[str]) -> str:
    word = found[1]
    if word in _SHORT:
        return _SHORT[word]
    return chr(int(word[1:], 16) if word[0] in "xuU" else int(word, 8))


def _joined(pair: re.Match[str]) -> str:
    """Two escapes that stand for one character, as JavaScript and JSON write it."""
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


class TextEncoder(Block["TextEncoder.Input"]):
    """Writes escapes."""

    id = "5185f32e-4b65-4ecf-8fbb-873f003f09d6"
    name = "Text Encoder"
    description = "Writes line breaks and other special characters of a text as escapes, such as \\n."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The text.")

    class Output(Pins):
        """Its output pins."""

        encoded_text: str = Field(description="The text with escapes.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Write them."""
        yield "encoded_text", inputs.text.encode("unicode_escape").decode("ascii")
