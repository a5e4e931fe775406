"""Loosely typed values of foreign files and of other nodes fit the pins that take them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import AliasChoices, Field, ValidationError

from apps.library.blocks.base import Pins


class Model(Pins):
    text: str = "default"
    number: int = 7
    real: float = 0.5
    yes: bool = True
    items: list[Any] = Field(default=[1], alias="list")
    texts: list[str] = []
    table: dict[str, Any] = {"a": 1}
    maybe: int | None = None
    anything: Any = "default"
    options: list[str] = Field(default=[], validation_alias=AliasChoices("options", "old_options"))


class Strict(Pins):
    text: str
    anything: Any
    items: list[Any]


FITTED = [
    ({"number": "5"}, "number", 5),
    ({"number": " 5.0 "}, "number", 5),
    ({"number": ""}, "number", 7),
    ({"number": None}, "number", 7),
    ({"maybe": ""}, "maybe", None),
    ({"maybe": "3"}, "maybe", 3),
    ({"real": "1e3"}, "real", 1000.0),
    ({"yes": "false"}, "yes", False),
    ({"yes": "True"}, "yes", True),
    ({"yes": 0}, "yes", False),
    ({"yes": ""}, "yes", True),
    ({"text": 5}, "text", "5"),
    ({"text": 1.5}, "text", "1.5"),
    ({"text": False}, "text", "False"),
    ({"text": ["ü", 1]}, "text", '["ü", 1]'),
    ({"text": None}, "text", "default"),
    ({"text": ""}, "text", ""),
    ({"list": None}, "items", [1]),
    ({"list": "[1, [2]]"}, "items", [1, [2]]),
    ({"list": "[broken"}, "items", ["[broken"]),
    ({"list": {"a": 1}}, "items", [{"a": 1}]),
    ({"list": ""}, "items", []),
    ({"list": 0}, "items", [0]),
    ({"texts": [1, True, {"a": None}]}, "texts", ["1", "True", '{"a": null}']),
    ({"texts": '["a", 1]'}, "texts", ["a", "1"]),
    ({"table": '{"b": 2}'}, "table", {"b": 2}),
    ({"table": ["x"]}, "table", {"0": "x"}),
    ({"table": None}, "table", {"a": 1}),
    ({"anything": None}, "anything", "default"),
    ({"anything": ""}, "anything", ""),
    ({"anything": "[1]"}, "anything", "[1]"),
    ({"old_options": "[1]"}, "options", ["1"]),
    ({"unknown": 1}, "number", 7),
]


@pytest.mark.parametrize(("pins", "name", "value"), FITTED, ids=str)
def test_loose_values_fit(pins, name, value):
    found = getattr(Model.model_validate(pins), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "pins", [{"number": "five"}, {"number": 5.5}, {"yes": "perhaps"}, {"table": "x"}, {"table": 5}]
)
def test_what_cant_fit_is_refused(pins):
    with pytest.raises(ValidationError):
        Model.model_validate(pins)


def test_null_is_no_value_for_a_required_pin_unless_anything_goes():
    assert Strict.model_validate({"text": "", "anything": None, "items": []}).anything is None
    for pins in ({"text": None, "anything": 1, "items": []}, {"text": "", "anything": 1, "items": None}):
        with pytest.raises(ValidationError):
            Strict.model_validate(pins)


def test_the_given_values_are_left_as_they_were():
    pins = {"number": None, "list": "[1]", "texts": [1]}
    Model.model_validate(pins)
    assert pins == {"number": None, "list": "[1]", "texts": [1]}
