"""A block that takes code out of a text, by its language."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Any, Final

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins

#: What languages are called behind the three backticks, by pin.
NAMES: Final = {
    "html": ("html", "htm"),
    "css": ("css",),
    "javascript": ("javascript", "js", "jsx", "mjs"),
    "python": ("python", "py", "python3"),
    "sql": ("sql",),
    "java": ("java",),
    "cpp": ("cpp", "c++", "cxx", "cc"),
    "csharp": ("csharp", "c#", "cs"),
    "json_code": ("json", "jsonc"),
    "bash": ("bash", "sh", "shell", "zsh"),
    "php": ("php",),
    "ruby": ("ruby", "rb"),
    "yaml": ("yaml", "yml"),
    "markdown": ("markdown", "md"),
    "typescript": ("typescript", "ts", "tsx"),
    "xml": ("xml",),
}
_PIN_OF: Final = {name: pin for pin, names in NAMES.items() for name in names}


class CodeExtraction(Block["CodeExtraction.Input"]):
    """Takes code out of a text."""

    id = "d3a7d896-3b78-4f44-8b4b-48fbf4f0bcd8"
    name = "Code Extraction"
    description = "Takes fenced code out of a text, such as a model's answer, and puts it out by its language."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        text: str = Field(description="The text with code in it.")

    class Output(Pins):
        """Its output pins; only those that there is something for are put out."""

        html: str = Field(description="HTML.")
        css: str = Field(description="CSS.")
        javascript: str = Field(description="JavaScript.")
        python: str = Field(description="Python.")
        sql: str = Field(description="SQL.")
        java: str = Field(description="Java.")
        cpp: str = Field(description="C++.")
        csharp: str = Field(description="C#.")
        json_code: str = Field(description="JSON.")
        bash: str = Field(description="Shell scripts.")
        php: str = Field(description="PHP.")
        ruby: str = Field(description="Ruby.")
        yaml: str = Field(description="YAML.")
        markdown: str = Field(description="Markdown.")
        typescript: str = Field(description="TypeScript.")
        xml: str = Field(description="XML.")
        remaining_text: str = Field(description="The text without that code.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put out what is there."""
        code, rest = extracted(inputs.text)
        for pin in NAMES:
            if pin in code:
                yield pin, code[pin]
        if rest:
            yield "remaining_text", rest


def extracted(text: str) -> tuple[dict[str, str], str]:
    """Return a text's fenced code by pin, and the rest. Code of other languages, or of none, stays in the rest."""
    code: dict[str, list[str]] = defaultdict(list)
    rest: list[str] = []
    lines = text.splitlines()
    place = 0
    while place < len(lines):
        fence, language = _opening(lines[place])
        pin = _PIN_OF.get(language)
        end = _closing(lines, place, fence) if fence else place
        if pin:
            code[pin].append("\n".join(lines[place + 1 : end]))
        else:
            rest += lines[place : end + 1]
        place = end + 1
    return {pin: "\n\n".join(parts) for pin, parts in code.items()}, "\n".join(rest).strip()


def _opening(line: str) -> tuple[str, str]:
    """Return the fence that a line opens, and the language that it names; empty texts where it does neither.

    By hand, because a pattern for it would need quadratic time on hostile lines.
    """
    bare = line.strip()
    words = bare.lstrip(bare[:1]) if bare[:1] in {"`", "~"} else bare
    fence = bare[: len(bare) - len(words)]
    if len(fence) < 3 or (fence[0] == "`" and "`" in words):
        return "", ""
    return fence, words.split()[0].lower() if words.split() else ""


def _closing(lines: list[str], opening: int, fence: str) -> int:
    """Return the line that closes a fence; an answer that was cut off ends without one."""
    for place in range(opening + 1, len(lines)):
        line = lines[place].strip()
        if len(line) >= len(fence) and set(line) == {fence[0]}:
            return place
    return len(lines)
