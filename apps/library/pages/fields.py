"""A form of an agent's inputs: fields made from its JSON schema, and their values read back and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from enum import StrEnum
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import ParseError

from apps.runtime.rest import check_json

MOST_TEXT = 200_000
MOST_ROWS = 500
SPARE_ROWS = 2
NEEDED = "This is needed."

Schema = Mapping[str, Any]


class Kind(StrEnum):
    """Which control a field has."""

    SHORT = "short"
    LONG = "long"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    CHOICE = "choice"
    TOGGLE = "toggle"
    TABLE = "table"
    FILE = "file"
    JSON = "json"


@dataclass(slots=True)
class Field:
    """An input of an agent as a form shows it.

    Attributes:
        name: What the agent calls it.
        html_name: What the form calls it; names of inputs may hold anything.
        kind: Which control it has.
        title: Its label.
        description: What it is for.
        is_required: Whether the agent has no value of its own for it.
        is_whole: Of a number: whether it must be whole.
        is_secret: Whether it is typed unseen.
        is_advanced: Whether it is shown on demand.
        choices: Of a choice: each text with whether it is chosen.
        columns: Of a table.
        rows: Of a table: texts in the order of the columns.
        text: What the control holds.
        is_on: Of a toggle.
        error: What is wrong with what was entered.
    """

    name: str
    html_name: str
    kind: Kind
    title: str
    description: str
    is_required: bool
    schema: Schema
    is_whole: bool = False
    is_secret: bool = False
    is_advanced: bool = False
    choices: list[tuple[str, bool]] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    text: str = ""
    is_on: bool = False
    error: str = ""


class Refused(Exception):
    """What was entered can't be used; the message says why."""


def fields_of(schema: Schema, values: Mapping[str, Any]) -> list[Field]:
    """Return the fields of a JSON schema of inputs.

    Args:
        schema: As `graphs.schemas.input_schema` makes it.
        values: What the fields hold at first; the schema's defaults where it has nothing.
    """
    required = set(schema.get("required", ()))
    made = []
    for number, (name, facts) in enumerate(schema.get("properties", {}).items()):
        kind = kind_of(facts)
        one = Field(
            name=name,
            html_name=f"input-{number}",
            kind=kind,
            title=str(facts.get("title") or name),
            description=str(facts.get("description") or ""),
            is_required=name in required,
            is_whole=_types(facts) == {"integer"},
            is_secret=facts.get("secret") is True and kind is Kind.SHORT,
            is_advanced=facts.get("advanced") is True,
            schema=facts,
        )
        fill(one, values.get(name, facts.get("default")))
        made.append(one)
    return made


def kind_of(schema: Schema) -> Kind:
    """Return the control that fits a value's schema."""
    if schema.get("enum"):
        return Kind.CHOICE
    by_format = {
        "short-text": Kind.SHORT,
        "long-text": Kind.LONG,
        "date": Kind.DATE,
        "time": Kind.TIME,
        "table": Kind.TABLE,
        "file": Kind.FILE,
    }
    if (found := by_format.get(str(schema.get("format", "")))) is not None:
        return found
    types = _types(schema)
    if types == {"boolean"}:
        return Kind.TOGGLE
    if types and types <= {"integer", "number"}:
        return Kind.NUMBER
    if types and types <= {"array", "object"}:
        return Kind.JSON
    return Kind.SHORT if types == {"string"} else Kind.LONG


def _types(schema: Schema) -> set[str]:
    """Return the types that a schema names, without null."""
    named = schema.get("type")
    found = set(named) if isinstance(named, list) else {named} if named else set()
    for part in schema.get("anyOf", ()):
        found |= _types(part)
    return {str(each) for each in found} - {"null"}


def fill(one: Field, value: Any) -> None:
    """Put a value into a field's control."""
    match one.kind:
        case Kind.TOGGLE:
            one.is_on = bool(value)
        case Kind.CHOICE:
            one.text = "" if value is None else _as_text(value)
            one.choices = [(text, text == one.text) for text in map(_as_text, one.schema["enum"])]
        case Kind.TABLE:
            one.columns = [str(column) for column in one.schema.get("column_headers") or ()] or _columns(value)
            given = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
            one.rows = [[_as_text(row.get(column, "")) for column in one.columns] for row in given[:MOST_ROWS]]
            _add_spare_rows(one)
        case Kind.JSON:
            one.text = "" if value is None else json.dumps(value, ensure_ascii=False, indent=2)
        case _:
            one.text = "" if value is None else _as_text(value)


def _columns(value: Any) -> list[str]:
    rows = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
    return list(dict.fromkeys(str(key) for row in rows for key in row)) or ["Column 1", "Column 2", "Column 3"]


def _add_spare_rows(one: Field) -> None:
    one.rows += [[""] * len(one.columns) for _ in range(SPARE_ROWS)]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def read(
    fields: list[Field],
    data: QueryDict,
    files: MultiValueDict[str, UploadedFile],
    *,
    store: Callable[[UploadedFile], str],
) -> dict[str, Any]:
    """Read a sent form into fields, so that nothing that was entered is lost, and return the inputs that can be used.

    Args:
        fields: The form's; what is wrong is written into their `error`.
        data: The form's values.
        files: The form's files.
        store: Keeps a file and returns its reference; its `Refused` is shown at the field.
    """
    values: dict[str, Any] = {}
    for one in fields:
        try:
            found = _read_one(one, data, files, store)
            if found is not None:
                values[one.name] = found
            elif one.is_required:
                one.error = NEEDED
        except Refused as error:
            one.error = str(error)
    return values


def _read_one(
    one: Field,
    data: QueryDict,
    files: MultiValueDict[str, UploadedFile],
    store: Callable[[UploadedFile], str],
) -> Any:
    if one.kind is Kind.TOGGLE:
        one.is_on = one.html_name in data
        return one.is_on
    if one.kind is Kind.TABLE:
        return _read_table(one, data)
    sent = str(data.get(one.html_name, ""))
    if one.kind is Kind.FILE:
        file = files.get(one.html_name)
        one.text = store(file) if file is not None else sent.strip()
        return one.text or None
    one.text = sent
    if one.kind is Kind.CHOICE:
        one.choices = [(text, text == sent) for text, _ in one.choices]
    if "\x00" in sent or len(sent) > MOST_TEXT:
        raise Refused(f"This is longer than {MOST_TEXT:,} characters." if len(sent) > MOST_TEXT else "This isn't text.")
    if not sent.strip():
        return None
    return _typed(one, sent.replace("\r\n", "\n"))


def _typed(one: Field, sent: str) -> Any:
    match one.kind:
        case Kind.NUMBER:
            return _number(sent.strip(), whole=one.is_whole)
        case Kind.CHOICE:
            for value in one.schema["enum"]:
                if _as_text(value) == sent:
                    return value
            raise Refused("Choose one of these.")
        case Kind.DATE:
            return _checked(date.fromisoformat, sent.strip(), "This isn't a date like 2026-12-31.")
        case Kind.TIME:
            return _checked(time.fromisoformat, sent.strip(), "This isn't a time like 13:45.")
        case Kind.JSON:
            return _json(sent, _types(one.schema))
        case _:
            default = one.schema.get("default")
            # An input of any kind whose value was left as it is keeps that value's type.
            return default if not isinstance(default, str) and sent == _as_text(default) else sent


def _number(sent: str, *, whole: bool) -> int | float:
    try:
        found = float(sent)
    except ValueError:
        raise Refused("This isn't a number.") from None
    if not math.isfinite(found) or abs(found) >= 2**63:
        raise Refused("This number is too large.")
    if whole and found != int(found):
        raise Refused("This must be a whole number.")
    return int(sent) if sent.lstrip("+-").isdigit() else int(found) if whole else found


def _checked(parse: Callable[[str], Any], sent: str, sentence: str) -> str:
    try:
        return str(parse(sent).isoformat())
    except ValueError:
        raise Refused(sentence) from None


def _json(sent: str, types: set[str]) -> Any:
    try:
        found = json.loads(sent)
        check_json(found)
    except RecursionError:
        raise Refused("This is nested too deep.") from None
    except ParseError as error:
        raise Refused(str(error.detail)) from None
    except ValueError as error:
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Refused(f"This isn't JSON{place}.") from None
    kinds = {"array": list, "object": dict}
    if types and not isinstance(found, tuple(kinds[each] for each in types)):
        words = {"array": "a list like [1, 2]", "object": 'an object like {"name": "value"}'}
        raise Refused(f"This must be {' or '.join(words[each] for each in sorted(types))}.")
    return found


def _read_table(one: Field, data: QueryDict) -> list[dict[str, str]] | None:
    sent = [data.getlist(f"{one.html_name}-{number}") for number in range(len(one.columns))]
    height = min(max(map(len, sent), default=0), MOST_ROWS + 1)
    if height > MOST_ROWS:
        raise Refused(f"A table may have {MOST_ROWS} rows.")
    rows = [[cells[at] if at < len(cells) else "" for cells in sent] for at in range(height)]
    one.rows = [row for row in rows if any(cell.strip() for cell in row)]
    found = [dict(zip(one.columns, row, strict=True)) for row in one.rows]
    _add_spare_rows(one)
    return found or None
