"""Blocks that reach beyond their own node: a person, another agent, the copilot."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pydantic import Field

from apps.library.blocks.base import Block, BlockContext, BlockType, Category, Pins
from apps.library.errors import BlockError

PASSED = "Auto-approved (safe mode disabled)"
PASSED_DRY = "Auto-approved (dry run)"


class HumanInTheLoop(Block["HumanInTheLoop.Input"]):
    """Asks a person and goes on when they have answered."""

    id = "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d"
    name = "Human In The Loop"
    description = "Shows data to a person, who approves, edits or rejects it, before the agent goes on."
    categories = frozenset({Category.BASIC, Category.SAFETY})
    type = BlockType.HUMAN_IN_THE_LOOP
    is_idempotent = True  # begun again, it finds the question that it asked

    class Input(Pins):
        """Its input pins."""

        data: Any = Field(description="What is to be approved.")
        name: str = Field(description="What the person is asked to look at.")
        editable: bool = Field(default=True, description="Whether they may change it.")

    class Output(Pins):
        """Its output pins."""

        approved_data: Any = Field(description="The data, as the person approved it.")
        rejected_data: Any = Field(description="The data, when they rejected it.")
        review_message: str = Field(description="What they said.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put the data out on the pin that the person chose."""
        if context.is_dry_run or not context.safe_mode:
            yield "approved_data", inputs.data
            yield "review_message", PASSED_DRY if context.is_dry_run else PASSED
            return
        decision = await context.services["ask_person"](
            payload=inputs.data, instructions=inputs.name, is_editable=inputs.editable
        )
        yield ("approved_data" if decision.approved else "rejected_data"), decision.data
        if decision.message:
            yield "review_message", decision.message


class AgentExecutor(Block["AgentExecutor.Input"]):
    """Runs another agent."""

    id = "e189baac-8c20-45a1-94a7-55177ea42565"
    name = "Agent Executor"
    description = "Runs another of your agents and puts out what it gives back."
    categories = frozenset({Category.AGENT})
    type = BlockType.AGENT
    is_idempotent = True  # begun again, it finds the run that it started
    timeout_seconds = None

    class Input(Pins):
        """Its input pins; those of the agent that it runs are collected in `inputs`."""

        user_id: str = Field(default="", description="Whose agent it is; always yours.")
        graph_id: str = Field(description="The agent's graph.")
        graph_version: int = Field(description="Its version.")
        agent_name: str | None = Field(default=None, description="What it is called.")
        inputs: dict[str, Any] = Field(default={}, description="The agent's inputs by name.")
        input_schema: dict[str, Any] = Field(default={}, description="What it takes.")
        output_schema: dict[str, Any] = Field(default={}, description="What it gives back.")
        nodes_input_masks: dict[str, dict[str, Any]] | None = Field(
            default=None, description="Values that win over its nodes' own, by node."
        )

    class Output(Pins):
        """Its output pins are those of the agent that it runs."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put out what the agent gave back, by name."""
        outputs = await context.services["run_agent"](
            graph_id=inputs.graph_id,
            graph_version=inputs.graph_version,
            inputs=inputs.inputs,
            node_input_masks=inputs.nodes_input_masks,
        )
        for name, value in outputs:
            yield name, value


class AutoPilot(Block["AutoPilot.Input"]):
    """Asks the copilot."""

    id = "c069dc6b-c3ed-4c12-b6e5-d47361e64ce6"
    name = "AutoPilot"
    description = "Gives a task to the copilot, with its tools, and waits for its answer."
    categories = frozenset({Category.AI, Category.AGENT})
    type = BlockType.AI
    is_idempotent = True  # begun again, it finds the turn that it started
    timeout_seconds = None  # the copilot's own limit counts

    class Input(Pins):
        """Its input pins."""

        prompt: str = Field(description="What the copilot is to do.")
        system_context: str = Field(default="", description="What it should know besides.")
        session_id: str = Field(default="", description="A conversation to go on with; empty = a new one.")
        max_recursion_depth: int = Field(default=3, ge=1, le=10, description="How deep copilots may ask copilots.")
        tools: list[str] = Field(default=[], description="Tools that it may, or may not, use.")
        tools_exclude: bool = Field(default=True, description="Whether `tools` are those that it may not use.")
        blocks: list[str] = Field(default=[], description="Blocks that it may, or may not, run.")
        blocks_exclude: bool = Field(default=True, description="Whether `blocks` are those that it may not run.")
        dry_run: bool = Field(default=False, description="Whether nothing may be touched or spent.")

    class Output(Pins):
        """Its output pins."""

        response: str = Field(description="The copilot's answer.")
        tool_calls: list[dict[str, Any]] = Field(description="What it did.")
        conversation_history: str = Field(description="The whole conversation, as JSON.")
        session_id: str = Field(description="The conversation, to go on with.")
        token_usage: dict[str, int] = Field(description="Model tokens that it took.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Put out the copilot's answer."""
        ask = context.services.get("ask_copilot")
        if ask is None:
            raise BlockError("There is no copilot in this installation.")
        if not inputs.prompt.strip():
            raise BlockError("The prompt is empty.")
        answer = await ask(
            context,
            prompt=inputs.prompt,
            system_context=inputs.system_context,
            session_id=inputs.session_id,
            max_recursion_depth=inputs.max_recursion_depth,
            dry_run=inputs.dry_run or context.is_dry_run,
            permissions={
                "tools": inputs.tools,
                "tools_exclude": inputs.tools_exclude,
                "blocks": inputs.blocks,
                "blocks_exclude": inputs.blocks_exclude,
            },
        )
        for pin in ("response", "tool_calls", "conversation_history", "session_id", "token_usage"):
            yield pin, answer[pin]
