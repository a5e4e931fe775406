"""Keeps requests within what a model can read: earlier messages are summarised when the room gets short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from uuid import UUID

import structlog
from django.conf import settings

from apps.chat.models import Message
from apps.chat.turns.cheap import ask_cheap
from apps.chat.turns.compaction import BYTES_A_TOKEN, Plan, plan, request_tokens, transcript_parts
from apps.chat.turns.history import PROMPTS
from apps.chat.turns.recorder import Recorder, clean
from apps.chat.turns.route import Router
from apps.chat.turns.state import conversation
from apps.engines.base import BrokenStream, ContextTooLong, EngineError, ModelSilent, StepRequest
from apps.engines.catalog import facts
from apps.runtime.db import db_until_done

logger = structlog.get_logger(__name__)

#: The steps that stay at least, at the first target size and after each time that it was halved.
KEPT_STEPS = (4, 2, 1, 0)
#: How much of a model's context is used before room is made.
FULL = 0.8
#: What is left for the answer, in tokens, but never more than an eighth of the context.
ANSWER_ROOM = 8_192
#: The smallest target and the shortest summary worth having, in bytes.
LEAST_TARGET = 1_000
LEAST_SUMMARY = 200
SUMMARY_SECONDS = 120.0
STATUS = "Compacting earlier messages"


@cache
def summary_prompt() -> str:
    """Return what the cheap model is told to do."""
    return (PROMPTS / "summary.md").read_text(encoding="utf-8").strip()


def room_tokens(model: str) -> int:
    """Return how long a request to a model may be before room is made."""
    context = facts(model, settings.CHAT_MODEL_FACTS).context_tokens
    return int(context * FULL) - min(ANSWER_ROOM, context // 8)


@dataclass(slots=True)
class ContextKeeper:
    """Asks one step's model, and makes room before or when the conversation is too long for it.

    Attributes:
        router: Knows the cheap model.
        recorder: Stores summaries and shows what is done.
        session_id: Whose conversation it is.
        build: Makes the request of the rows that models are given.
    """

    router: Router
    recorder: Recorder
    session_id: UUID
    build: Callable[[Sequence[Message]], StepRequest]

    async def ask(self, rows: Sequence[Message], read: Callable[[StepRequest], Awaitable[None]]) -> None:
        """Read the model's answer to a conversation.

        Args:
            rows: What models are given, as `conversation` returns it.
            read: Reads the answer to a request.

        Raises:
            EngineError: When it can't be had; `ContextTooLong` when making room didn't help.
        """
        request = self.build(rows)
        room = room_tokens(request.model)
        refusal: ContextTooLong | None = None  # of the request as it is
        was_refused = False
        for halvings, keep_steps in enumerate(KEPT_STEPS):
            if refusal is None and request_tokens(request) <= room:
                try:
                    await read(request)
                    return
                except ContextTooLong as error:
                    if self.recorder.has_spoken:
                        raise
                    refusal, was_refused = error, True
                    room = min(room, request_tokens(request))
            try:
                shorter = await self._compact(rows, request, keep_steps, room, halvings)
            except ContextTooLong:
                continue  # the summariser had too much to read
            except EngineError as error:
                if was_refused:
                    raise
                logger.info("not_summarised", code=error.code)
                break  # the model may yet take it as it is
            if shorter is not None:
                rows, request, refusal = shorter, self.build(shorter), None
        if refusal is not None:
            raise refusal
        await read(request)

    async def _compact(
        self, rows: Sequence[Message], request: StepRequest, keep_steps: int, room: int, halvings: int
    ) -> Sequence[Message] | None:
        """Summarise earlier rows; returns what models are given then, or None when there was nothing to summarise.

        Raises:
            EngineError: When the cheap model can't be asked.
        """
        spoken_for = request_tokens(replace(request, messages=()))
        target = max((room - spoken_for) * BYTES_A_TOKEN >> halvings, LEAST_TARGET)
        found = plan(rows, keep_steps=keep_steps, keep_bytes=target // 2)
        if found is None:
            return None
        self.recorder.status(STATUS)
        cheap = max(room_tokens(self.router.cheap().model) * BYTES_A_TOKEN >> halvings, LEAST_TARGET)
        text = await self._summarise(found, min(target, cheap))
        await self.recorder.store_summary(text, through=found.through, kept=found.kept)
        logger.info("summarised", rows=len(found.rows), halvings=halvings)
        return await db_until_done(conversation, self.session_id)

    async def _summarise(self, found: Plan, most: int) -> str:
        """Return a summary; where there is more than the cheap model reads at once, each part adds to the last one.

        Raises:
            EngineError: When the cheap model can't be asked, or says nothing.
        """
        longest = max(most // 8, LEAST_SUMMARY)
        summary = ""
        for part in transcript_parts(found.rows, most - longest):
            text = f"[Earlier summary]\n{summary}\n\n{part}" if summary else part
            try:
                async with asyncio.timeout(SUMMARY_SECONDS):
                    answer = await ask_cheap(self.router, summary_prompt(), text, self.recorder.metered)
            except TimeoutError:
                raise ModelSilent from None
            summary = clean(answer)[:longest].strip()
            if not summary:
                raise BrokenStream
        return summary
