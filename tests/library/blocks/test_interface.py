"""Every block has the id, kind and pins that agent files rely on, and schemas that say so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from apps.library.blocks.base import Block
from apps.library.blocks.registry import OLD_IDS, all_blocks, get_block
from tests.library.blocks.interface import BLOCKS, SENSITIVE
from tests.library.blocks.running import block

PIN = re.compile(r"(?P<name>\w+)(?P<mark>[*?]?)(:(?P<type>[sinboa]))?(=(?P<default>.+))?")
TYPES = {"s": "string", "i": "integer", "n": "number", "b": "boolean", "o": "object", "a": "array"}


def told(pins: str) -> dict[str, re.Match[str]]:
    found = [PIN.fullmatch(word) for word in pins.split()]
    return {pin["name"]: pin for pin in found if pin}


def ours() -> list[Block[Any]]:
    """Return the blocks of the product itself; the tests' settings name modules with others."""
    return [found for found in all_blocks().values() if type(found).__module__.startswith("apps.")]


def type_of(schema: dict) -> str | None:
    """What a pin takes, null aside."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return options[0].get("type") if len(options) == 1 else None


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_a_block_has_the_interface_that_files_rely_on(name):
    block_id, kind, is_static, inputs, outputs = BLOCKS[name]
    found = block(name)
    assert (found.id, str(found.type), found.static_output) == (block_id, kind, is_static)
    assert get_block(block_id) is found
    assert found.name
    assert found.description.endswith(".")
    assert found.categories
    schema = found.input_schema()
    wanted = told(inputs)
    assert set(schema["properties"]) == set(wanted)
    assert set(schema.get("required", [])) == {pin for pin, facts in wanted.items() if facts["mark"] == "*"}
    for pin, facts in wanted.items():
        own = schema["properties"][pin]
        assert own["description"], pin
        if facts["type"]:
            assert type_of(own) == TYPES[facts["type"]], pin
        if facts["mark"] == "?":
            assert own["default"] is None, pin
        if facts["default"]:
            shown = json.dumps(own["default"], separators=(",", ":")).replace(" ", "_")
            assert json.loads(shown) == json.loads(facts["default"]), pin
    told_outputs = told(outputs)
    made = found.output_schema()["properties"]
    assert set(made) == {*told_outputs, "error"}
    for pin, facts in told_outputs.items():
        assert made[pin]["description"], pin
        if facts["type"]:
            assert type_of(made[pin]) == TYPES[facts["type"]], pin


def test_schemas_are_json_and_valid():
    from jsonschema import Draft202012Validator

    for name in BLOCKS:
        for schema in (block(name).input_schema(), block(name).output_schema()):
            assert json.loads(json.dumps(schema)) == schema
            Draft202012Validator.check_schema(schema)


def test_no_block_is_missing_from_the_table():
    assert {type(found).__name__ for found in ours()} == set(BLOCKS)


def test_what_changes_the_world_is_sensitive_and_nothing_else_is():
    assert {type(found).__name__ for found in ours() if found.is_sensitive_action} == SENSITIVE
    for name in SENSITIVE - {"GithubAddLabel"}:  # a label that is there already stays as it is
        assert not block(name).is_idempotent, name


def test_old_ids_lead_to_their_blocks():
    for old, new in OLD_IDS.items():
        assert get_block(old) is get_block(new)
    assert type(get_block("f8e7d6c5-b4a3-2c1d-0e9f-8g7h6i5j4k3l")).__name__ == "StepThroughItems"
    assert get_block("no such block") is None
