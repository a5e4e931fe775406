"""An agent's inputs and outputs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from apps.library.blocks.inputs import AgentFileInput
from apps.library.errors import BlockError
from tests.library.blocks.running import block, run


@pytest.mark.parametrize(
    ("kind", "pins", "result"),
    [
        ("AgentInput", {"value": {"any": [1]}}, {"any": [1]}),
        ("AgentInput", {"value": "", "title": "T", "description": None, "advanced": "true", "secret": 1}, ""),
        ("AgentShortTextInput", {"value": 5}, "5"),
        ("AgentShortTextInput", {"value": ""}, ""),
        ("AgentLongTextInput", {"value": "a\nb"}, "a\nb"),
        ("AgentNumberInput", {"value": "7"}, 7),
        ("AgentNumberInput", {"value": 0}, 0),
        ("AgentDateInput", {"value": "2026-02-28"}, "2026-02-28"),
        ("AgentTimeInput", {"value": "09:05"}, "09:05:00"),
        ("AgentTimeInput", {"value": "00:00:00"}, "00:00:00"),
        ("AgentDropdownInput", {"value": "b", "options": ["a", "b"]}, "b"),
        ("AgentDropdownInput", {"value": 2, "placeholder_values": [1, 2]}, "2"),
        ("AgentDropdownInput", {"value": "anything"}, "anything"),
        ("AgentToggleInput", {"value": "true"}, True),
        ("AgentToggleInput", {"value": None}, False),
        ("AgentTableInput", {"value": [{"Column 1": "a"}]}, [{"Column 1": "a"}]),
        ("AgentTableInput", {"value": None}, []),
        ("AgentFileInput", {"value": "data:text/plain,a%20b", "base_64": True}, "data:text/plain;base64,YSBi"),
        (
            "AgentFileInput",
            {"value": "workspace://00000000-0000-4000-8000-000000000001#text/plain"},
            "workspace://00000000-0000-4000-8000-000000000001#text/plain",
        ),
    ],
)
async def test_an_input_gives_its_value(kind, pins, result):
    found = await run(kind, {"name": "in", **pins})
    assert found == [("result", result)]
    assert type(found[0][1]) is type(result)


@pytest.mark.parametrize(
    "kind",
    [
        "AgentInput",
        "AgentShortTextInput",
        "AgentLongTextInput",
        "AgentNumberInput",
        "AgentDateInput",
        "AgentTimeInput",
        "AgentDropdownInput",
        "AgentFileInput",
    ],
)
async def test_an_input_without_a_value_gives_nothing(kind):
    assert await run(kind, {"name": "in", "value": None}) == []
    assert await run(kind, {"name": "in"}) == []


@pytest.mark.parametrize(
    ("kind", "pins", "pin"),
    [
        ("AgentInput", {"value": 1}, "name"),
        ("AgentShortTextInput", {"value": "x"}, "name"),
        ("AgentLongTextInput", {"name": None}, "name"),
        ("AgentNumberInput", {"name": "in", "value": "seven"}, "value"),
        ("AgentDateInput", {"name": "in", "value": "2026-02-30"}, "value"),
        ("AgentTimeInput", {"name": "in", "value": "25:00"}, "value"),
        ("AgentToggleInput", {"name": "in", "value": "perhaps"}, "value"),
        ("AgentTableInput", {"name": "in", "value": ["no row"]}, "value"),
        ("AgentFileInput", {"name": "in", "base_64": "perhaps"}, "base_64"),
        ("AgentDropdownInput", {"value": "a"}, "name"),
        ("AgentOutput", {"value": 1}, "name"),
    ],
)
def test_what_doesnt_fit_is_refused(kind, pins, pin):
    with pytest.raises(ValidationError) as caught:
        block(kind).Input.model_validate(pins)
    assert {error["loc"][0] for error in caught.value.errors()} == {pin}


async def test_a_dropdown_takes_its_options_only():
    with pytest.raises(BlockError, match="options of “colour”"):
        await run("AgentDropdownInput", {"name": "colour", "value": "grey", "options": ["red", "blue"]})


async def test_a_file_isnt_touched_in_a_dry_run():
    uri = "http://127.0.0.1:1/file"
    assert await run(AgentFileInput(), {"name": "in", "value": uri}, is_dry_run=True) == [("result", uri)]


async def test_a_file_that_cant_be_read_is_an_error():
    with pytest.raises(BlockError, match="can't be fetched"):
        await run("AgentFileInput", {"name": "in", "value": "http://127.0.0.1:1/file", "base_64": True})


@pytest.mark.parametrize(
    ("pins", "outputs"),
    [
        ({"value": [1]}, [("output", [1]), ("name", "out")]),
        ({}, [("output", None), ("name", "out")]),
        ({"value": {"a": 1}, "format": "a is {{ out.a }}"}, [("output", "a is 1")]),
        ({"value": "<b>", "format": "{{ out }}"}, [("output", "<b>")]),
        ({"value": "<b>", "format": "{{ out }}", "escape_html": "true"}, [("output", "&lt;b&gt;")]),
    ],
)
async def test_an_output_puts_its_value_out(pins, outputs):
    assert await run("AgentOutput", {"name": "out", **pins}) == outputs


async def test_a_bad_format_is_an_error():
    with pytest.raises(BlockError, match="template"):
        await run("AgentOutput", {"name": "out", "value": 1, "format": "{{ out"})
