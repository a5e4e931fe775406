"""Finding a model's reasoning: in the three shapes servers send it, and leaked into the text as think tags."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from apps.engines.base import ReasoningDelta, TextDelta

logger = logging.getLogger(__name__)

_STRING_SHAPES = ("reasoning", "reasoning_content")
_SHOWN_DETAIL_TYPES = {None, "reasoning.text", "reasoning.summary"}


class ReasoningReader:
    """Reads the reasoning of one answer's deltas; complains about malformed ones once, so logs aren't flooded."""

    def __init__(self) -> None:
        """Start with a clean slate."""
        self._complained = False

    def read(self, delta: Mapping[str, Any]) -> str:
        """Return the reasoning that people may read in a streamed delta, or "".

        The first shape present (not null, not empty) of `reasoning`, `reasoning_content` and `reasoning_details`
        wins, so that a server that sends one thought in two shapes doesn't show it twice. Malformed payloads are
        logged and skipped; encrypted and unknown kinds are never shown.
        """
        for key in _STRING_SHAPES:
            value = delta.get(key)
            if value is None or value == "":
                continue
            if isinstance(value, str):
                return value
            self._complain(key, value)
            return ""
        details = delta.get("reasoning_details")
        return "" if details is None else self._read_details(details)

    def _read_details(self, details: object) -> str:
        if not isinstance(details, list):
            self._complain("reasoning_details", details)
            return ""
        return "".join(self._read_entry(entry) for entry in details)

    def _read_entry(self, entry: object) -> str:
        if not isinstance(entry, Mapping):
            self._complain("reasoning_details", entry)
            return ""
        kind = entry.get("type")
        if not isinstance(kind, str | None):
            self._complain("reasoning_details", kind)
            return ""
        if kind not in _SHOWN_DETAIL_TYPES:
            return ""
        text = entry.get("summary") if kind == "reasoning.summary" else entry.get("text", entry.get("summary"))
        if text is None:  # such as the entry that only carries the signature
            return ""
        if not isinstance(text, str):
            self._complain("reasoning_details", text)
            return ""
        return text

    def _complain(self, key: str, value: object) -> None:
        """Log what was skipped by its kind only: the value may be someone's words."""
        if not self._complained:
            self._complained = True
            logger.warning("malformed %s skipped", key, extra={"shape": type(value).__name__})


_CLOSING = {"<think>": "</think>", "<thinking>": "</thinking>"}
_TELLING = re.compile(r"[<`\n]")  # characters that may begin a tag, or begin or end code
_LONGEST_INLINE_CODE = 2  # backticks; three and more open a fenced block, which may hold empty lines


class ThinkTagSplitter:
    """Routes leaked `<think>…</think>` and `<thinking>…</thinking>` text to reasoning, however it is cut up.

    - A tag counts wherever the model opens it (at the start or after some text), in any letter case, except inside
      Markdown code: an answer *about* think tags writes them between backticks.
    - Each tag ends with its own closing tag. An unclosed one makes the rest of the answer reasoning.
    - A closing tag that nothing opened, and all that merely resembles a tag, is passed on.
    - Nothing is lost but the tags themselves and white space that would make empty paragraphs: before the first
      visible text when a block is there too, at the start of a block, and a text of nothing but white space.
    - The result doesn't depend on where the text was cut (apart from `flush`).
    """

    def __init__(self) -> None:
        """Start before the first character of an answer."""
        self._held = ""  # the beginning of what may become a tag
        self._closing = ""  # the tag that ends the reasoning we are in, or "" in visible text
        self._thought = False  # whether the block we are in has begun with something to read
        self._visible = False  # whether anything visible was passed on
        self._space = ""  # white space that waits for the first visible character
        self._after_block = False  # whether a block came before any visible text
        self._run = 0  # backticks in a row, so far
        self._code = 0  # the number of backticks that opened the code we are in, or 0
        self._previous = ""  # the last character of the visible text
        self._out: list[tuple[bool, list[str]]] = []  # (is it reasoning, pieces)

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        """Take some more of the answer and return what is certain by now."""
        if self._is_plain(text):
            self._previous = text[-1]
            return [TextDelta(text)]
        for char in text:
            self._take(char)
        return self._drain()

    def _is_plain(self, text: str) -> bool:
        """Return whether a text changes nothing of our state, which is so for nearly all of them."""
        undecided = self._held or self._closing or self._run or not self._visible
        return bool(text) and not undecided and not _TELLING.search(text)

    def flush(self) -> list[TextDelta | ReasoningDelta]:
        """Return what was held back, as it is: something else (a tool call, the end) follows."""
        held, self._held = self._held, ""
        self._emit(held)
        return self._drain()

    def _take(self, char: str) -> None:
        if char != "`":
            self._end_backticks()
        candidate = self._held + char
        lowered = candidate.lower()
        tags = self._tags()
        if lowered in tags:
            self._held = ""
            self._switch(lowered)
        elif any(tag.startswith(lowered) for tag in tags):
            self._held = candidate
        elif self._held:
            held, self._held = self._held, ""
            self._emit(held)
            self._take(char)  # which may begin a tag itself
        else:
            self._emit(char)

    def _tags(self) -> tuple[str, ...]:
        """Return the tags that count at this place."""
        if self._closing:
            return (self._closing,)
        return () if self._code else tuple(_CLOSING)

    def _switch(self, tag: str) -> None:
        """Go from text to reasoning or back."""
        self._closing = "" if self._closing else _CLOSING[tag]
        self._thought = False
        self._space = ""
        self._after_block = True

    def _emit(self, text: str) -> None:
        for char in text:
            if self._closing:
                self._think(char)
            else:
                self._show(char)

    def _think(self, char: str) -> None:
        self._thought = self._thought or not char.isspace()
        if self._thought:
            self._append(True, char)

    def _show(self, char: str) -> None:
        if char == "`":
            self._run += 1
        elif char == self._previous == "\n" and self._code <= _LONGEST_INLINE_CODE:
            self._code = 0  # a paragraph's end is the end of a stray backtick, too
        self._previous = char
        if self._visible:
            self._append(False, char)
        elif not char.isspace():
            self._visible = True
            self._append(False, self._space + char)
        elif not self._after_block:
            self._space += char

    def _end_backticks(self) -> None:
        """Open or close code at the end of a run of backticks, as Markdown does."""
        if not self._run:
            return
        if not self._code:
            self._code = self._run
        elif self._run == self._code or self._run > self._code > _LONGEST_INLINE_CODE:
            self._code = 0
        self._run = 0

    def _append(self, is_reasoning: bool, text: str) -> None:
        if not self._out or self._out[-1][0] != is_reasoning:
            self._out.append((is_reasoning, []))
        self._out[-1][1].append(text)

    def _drain(self) -> list[TextDelta | ReasoningDelta]:
        out, self._out = self._out, []
        return [ReasoningDelta("".join(pieces)) if thought else TextDelta("".join(pieces)) for thought, pieces in out]
