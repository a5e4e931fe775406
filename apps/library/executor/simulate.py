"""Dry runs: nothing is touched or spent; a block is played by the cheap model, or gives samples of its schema."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from functools import cache
from typing import Any, cast

from pydantic import create_model

from apps.engines.base import EngineError
from apps.library.blocks.base import ERROR_PIN, Block, BlockContext, BlockType, Category, Pins
from apps.library.blocks.files_access import is_at_hand
from apps.library.blocks.reaching import ReachingBlock
from apps.library.errors import BlockError
from apps.library.executor.inputs import fit
from apps.library.executor.plan import PlanNode

#: What is shown of one long text to the model that plays a block.
LONGEST_TEXT = 20_000
TRIES = 5
FAILED = "[SIMULATOR ERROR — NOT A BLOCK FAILURE] The block's part could not be played."
#: An orchestrator's loop in a dry run is at most this long.
MOST_ITERATIONS = 10
ORCHESTRATOR = "3b191d9f-356f-482d-8238-ba04b6d18381"
LOOP_INPUT = "agent_mode_max_iterations"

REAL_TYPES = frozenset({BlockType.INPUT, BlockType.OUTPUT, BlockType.AGENT, BlockType.HUMAN_IN_THE_LOOP})
#: Blocks of these kinds only move values about, unless they are of any other kind too.
LOGIC = frozenset({Category.LOGIC, Category.BASIC, Category.DATA, Category.TEXT})

PROMPT = (
    "You play one step of an automation, which must not really happen. You are told what the step is, what goes in, "
    "and the JSON schema of what comes out. Answer with one JSON object only: plausible values by output name, of the "
    "schema's types. Leave out what the step would not put out. Never speak of playing."
)


def runs_for_real(block: Block[Any], values: Mapping[str, Any]) -> bool:
    """Return whether a block does in a dry run what it always does: it touches nothing outside the run.

    Args:
        block: The block.
        values: Its inputs.
    """
    if block.type in REAL_TYPES or block.id == ORCHESTRATOR:
        return True
    is_logic = bool(block.categories) and block.categories <= LOGIC
    is_harmless = is_logic and block.is_idempotent and not block.costs and not block.credentials_inputs()
    return is_harmless and not (isinstance(block, ReachingBlock) and _would_reach(block, values))


def _would_reach(block: Block[Any], values: Mapping[str, Any]) -> bool:
    """Return whether a block would fetch a file from another machine."""
    pins = block.input_schema().get("properties", {})
    files = [values.get(name) for name, schema in pins.items() if _is_file(schema)]
    return not files or any(file and not (isinstance(file, str) and is_at_hand(file)) for file in files)


def _is_file(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "file" or any(map(_is_file, schema.get("anyOf", ())))


def without_credentials(block: Block[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block's input values as a dry run has them."""
    hidden = block.credentials_inputs()
    kept = {name: value for name, value in values.items() if name not in hidden}
    if block.id == ORCHESTRATOR:
        wanted = kept.get(LOOP_INPUT)
        kept[LOOP_INPUT] = capped(wanted if isinstance(wanted, int) else 0)
    return kept


def capped(iterations: int) -> int:
    """Return how often an orchestrator may loop in a dry run; it says -1 for "until it is done"."""
    return MOST_ITERATIONS if iterations < 0 else min(iterations, MOST_ITERATIONS)


def fit_dry(block: Block[Any], values: Mapping[str, Any]) -> Pins:
    """Return a block's inputs without credentials.

    Raises:
        BlockError: When other inputs are missing or don't fit.
    """
    return fit(dry_model(type(block)), values)


@cache
def dry_model(kind: type[Block[Any]]) -> type[Pins]:
    """Return a block's input model with its credentials neither wanted nor checked."""
    hidden = kind.credentials_inputs()
    if not hidden:
        return kind.Input
    fields = dict.fromkeys(hidden, (Any, None))
    return cast("type[Pins]", create_model(f"Dry{kind.__name__}", __base__=kind.Input, **cast("Any", fields)))


async def play(node: PlanNode, values: Mapping[str, Any], context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
    """Yield what a block might put out for these inputs.

    Raises:
        BlockError: When inputs are missing or don't fit, or the model didn't answer usefully.
    """
    block = node.block
    fit_dry(block, values)
    schema = block.output_schema()
    pins = [name for name in schema.get("properties", {}) if name != ERROR_PIN]
    ask = context.services.get("ask_cheap_model")
    said = await _ask(ask, block, values, schema) if ask is not None else None
    if said is None:
        said = {name: sample(schema["properties"][name], schema) for name in pins}
    for name in pins:
        if said.get(name) is not None:
            yield name, said[name]


async def _ask(ask: Any, block: Block[Any], values: Mapping[str, Any], schema: Any) -> dict[str, Any] | None:
    """Have the cheap model play a block; None when there is none."""
    told = {
        "step": block.name,
        "what_it_does": block.description,
        "inputs": {name: _short(value) for name, value in values.items()},
        "output_schema": schema,
    }
    text = json.dumps(told, ensure_ascii=False, default=str)
    for _ in range(TRIES):
        try:
            answer = await ask(system=PROMPT, text=text)
        except EngineError:
            continue
        if answer is None:
            return None
        if (found := _object_in(answer)) is not None:
            return found
    raise BlockError(FAILED)


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _object_in(answer: str) -> dict[str, Any] | None:
    """Return the JSON object of an answer, which may be fenced or have words around it."""
    begin, end = answer.find("{"), answer.rfind("}")
    try:
        found = json.loads(answer[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def sample(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value that fits a JSON schema, always the same one.

    Args:
        schema: What the value is to fit.
        root: Where `$ref`s lead.
        depth: How deep this value lies; deep ones are left empty.
    """
    if "$ref" in schema:
        schema = root.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
    for told in ("const", "default"):
        if schema.get(told) is not None:
            return schema[told]
    for listed in ("examples", "enum"):
        if schema.get(listed):
            return schema[listed][0]
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in schema:
            kinds = [found for found in schema[choices] if found.get("type") != "null"]
            return sample(kinds[0], root, depth) if kinds else None
    return _of_type(schema, root, depth)


def _of_type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [sample(schema.get("items", {}), root, depth + 1)] if depth < 3 else []
        case "object":
            fields = schema.get("properties", {}) if depth < 3 else {}
            return {name: sample(found, root, depth + 1) for name, found in fields.items()}
        case _:
            return f"Sample {str(schema.get('title') or 'value').lower()}"
