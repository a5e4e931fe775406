"""The loop of a turn: ask the model, run the tools it calls, ask again."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from apps.chat.agents.agent import Agent
from apps.chat.models import Message
from apps.chat.stream.chunks import ExecutionData
from apps.chat.stream.fold import NO_RESULT, Row, object_text, parse_object
from apps.chat.tools.base import ToolContext
from apps.chat.tools.registry import ToolRegistry, render_result
from apps.chat.turns import attachments
from apps.chat.turns.context import ContextKeeper
from apps.chat.turns.recorder import INTERRUPTED, Recorder, clean
from apps.chat.turns.recovery import TakeUp
from apps.chat.turns.route import Route, Router
from apps.chat.turns.state import StoredCall, TurnState, conversation
from apps.engines import base as engine
from apps.engines.base import EngineError, ModelSilent, StepRequest
from apps.engines.routes import is_anthropic
from apps.runtime.db import db_until_done
from apps.runtime.leases import Replaced
from apps.runtime.worker import Signals

logger = structlog.get_logger(__name__)

STATUS_EVERY_SECONDS = 0.25
#: How long work that was cancelled may take to end before the turn goes on without it.
CANCEL_SECONDS = 0.8
#: Pauses before a failed model call is tried again, give or take a half.
RETRY_SECONDS = (0.5, 1.5, 4.0)
#: So many calls in a row without arguments, all refused: the model is stuck.
MOST_EMPTY_CALLS = 5
CLOSING_LINE = "Done: nothing more to add."
ROUNDS_USED_UP = "I have used all {rounds} tool rounds of this turn, so I stop here. Ask me to go on, and I will."


class Stopped(Exception):
    """A person stopped the turn."""


class HandOver(Exception):
    """The process is stopping; the turn goes back to the queue."""


class NoAnswer(Exception):
    """The model's answer was empty."""


class ModelStuck(EngineError):
    """The model kept calling tools without saying what for, so this turn was ended."""

    code = "empty_tool_calls"


@dataclass(slots=True)
class TurnRunner:
    """One attempt at one turn."""

    turn: TurnState
    router: Router
    route: Route
    agent: Agent
    tools: ToolRegistry
    recorder: Recorder
    signals: Signals
    take_up: TakeUp
    empty_calls: int = 0
    files: attachments.Attachments = field(default_factory=dict)

    async def run(self) -> bool:
        """Work until the turn has ended; returns False when it went back to the queue instead.

        Raises:
            Replaced: When the lease was lost.
        """
        try:
            await interruptible(self.answer(), self.signals)
            await self.recorder.complete()
        except Stopped:
            await self.recorder.stop()
        except HandOver:
            await self.recorder.hand_over()
            return False
        except asyncio.CancelledError:
            # The process ends and waited long enough: whoever takes the turn over goes on after the last whole step.
            await self.recorder.hand_over()
            raise
        except EngineError as error:
            logger.info("turn_failed", code=error.code, status=error.status)
            await self.recorder.fail(error.code, error.detail)
        except NoAnswer:
            await self.recorder.fail("empty_answer", "The model gave no answer. Try again, or ask in other words.")
        except Replaced:
            raise
        except Exception:
            reference = uuid.uuid4().hex[:12]
            logger.exception("turn_broke", reference=reference)
            await self.recorder.fail("internal_error", f"Something went wrong on our side (reference {reference}).")
        return True

    async def answer(self) -> None:
        """Loop over steps until the model calls no more tools."""
        if self.route.notice:
            self.recorder.status(self.route.notice)
        if self.turn.open_rows:
            self.recorder.reopen_step([str(call.id) for call in self.turn.open_calls], self.take_up.replay)
            await self.run_round(self.turn.open_calls)
        while self.recorder.step < settings.CHAT_MAX_TOOL_ROUNDS:
            calls = await self.ask_model()
            if not calls:
                await self.close_silence()
                return
            await self.run_round(calls)
        await self.say(ROUNDS_USED_UP.format(rounds=settings.CHAT_MAX_TOOL_ROUNDS))

    async def run_round(self, calls: Sequence[StoredCall]) -> None:
        """Run a step's calls and finish it.

        Raises:
            HandOver: When the process is stopping: between calls, which are stored as planned, or at the step's end.
        """
        for call in calls:
            self.check_hand_over()
            await self.run_call(call)
        # After the last round nobody would read them in this turn: they start the next one.
        await self.recorder.finish_step(drains=self.recorder.step + 1 < settings.CHAT_MAX_TOOL_ROUNDS)
        self.check_hand_over()

    def check_hand_over(self) -> None:
        """Give the turn back where nothing is under way, when the process is stopping.

        Raises:
            HandOver: To do so.
        """
        if self.signals.hand_over.is_set():
            raise HandOver

    async def ask_model(self) -> list[StoredCall]:
        """Make one model call; returns the tool calls it asked for, stored as planned."""
        rows = await db_until_done(conversation, self.turn.session_id)
        await self.load_files(rows)
        self.recorder.begin_step()
        keeper = ContextKeeper(self.router, self.recorder, self.turn.session_id, self.request)
        await keeper.ask(rows, self.read_patiently)
        calls = await self.recorder.store_model_part()
        return [StoredCall(UUID(call["id"]), call["name"], call["arguments"], started=False) for call in calls]

    def request(self, rows: Sequence[Message]) -> StepRequest:
        """Return the model call that goes on with a conversation."""
        return StepRequest(
            model=self.route.model,
            system=(self.agent.system_prompt,),
            messages=self.route.build_messages(attachments.attach(rows, self.files)),
            tools=self.agent.tools,
        )

    async def load_files(self, rows: Sequence[Message]) -> None:
        """Have the files of a conversation ready for its messages."""
        largest = attachments.LARGEST_FOR_ANTHROPIC if is_anthropic(self.route.model) else attachments.MOST_IMAGE_BYTES
        vision = self.route.facts.vision
        owner = self.turn.user_id
        self.files = await attachments.load(owner, rows, self.files, vision=vision, largest_bytes=largest)

    async def read_patiently(self, request: StepRequest) -> None:
        """Read the model's answer; a passing fault is tried again as long as people have seen nothing of the step.

        Raises:
            EngineError: When it can't be had.
        """
        for pause in (*RETRY_SECONDS, None):
            try:
                await self.read_answer(request)
            except EngineError as error:
                if pause is None or not error.transient or self.recorder.has_spoken:
                    raise
                logger.info("model_retry", code=error.code, status=error.status)
                self.recorder.status("The model is busy; trying again…")
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- jitter, no secret
            else:
                return

    async def read_answer(self, request: StepRequest) -> None:
        """Pass the model's answer on as it comes.

        Raises:
            EngineError: When the call failed, or the model said nothing for twice as long as a tool may take.
        """
        now, silence = asyncio.get_running_loop().time, 2 * settings.CHAT_TOOL_TIMEOUT_SECONDS
        async with aclosing(self.recorder.metered(self.route, request).events()) as events:
            try:
                async with asyncio.timeout(silence) as deadline:
                    prolong_at = now() + silence / 10
                    async for event in events:
                        self.recorder.take(event)
                        # Not at each event: a timer made and dropped costs more than all else that is done here.
                        if now() >= prolong_at:
                            deadline.reschedule(now() + silence)
                            prolong_at = now() + silence / 10
            except TimeoutError:
                raise ModelSilent from None

    async def run_call(self, call: StoredCall) -> None:
        """Run one tool call and store its result."""
        tool = self.tools.get(call.name)
        if call.started and tool is not None and not tool.idempotent:
            reason = f"{INTERRUPTED}: it was cut off; whether it took effect is unknown"
            await self.recorder.end_call(self.row(call, reason, kind=NO_RESULT, is_error=True))
            return
        await self.start_call(call)
        result = await self.tools.call(call.name, call.arguments, self.context(call))
        text, is_error = render_result(result)
        await self.recorder.end_call(self.row(call, object_text(parse_object(clean(text))), is_error=is_error))
        self.watch_for_empty_calls(call, is_error=is_error)

    async def start_call(self, call: StoredCall) -> None:
        """Note that a call is about to run; what took as long as a lease lasts is noted again, for whom it still holds.

        Raises:
            Replaced: When another runner has taken over, as while this process was frozen.
        """
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            await self.recorder.start_call(str(call.id))
            if now() - began < settings.LEASE_SECONDS:
                return

    def watch_for_empty_calls(self, call: StoredCall, *, is_error: bool) -> None:
        """Count refused calls without readable arguments that follow one another.

        Raises:
            ModelStuck: When there were too many.
        """
        arguments = parse_object(call.arguments or "{}")
        is_empty = is_error and (arguments == {} or isinstance(arguments, str))
        self.empty_calls = self.empty_calls + 1 if is_empty else 0
        if self.empty_calls >= MOST_EMPTY_CALLS:
            raise ModelStuck

    def row(self, call: StoredCall, content: str, *, kind: str = "", is_error: bool = False) -> Row:
        """Return the row of a call's result."""
        return Row(
            role="tool",
            step=self.recorder.step + 1,
            kind=kind,
            content=content,
            tool_call_id=str(call.id),
            is_error=is_error,
        )

    def context(self, call: StoredCall) -> ToolContext:
        """Return what a tool may know and do."""
        shown_at = 0.0

        async def progress(message: str) -> None:
            nonlocal shown_at
            await asyncio.sleep(0)  # a tool that floods us with progress must still be stoppable
            if time.monotonic() - shown_at >= STATUS_EVERY_SECONDS:
                shown_at = time.monotonic()
                self.recorder.status(message)

        runs: dict[UUID, tuple[str, float]] = {}

        async def show_run(execution_id: UUID, progress: ExecutionData) -> None:
            await asyncio.sleep(0)
            status, told_at = runs.get(execution_id, ("", 0.0))
            if progress.status != status or time.monotonic() - told_at >= STATUS_EVERY_SECONDS:
                runs[execution_id] = (progress.status, time.monotonic())
                self.recorder.show_run(execution_id, progress)

        return ToolContext(
            user_id=self.turn.user_id,
            session_id=self.turn.session_id,
            turn_id=self.turn.id,
            tool_call_id=call.id,
            dry_run=self.turn.is_dry_run,
            permissions=self.turn.permissions,
            progress=progress,
            show_run=show_run,
        )

    async def close_silence(self) -> None:
        """See to it that a turn doesn't end without a word.

        Raises:
            NoAnswer: When no step came before, so that there is nothing to show at all.
        """
        if self.recorder.text_since_tools:
            return
        if self.recorder.step == 0:
            raise NoAnswer
        await self.recorder.finish_step()
        await self.say(CLOSING_LINE)

    async def say(self, text: str) -> None:
        """Say something ourselves, in a step of its own."""
        self.recorder.begin_step()
        self.recorder.take(engine.TextDelta(text))


async def interruptible(work: Coroutine[Any, Any, None], signals: Signals) -> None:
    """Await work, but no longer than until it is stopped or replaced, whatever it waits for.

    Raises:
        Stopped: When a person stopped it.
        Replaced: When it lost its lease.
    """
    task = asyncio.create_task(work)
    waits = {
        asyncio.create_task(signals.replaced.wait()): Replaced,
        asyncio.create_task(signals.stop.wait()): Stopped,
    }
    try:
        await asyncio.wait({task, *waits}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise next(reason for wait, reason in waits.items() if wait.done())
        await task
    finally:
        for pending in (task, *waits):
            pending.cancel()
        # Work that ignores its cancellation isn't waited for: its writes are fenced.
        await asyncio.wait({task, *waits}, timeout=CANCEL_SECONDS)
        if task.done() and not task.cancelled():
            task.exception()  # looked at: the reason why it ended is ours
