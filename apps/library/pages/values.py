"""How values of runs are shown: texts, numbers, links, pictures and files, tables, and JSON as a tree."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_CHARACTERS = 100_000  # of a text; the rest is in the API
MOST_ROWS = 200
MOST_COLUMNS = 30
MOST_ITEMS = 200
MOST_DEPTH = 12  # of a tree; deeper parts are shown as JSON
CELL_CHARACTERS = 300
FILE = re.compile(
    r"workspace://([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:#([\w.+-]+/[\w.+-]+))?"
)
LINK = re.compile(r"https?://[^\s<>\"]{1,2000}")
#: What browsers show as a picture, and can't run.
PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")
PICTURE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
#: What looks like markdown, so that it is worth being shown as such.
MARKDOWN = re.compile(r"^(#{1,6} |[-*+] |\d+\. |> |```|\|.*\|)|\*\*\S|`[^`]+`|\[[^\]]+\]\(", re.MULTILINE)
#: From this length on a text is shown as a block.
LINE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Shown:
    """A value, ready for a template.

    Attributes:
        kind: `empty`, `word`, `text`, `markdown`, `link`, `picture`, `file`, `table`, `tree` or `json`.
        text: Of words and texts; the name of a link.
        address: Of links and pictures.
        file_id: Of a file of the workspace.
        is_picture: Whether that file is one.
        columns: Of a table.
        rows: Of a table: texts in the order of the columns.
        items: Of a tree: names and what is below them.
        left_off: How many characters, rows or items aren't shown.
    """

    kind: str
    text: str = ""
    address: str = ""
    file_id: str = ""
    is_picture: bool = False
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    items: tuple[tuple[str, Shown], ...] = field(default=())
    left_off: int = 0


def shown(value: Any, depth: int = 0) -> Shown:  # noqa: PLR0911 -- one for each kind
    """Return a JSON value as pages show it."""
    match value:
        case None:
            return Shown("empty")
        case bool():
            return Shown("word", text="Yes" if value else "No")
        case int() | float():
            return Shown("word", text=str(value))
        case str():
            return _text(value)
        case list() if (table := _table(value)) is not None:
            return table
        case list() | Mapping() if not value:
            return Shown("word", text="Empty list" if isinstance(value, list) else "Empty object")
        case list() | Mapping() if depth < MOST_DEPTH:
            return _tree(value, depth)
        case _:
            return _cut("json", json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _text(value: str) -> Shown:  # noqa: PLR0911 -- one for each kind
    if not value:
        return Shown("empty")
    if found := FILE.fullmatch(value):
        file_id, mime_type = found.groups()
        return Shown("file", text=mime_type or "file", file_id=file_id, is_picture=mime_type in PICTURE_TYPES)
    if LINK.fullmatch(value):
        return Shown("link", text=value, address=value)
    if PICTURE.fullmatch(value):
        return Shown("picture", address=value)
    if MARKDOWN.search(value[:MOST_CHARACTERS]):
        return _cut("markdown", value)
    if "\n" in value or len(value) > LINE_CHARACTERS:
        return _cut("text", value)
    return Shown("word", text=value)


def _cut(kind: str, text: str) -> Shown:
    return Shown(kind, text=text[:MOST_CHARACTERS], left_off=max(0, len(text) - MOST_CHARACTERS))


def _table(value: list[Any]) -> Shown | None:
    """Return a list of flat objects as a table; None when it is none."""
    if not value or not all(isinstance(row, Mapping) and row for row in value):
        return None
    columns = list(dict.fromkeys(str(key) for row in value[:MOST_ROWS] for key in row))
    if len(columns) > MOST_COLUMNS:
        return None
    rows = tuple(tuple(_cell(row.get(column)) for column in columns) for row in value[:MOST_ROWS])
    return Shown("table", columns=tuple(columns), rows=rows, left_off=max(0, len(value) - MOST_ROWS))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


def _tree(value: list[Any] | Mapping[str, Any], depth: int) -> Shown:
    pairs = list(value.items()) if isinstance(value, Mapping) else [(str(n), each) for n, each in enumerate(value, 1)]
    items = tuple((str(name), shown(each, depth + 1)) for name, each in pairs[:MOST_ITEMS])
    what = "object" if isinstance(value, Mapping) else "list"
    words = f"{what} of {len(pairs)}"
    return Shown("tree", text=words, items=items, left_off=max(0, len(pairs) - MOST_ITEMS))
