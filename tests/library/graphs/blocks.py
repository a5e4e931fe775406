"""Small blocks with the ids and pins that graphs refer to, for those that aren't in the product (yet)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, create_model

from apps.library.blocks.base import Block, BlockType, Category, Pins, credentials_field
from apps.library.graphs import known

REQUIRED = ...


async def run(self, inputs, context):
    yield "error", "This block is only for tests of graphs."


def block(block_id, name, takes, gives, kind=BlockType.STANDARD, **more):
    """Return a block; `takes` is {pin: (type, default)}, `gives` is {pin: type}."""
    body = {
        "id": block_id,
        "name": name,
        "description": f"{name}, for tests.",
        "categories": frozenset({Category.BASIC}),
        "type": kind,
        "Input": create_model("Input", __base__=Pins, **takes),
        "Output": create_model("Output", __base__=Pins, **{pin: (type_, REQUIRED) for pin, type_ in gives.items()}),
        "run": run,
        **more,
    }
    return type(name.replace(" ", ""), (Block,), body)()


def agent_input(block_id, name, value, gives=Any, **pins):
    takes = {
        "name": (str, REQUIRED),
        "value": value,
        "title": (str | None, None),
        "description": (str | None, None),
        "advanced": (bool, False),
        "secret": (bool, False),
        **pins,
    }
    return block(block_id, name, takes, {"result": gives}, BlockType.INPUT, static_output=True)


def short(text):
    return (str | None, Field(default=None, json_schema_extra={"format": text}))


KEYED = "11111111-2222-4333-8444-555555555555"
TRIGGER = "8fa8c167-2002-47ce-aba8-97572fc5d387"
HUMAN = "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d"
OUTPUT = "363ae599-353e-4804-937e-b2ee3cef3da4"
SHORT_TEXT = "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158"
NUMBER = "96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98"
TOGGLE = "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e"
TEMPLATE = "db7d8f02-2f44-4c55-ab7a-eae0941f0c30"
TEXT_GENERATOR = "1f292d4a-41a4-4977-9684-7c8d560b9f91"
STRUCTURED = "ed55ac19-356e-4243-a6cb-bc599e9b716f"
STEP = "f66a3543-28d3-4ab5-8945-9b336371e2ce"
COUNT = "3c9c2f42-b0c3-435f-ba35-05f7a25c772a"
WORDS = "ab2a782d-22cf-4587-8a70-55b59b3f9f90"
NOTE = "cc10ff7b-7753-4ff2-9af6-9399b1a7eddc"
FIND = "0e50422c-6dee-4145-83d6-3a5a392f65de"
MODELLED = "22222222-2222-4333-8444-555555555555"

STAND_INS = {
    each.id: each
    for each in (
        agent_input(known.AGENT_INPUT, "Agent Input", (Any, None)),
        agent_input(SHORT_TEXT, "Agent Short Text Input", short("short-text"), str),
        agent_input(NUMBER, "Agent Number Input", (int | None, None), int),
        agent_input(TOGGLE, "Agent Toggle Input", (bool, False), bool),
        agent_input(
            known.DROPDOWN_INPUT, "Agent Dropdown Input", (str | None, None), str, options=(list[Any], Field([]))
        ),
        agent_input(
            known.TABLE_INPUT,
            "Agent Table Input",
            (list[dict[str, Any]] | None, None),
            list[dict[str, Any]],
            column_headers=(list[str], Field(["Column 1"])),
        ),
        block(
            OUTPUT,
            "Agent Output",
            {
                "name": (str, REQUIRED),
                "value": (Any, None),
                "title": (str | None, None),
                "description": (str | None, None),
                "format": (str, ""),
                "advanced": (bool, False),
                "secret": (bool, False),
            },
            {"output": Any, "name": Any},
            BlockType.OUTPUT,
            static_output=True,
        ),
        block(
            known.AGENT_EXECUTOR,
            "Agent Executor",
            {
                "user_id": (str, REQUIRED),
                "graph_id": (str, REQUIRED),
                "graph_version": (int, REQUIRED),
                "agent_name": (str | None, None),
                "inputs": (dict[str, Any], REQUIRED),
                "input_schema": (dict[str, Any], REQUIRED),
                "output_schema": (dict[str, Any], REQUIRED),
            },
            {},
            BlockType.AGENT,
        ),
        block(
            HUMAN,
            "Human In The Loop",
            {"data": (Any, REQUIRED), "name": (str, REQUIRED), "editable": (bool, True)},
            {"approved_data": Any, "rejected_data": Any, "review_message": str},
            BlockType.HUMAN_IN_THE_LOOP,
        ),
        block(
            TRIGGER,
            "Generic Webhook Trigger",
            {"payload": (dict[str, Any], Field({})), "constants": (dict[str, Any], Field({}))},
            {"payload": dict[str, Any], "constants": dict[str, Any]},
            BlockType.WEBHOOK_MANUAL,
        ),
        block(
            known.MCP_TOOL,
            "MCP Tool",
            {
                "server_url": (str, REQUIRED),
                "selected_tool": (str, ""),
                "tool_input_schema": (dict[str, Any], Field({})),
                "tool_arguments": (dict[str, Any], Field({})),
            },
            {"result": Any},
            BlockType.MCP_TOOL,
        ),
        block(
            known.ORCHESTRATOR,
            "Orchestrator",
            {
                "prompt": (str, REQUIRED),
                "conversation_history": (list[dict[str, Any]], Field([])),
                "last_tool_output": (Any, None),
                "agent_mode_max_iterations": (int, 0),
            },
            {"tools": Any, "finished": str, "conversations": Any},
            BlockType.AI,
        ),
        block(NOTE, "Note", {"text": (str, REQUIRED)}, {"output": str}, BlockType.NOTE),
        block(known.STORE_VALUE, "Store Value", {"input": (Any, REQUIRED), "data": (Any, None)}, {"output": Any}),
        block(
            known.TYPE_CONVERTER,
            "Universal Type Converter",
            {"value": (Any, REQUIRED), "type": (str, REQUIRED)},
            {"value": Any},
        ),
        block(
            known.CONDITION,
            "Condition",
            {
                "value1": (Any, REQUIRED),
                "operator": (Literal["==", "!=", ">", "<", ">=", "<="], REQUIRED),
                "value2": (Any, REQUIRED),
                "yes_value": (Any, None),
                "no_value": (Any, None),
            },
            {"result": bool, "yes_output": Any, "no_output": Any},
        ),
        block(
            known.CREATE_LIST,
            "Create List",
            {"values": (list[Any], REQUIRED), "max_size": (int | None, None)},
            {"list": list[Any]},
        ),
        block(
            known.ADD_TO_LIST,
            "Add To List",
            {
                "list": (list[Any], Field([])),
                "entry": (Any, None),
                "entries": (list[Any], Field([])),
                "position": (int | None, None),
            },
            {"updated_list": list[Any]},
        ),
        block(
            known.CREATE_DICTIONARY,
            "Create Dictionary",
            {"values": (dict[str, Any], REQUIRED)},
            {"dictionary": dict[str, Any]},
        ),
        block(
            known.ADD_TO_DICTIONARY,
            "Add To Dictionary",
            {
                "dictionary": (dict[Any, Any], Field({})),
                "key": (str, ""),
                "value": (Any, None),
                "entries": (dict[Any, Any], Field({})),
            },
            {"updated_dictionary": dict[str, Any]},
        ),
        block(FIND, "Find In Dictionary", {"input": (Any, REQUIRED), "key": (str | int, REQUIRED)}, {"output": Any}),
        block(
            known.EXECUTE_CODE,
            "Execute Code",
            {"code": (str, ""), "language": (str, "python"), "timeout": (int, 300)},
            {"response": str, "stdout_logs": str, "stderr_logs": str},
        ),
        block(known.CODE_EXTRACTION, "Code Extraction", {"text": (str, REQUIRED)}, {"json_code": str, "python": str}),
        block(
            known.DATA_SAMPLING,
            "Data Sampling",
            {"data": (Any, REQUIRED), "sample_size": (int, 10)},
            {"sampled_data": list[Any]},
        ),
        block(
            known.TEXT_REPLACE,
            "Text Replace",
            {"text": (str, REQUIRED), "old": (str, REQUIRED), "new": (str, REQUIRED)},
            {"output": str},
        ),
        block(
            known.CURRENT_DATE,
            "Get Current Date",
            {"trigger": (str, REQUIRED), "offset": (int | str, 0), "format_type": (dict[str, Any], Field({}))},
            {"date": str},
        ),
        block(known.FILE_READ, "File Read", {"file_input": (str, REQUIRED), "row_limit": (int, 0)}, {"content": str}),
        block(
            known.SEND_EMAIL,
            "Send Email",
            {
                "to_email": (str, REQUIRED),
                "subject": (str, REQUIRED),
                "body": (str, REQUIRED),
                "config": (dict[str, Any], REQUIRED),
                "credentials": (dict[str, Any], credentials_field("smtp", types=("user_password",))),
            },
            {"status": str},
            is_sensitive_action=True,
        ),
        block(
            TEMPLATE,
            "Fill Text Template",
            {"values": (dict[str, Any], REQUIRED), "format": (str, REQUIRED)},
            {"output": str},
        ),
        block(
            TEXT_GENERATOR,
            "AI Text Generator",
            {
                "prompt": (str, REQUIRED),
                "sys_prompt": (str, ""),
                "prompt_values": (dict[str, Any], Field({})),
                "max_tokens": (int | None, None),
            },
            {"response": str, "prompt": list[Any]},
        ),
        block(
            STEP,
            "Step Through Items",
            {"items": (list[Any], Field([])), "items_object": (dict[str, Any], Field({}))},
            {"item": Any, "key": Any},
        ),
        block(COUNT, "Count Items", {"collection": (Any, REQUIRED)}, {"count": int}),
        block(WORDS, "Word Character Count", {"text": (str, REQUIRED)}, {"word_count": int, "character_count": int}),
    )
}

#: Blocks that are only ours: with a credential, and with a choice of models.
OURS = {
    each.id: each
    for each in (
        block(
            KEYED,
            "Keyed",
            {
                "topic": (str, REQUIRED),
                "credentials": (dict[str, Any], credentials_field("acme", scopes=("read",))),
            },
            {"found": str},
        ),
        block(
            MODELLED,
            "Modelled",
            {"prompt": (str, REQUIRED), "model": (Literal["small", "large"], "small")},
            {"response": str},
        ),
    )
}
