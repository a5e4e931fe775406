"""One node run: its inputs, what its block may do, its time limit, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol
from uuid import UUID

import structlog
from pydantic import BaseModel

from apps.library.blocks.base import ERROR_PIN, Block, BlockContext, Cost, Pins
from apps.library.errors import BlockError
from apps.library.executor import costs, simulate
from apps.library.executor.inputs import fit, gather
from apps.library.executor.load import RunFacts
from apps.library.executor.secrets import choose, open_secrets
from apps.library.executor.state import NodeRun
from apps.library.executor.values import size_of, storable, storable_text
from apps.library.models.executions import Status
from apps.runtime.errors import PaymentRequired
from apps.runtime.worker import DatabaseAway

logger = structlog.get_logger(__name__)

#: After so many values in a row others get their turn.
VALUES_A_TURN = 50
LONGEST_ERROR = 4000
LONGEST_PIN = 300  # what a row holds; agents name their outputs as they like
#: Services that wait for others' work: meanwhile the node, and a run of which all nodes wait, keep no place, and the
#: node's time doesn't run.
LONG = frozenset({"run_agent", "ask_copilot", "run_tool_node", "tool_nodes_run"})


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided: whether they approved, the data that they approved, and what they said."""

    approved: bool
    data: Any
    message: str = ""


class WaitsForPerson(Exception):
    """This node run goes on when a person has decided."""

    def __init__(self, payload: Any, instructions: str, *, is_editable: bool) -> None:
        """Keep what is asked."""
        super().__init__()
        self.payload = payload
        self.instructions = instructions
        self.is_editable = is_editable


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a node run ended.

    Attributes:
        status: COMPLETED, FAILED, TERMINATED, or REVIEW when it waits for a person.
        error: Of a failure.
        question: What a person is asked.
        stats: What is kept of it.
        seconds: How long it ran.
        microdollars: What it cost.
        fatal: Code and sentence, when the whole run must fail.
    """

    status: str
    error: str = ""
    question: WaitsForPerson | None = None
    stats: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    microdollars: int = 0
    fatal: tuple[str, str] | None = None


class Runner(Protocol):
    """What a node run needs of the run that it belongs to."""

    facts: RunFacts

    async def stored(self) -> None:
        """Wait until everything up to now is committed."""

    async def room(self) -> None:
        """Wait while too much is uncommitted."""

    def put_out(self, run: NodeRun, pin: str, value: Any) -> None:
        """Hand a value on."""

    def decision(self, run: NodeRun) -> Decision | None:
        """Return what a person decided of this node run or, once and for all, of its node."""

    def services(self, run: NodeRun) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """Return what this runner offers to the block."""

    async def reserve(self, run: NodeRun, microdollars: int) -> None:
        """Hold credits for what a node run costs for certain; raises PaymentRequired."""


class NodeWork:
    """Drives one node run from its inputs to its end."""

    def __init__(self, runner: Runner, run: NodeRun) -> None:
        """Make it; `drive` does the work."""
        self._runner = runner
        self._run = run
        self._block: Block[Any] = run.node.block
        self._context: BlockContext | None = None
        self._cost: Cost | None = None
        self._began = 0.0
        self._limit: asyncio.Timeout | None = None
        self._size = 0
        self._put_out = 0

    async def drive(self) -> End:
        """Run the block and hand its values on.

        Returns:
            How it ended.

        Raises:
            CancelledError: When it was cancelled; `end_of(TERMINATED)` tells what it cost.
        """
        try:
            return await self._work()
        except (BlockError, ValueError) as error:
            return self.end_of(Status.FAILED, str(error) or type(error).__name__)
        except WaitsForPerson as question:
            return End(status=Status.REVIEW, question=question)
        except PaymentRequired as error:
            return End(status=Status.FAILED, error=error.detail, fatal=(error.code, error.detail))
        except DatabaseAway:
            sentence = "The database could not be reached."
            return self.end_of(Status.FAILED, sentence, fatal=("infrastructure", sentence))
        except Exception as error:
            logger.exception("block_broke", block_id=self._block.id)
            return self.end_of(Status.FAILED, f"Something went wrong inside the block ({type(error).__name__}).")

    def end_of(self, status: str, error: str = "", *, fatal: tuple[str, str] | None = None) -> End:
        """Return an end with what was counted until now."""
        seconds = time.monotonic() - self._began if self._began else 0.0
        stats: dict[str, Any] = {"seconds": round(seconds, 3)} if self._began else {}
        microdollars = 0
        if self._context is not None:
            counted = self._context.stats
            usage = counted.usage
            figures = {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "model_calls": counted.model_calls,
                "retries": counted.retries,
                "items": counted.items,
            }
            stats |= {name: figure for name, figure in figures.items() if figure}
            was_of_use = status != Status.TERMINATED or self._put_out > 0
            if self._cost is not None and self._began and was_of_use:
                microdollars = costs.cost_of(self._cost, counted, seconds=seconds, size=self._size)
                stats["cost_microdollars"] = microdollars
        return End(
            status=status,
            error=storable_text(error)[:LONGEST_ERROR],
            stats=stats,
            seconds=seconds,
            microdollars=microdollars,
            fatal=fatal,
        )

    async def _work(self) -> End:
        facts, node = self._runner.facts, self._run.node
        values = gather(node, self._run.inputs)
        self._context = self._make_context()
        if facts.is_dry_run:
            values = simulate.without_credentials(self._block, values)
            if not simulate.runs_for_real(self._block, values):
                async with aclosing(simulate.play(node, values, self._context)) as played:
                    return await self._stream(played)
            inputs = simulate.fit_dry(self._block, values)
        else:
            chosen = choose(facts.credential_inputs, node, values)
            if chosen is None:
                return self.end_of(Status.COMPLETED)
            inputs = fit(self._block.Input, with_credentials(self._block, values, chosen))
            inputs = self._approved(inputs)
            self._context.secrets = await open_secrets(facts.user_id, node, chosen)
            await self._check_cost(inputs)
        if not self._block.is_idempotent:
            await self._runner.stored()
        async with aclosing(self._block.run(inputs, self._context)) as outputs:
            return await self._stream(outputs, inputs)

    def _make_context(self) -> BlockContext:
        facts = self._runner.facts
        services = {
            name: self._out_of_its_time(service) if name in LONG else service
            for name, service in self._runner.services(self._run).items()
        }
        return BlockContext(
            user_id=facts.user_id,
            graph_id=facts.graph_id,
            graph_version=facts.graph_version,
            execution_id=facts.id,
            root_execution_id=facts.root_id,
            node_id=self._run.node.id,
            node_execution_id=self._run.id,
            depth=facts.depth,
            is_dry_run=facts.is_dry_run,
            time_zone=facts.time_zone,
            safe_mode=facts.safe_mode,
            sensitive_safe_mode=facts.sensitive_safe_mode,
            services={**services, "ask_person": self._ask_person},
        )

    def _out_of_its_time(self, service: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return a service while which the node's time limit stands still: what it waits for has limits of its own."""

        async def wait(*args: Any, **kwargs: Any) -> Any:
            limit, now = self._limit, asyncio.get_running_loop().time
            if limit is None or (deadline := limit.when()) is None:
                return await service(*args, **kwargs)
            left = deadline - now()
            limit.reschedule(None)
            try:
                return await service(*args, **kwargs)
            finally:
                limit.reschedule(now() + left)

        return wait

    def _approved(self, inputs: Pins) -> Pins:
        """Return a sensitive block's inputs once a person has approved them, as they left them.

        Raises:
            WaitsForPerson: When nobody has decided yet.
            BlockError: When it was rejected.
        """
        if not (self._block.is_sensitive_action and self._runner.facts.sensitive_safe_mode):
            return inputs
        hidden = self._block.credentials_inputs()
        payload = {
            name: value for name, value in inputs.model_dump(mode="json", by_alias=True).items() if name not in hidden
        }
        decision = self._runner.decision(self._run)
        if decision is None:
            self._wait_for_person(payload, f"“{self._run.node.name}” is about to run.", is_editable=True)
        if not decision.approved:
            raise BlockError(f"A person rejected this. {decision.message}".strip())
        if not isinstance(decision.data, dict):
            return inputs
        kept = inputs.model_dump(by_alias=True)
        return fit(
            self._block.Input, {**kept, **{name: decision.data[name] for name in payload if name in decision.data}}
        )

    async def _ask_person(self, *, payload: Any, instructions: str = "", is_editable: bool = True) -> Decision:
        """Return what a person decided; the block is begun anew when they have.

        Raises:
            WaitsForPerson: When nobody has decided yet; the block lets it through.
        """
        decision = self._runner.decision(self._run)
        if decision is None:
            self._wait_for_person(payload, instructions, is_editable=is_editable)
        return decision if decision.data is not None else Decision(decision.approved, payload, decision.message)

    def _wait_for_person(self, payload: Any, instructions: str, *, is_editable: bool) -> NoReturn:
        raise WaitsForPerson(storable(payload), storable_text(instructions), is_editable=is_editable)

    async def _check_cost(self, inputs: BaseModel) -> None:
        """Note what this use costs, and refuse it when that can't be paid.

        Raises:
            PaymentRequired: When credits or caps forbid it.
        """
        given = inputs.model_dump(by_alias=True) if self._block.costs else {}
        self._cost = costs.fitting_cost(self._block, given)
        if self._cost is None:
            return
        await self._runner.reserve(self._run, costs.known_before(self._cost))

    async def _stream(self, outputs: AsyncGenerator[tuple[str, Any]], inputs: BaseModel | None = None) -> End:
        """Hand values on until there are no more, within the block's time."""
        if self._cost is not None and inputs is not None:
            self._size = size_of(inputs.model_dump(mode="json"))
        self._began = time.monotonic()
        limit = self._limit = asyncio.timeout(self._block.timeout_seconds)
        try:
            async with limit:
                async for pin, value in outputs:
                    await self._take(pin, value)
        except TimeoutError:
            if not limit.expired():
                raise
            raise BlockError(f"It took longer than {self._block.timeout_seconds:g} seconds.") from None
        return self.end_of(Status.COMPLETED)

    async def _take(self, pin: str, value: Any) -> None:
        value = storable(value)
        if pin == ERROR_PIN:
            raise BlockError(str(value))
        pin = storable_text(pin)
        if len(pin) > LONGEST_PIN:
            raise BlockError(f"The name of an output has more than {LONGEST_PIN} characters.")
        self._put_out += 1
        if self._cost is not None:
            self._size += size_of(value)
        self._runner.put_out(self._run, pin, value)
        if self._put_out % VALUES_A_TURN == 0:
            await asyncio.sleep(0)
        await self._runner.room()


def with_credentials(block: Block[Any], values: Mapping[str, Any], chosen: Mapping[str, UUID]) -> dict[str, Any]:
    """Return a block's input values with the credentials that were chosen."""
    kept = {name: value for name, value in values.items() if name not in block.credentials_inputs()}
    return {**kept, **{name: {"id": str(credential_id)} for name, credential_id in chosen.items()}}
