"""Values of foreign files and other nodes are loosely typed: `"5"` for 5, JSON text for an object, null for a default.

They are brought into the shape of the pin that takes them before pydantic looks at them; what pydantic brings into
shape itself (`"5"`, `"true"`) is left to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

Shape = Literal["text", "number", "boolean", "list", "texts", "dictionary", "other"]

_PLAIN: Mapping[Any, Shape] = {str: "text", int: "number", float: "number", bool: "boolean"}


def fit_pins(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return pins' values in the shapes that a model's fields want.

    Args:
        model: Whose fields they are.
        data: Values by pin; unknown pins are left alone.

    Returns:
        A new mapping. Null, and an empty text for a number or boolean, is left out where there is a default.
    """
    fitted = dict(data)
    for pin, shape, has_default in _shapes(model):
        if pin not in fitted:
            continue
        value = fitted[pin]
        if has_default and (value is None or (value == "" and shape in {"number", "boolean"})):
            del fitted[pin]
        else:
            fitted[pin] = fit(value, shape)
    return fitted


def fit(value: Any, shape: Shape) -> Any:
    """Return a value in a shape, or as it is when there is no clear way to."""
    match shape:
        case "text" if value is not None:
            return text_of(value)
        case "list":
            return list_of(value)
        case "texts":
            return [text_of(item) for item in list_of(value)] if value is not None else None
        case "dictionary":
            return dictionary_of(value)
    return value


def text_of(value: Any) -> str:
    """Return a value as text: objects and lists as JSON, everything else as it is written."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def list_of(value: Any) -> Any:
    """Return a list: what a JSON text says, or the value as the only element; null stays null."""
    if value is None or isinstance(value, list):
        return value
    if isinstance(value, str):
        if not value.strip():
            return []
        found = json_of(value)
        return found if isinstance(found, list) else [value]
    return [value]


def dictionary_of(value: Any) -> Any:
    """Return an object: what a JSON text says, or a list's elements by their places; others stay as they are."""
    if isinstance(value, str):
        found = json_of(value)
        return found if isinstance(found, dict) else value
    if isinstance(value, list):
        return {str(place): item for place, item in enumerate(value)}
    return value


def json_of(text: str) -> Any:
    """Return what a JSON text says, also one that a model put into a fence; None when it isn't one."""
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json").strip()
    if bare[:1] not in {"[", "{"}:
        return None
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return None


@cache
def _shapes(model: type[BaseModel]) -> tuple[tuple[str, Shape, bool], ...]:
    return tuple(
        (pin, _shape(field.annotation), not field.is_required())
        for name, field in model.model_fields.items()
        for pin in _pins(name, field)
    )


def _pins(name: str, field: FieldInfo) -> Iterator[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        yield from (choice for choice in alias.choices if isinstance(choice, str))
    else:
        yield alias if isinstance(alias, str) else name


def _shape(annotation: Any) -> Shape:
    if get_origin(annotation) in {Union, UnionType}:
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _shape(members[0]) if len(members) == 1 else "other"
    origin = get_origin(annotation) or annotation
    if origin is list:
        return "texts" if get_args(annotation) == (str,) else "list"
    return "dictionary" if origin is dict else _PLAIN.get(origin, "other")
