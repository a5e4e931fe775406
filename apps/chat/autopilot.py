"""The copilot as a block of agents asks it: a turn like any other, waited for."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction

from apps.chat import services
from apps.chat.models import Message, PendingMessage, Session, Turn
from apps.chat.tools.permissions import Permissions, names_of_block
from apps.chat.tools.registry import default_registry
from apps.chat.turns.cheap import ask_cheap
from apps.chat.turns.metering import MeteredCall
from apps.chat.turns.route import Route, Router
from apps.chat.turns.start import Started, start_turn
from apps.chat.turns.stop import request_stop
from apps.engines.base import StepRequest
from apps.library import services as library
from apps.library.blocks.base import BlockContext
from apps.library.errors import BlockError
from apps.runtime.db import db
from apps.runtime.errors import DomainError, NotFound

#: A turn that the block waits for may take so long; the time limit of nodes doesn't count.
LONGEST_SECONDS = 6 * 3600.0
LOOK_SECONDS = 1.0
#: Where a turn's permissions tell the node run that it was started for.
ASKED_BY = "asked_by"
LONGEST_MESSAGE = 64_000
DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Asked:
    """The turn that answers, in its session; `is_own` says that it was started for this, and is this one's to stop."""

    session_id: UUID
    turn_id: UUID
    is_own: bool


async def ask_copilot(
    context: BlockContext,
    *,
    prompt: str,
    system_context: str = "",
    session_id: str = "",
    max_recursion_depth: int = 3,
    dry_run: bool = False,
    permissions: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Have the copilot answer, and wait for it; in a session with a turn in flight, the turn that reads it answers.

    Begun again for the same node run, it finds the turn that it started. When the run that asks is stopped, or has
    waited too long, so is a turn that it started; from somebody else's, its message is taken back.

    Args:
        context: The node run that asks.
        prompt: What the copilot is to do.
        system_context: What it should know besides.
        session_id: A conversation of the same person to go on with; empty makes a new one.
        max_recursion_depth: How deep copilots may ask copilots.
        dry_run: Whether nothing may be touched or spent.
        permissions: What the turn may use: `tools`, `tools_exclude`, `blocks`, `blocks_exclude`.

    Returns:
        `response`, `tool_calls`, `conversation_history`, `session_id`, `token_usage`.

    Raises:
        BlockError: When it can't be asked, fails, is stopped or takes too long; it names the session.
    """
    message = f"[System Context: {system_context}]\n\n{prompt}" if system_context else prompt
    if len(message) > LONGEST_MESSAGE:
        raise BlockError(f"The prompt is longer than {LONGEST_MESSAGE} characters.")
    asked = await db(
        ask,
        context,
        message=message,
        session_id=session_id,
        max_recursion_depth=max_recursion_depth,
        dry_run=dry_run,
        permissions=permissions or {},
    )
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await until_over(asked.turn_id)
            if not asked.is_own:  # it may have ended before it read the message, which then began the next one
                asked = await db(reader_of, context, asked)
                await until_over(asked.turn_id)
    except TimeoutError:
        await db(give_up, context, asked)
        raise BlockError(f"The copilot took longer than 6 hours (session {asked.session_id}).") from None
    except asyncio.CancelledError:
        await asyncio.shield(db(give_up_if_unwanted, context, asked))
        raise
    return await db(answer_of, asked)


def ask(
    context: BlockContext,
    *,
    message: str,
    session_id: str,
    max_recursion_depth: int,
    dry_run: bool,
    permissions: dict[str, Any],
) -> Asked:
    """Start the turn that answers a node run, or find the one that does.

    Raises:
        BlockError: When there can't be one.
    """
    mine = Message.objects.filter(client_message_id=context.node_execution_id, session__user=context.user_id)
    me = str(context.node_execution_id)
    if (earlier := mine.exclude(turn=None).select_related("turn").first()) is not None:
        assert earlier.turn is not None
        return Asked(earlier.session_id, earlier.turn.pk, (earlier.turn.permissions or {}).get(ASKED_BY) == me)
    check_names(permissions)
    depth = library.autopilot_depth(context.execution_id) + 1
    if depth > max_recursion_depth:
        raise BlockError(f"Copilots ask copilots at most {max_recursion_depth} deep{_named(session_id)}.")
    try:
        with transaction.atomic():
            session = _session(context.user_id, session_id, dry_run=dry_run)
            begun = start_turn(
                session=session,
                message=message,
                client_message_id=context.node_execution_id,
                origin=Turn.Origin.AUTOPILOT_BLOCK,
                permissions={**permissions, "autopilot_depth": depth, ASKED_BY: me},
            )
            if isinstance(begun, Started):
                return Asked(session.pk, begun.turn_id, is_own=True)
            return Asked(session.pk, riding_on(session, permissions), is_own=False)
    except DomainError as error:
        reason = f"{error.detail} ({error.code})"  # agents tell a used-up limit from others by its code
        raise BlockError(f"The copilot can't be asked{_named(session_id)}: {reason}") from error


def check_names(permissions: dict[str, Any]) -> None:
    """Refuse permissions that name what isn't there: a typing error must not let more through.

    Raises:
        BlockError: Naming it.
    """
    asked = Permissions.of(permissions)
    if unknown := sorted(asked.tools - tool_names()):
        raise BlockError(f"The copilot has no tool {', '.join(unknown)}. It has {', '.join(sorted(tool_names()))}.")
    known = {called for block_id, name in library.block_names().items() for called in names_of_block(block_id, name)}
    if unknown := sorted(asked.blocks - known):
        raise BlockError(f"There is no block {', '.join(unknown)}.")


def tool_names() -> frozenset[str]:
    """Return the names of all tools that the copilot may have here."""
    return default_registry(extra_modules=settings.CHAT_TOOL_MODULES).names


def riding_on(session: Session, permissions: dict[str, Any]) -> UUID:
    """Return the turn in flight, which will read the message that waits for it.

    Raises:
        BlockError: When it may use more than is asked for, or has ended without reading the message.
    """
    turn = Turn.objects.in_flight().filter(session=session).first()
    if turn is None:
        raise BlockError(f"The copilot gave no answer (session {session.pk}): the turn that was to read this failed.")
    asked, its = Permissions.of(permissions), Permissions.of(turn.permissions)
    if not its.is_within(asked, tools=tool_names(), blocks=library.block_names()):
        raise BlockError(f"The conversation is busy, with a copilot that may use more (session {session.pk}).")
    return turn.pk


def _session(user_id: UUID, session_id: str, *, dry_run: bool) -> Session:
    if not session_id:
        return services.create_session(user=get_user_model().objects.get(pk=user_id), dry_run=dry_run)
    try:
        found = Session.objects.filter(pk=UUID(session_id), user=user_id).first()
    except ValueError:
        found = None
    if found is None:
        raise BlockError(f"There is no conversation {session_id[:64]}.")
    if dry_run and not found.is_dry_run:
        raise BlockError(f"The conversation {found.pk} isn't a dry run, so a dry run can't go on with it.")
    return found


def _named(session_id: str) -> str:
    return f" (session {session_id[:64]})" if session_id else ""


async def until_over(turn_id: UUID) -> None:
    """Wait until a turn has ended, by its row: the turn may run in any process."""
    while not await db(has_ended, turn_id):  # noqa: ASYNC110 -- nothing in this process hears of it
        await asyncio.sleep(LOOK_SECONDS)


def has_ended(turn_id: UUID) -> bool:
    """Return whether a turn has ended or is gone."""
    return not Turn.objects.in_flight().filter(pk=turn_id).exists()


def reader_of(context: BlockContext, asked: Asked) -> Asked:
    """Return the turn that read the message of a node run, where that isn't the one that it waited for."""
    mine = Message.objects.filter(client_message_id=context.node_execution_id, session=asked.session_id)
    turn_id = mine.values_list("turn_id", flat=True).first()
    return asked if turn_id is None else Asked(asked.session_id, turn_id, is_own=False)


@transaction.atomic
def give_up(context: BlockContext, asked: Asked) -> None:
    """Stop a turn that nobody waits for any more, or take back the message that waits for somebody else's."""
    if asked.is_own:
        request_stop(asked.turn_id)
        return
    waiting = PendingMessage.objects.select_related("session__user")
    mine = waiting.filter(session=asked.session_id, client_message_id=context.node_execution_id).first()
    if mine is not None:
        with suppress(NotFound):  # it was read this very moment
            services.delete_pending(user=mine.session.user, session_id=asked.session_id, item_id=mine.pk)


def give_up_if_unwanted(context: BlockContext, asked: Asked) -> None:
    """Give up when the run that asked is to stop; one that only changes its runner finds the turn again."""
    if library.is_to_stop(context.execution_id):
        give_up(context, asked)


def answer_of(asked: Asked) -> dict[str, Any]:
    """Return what a turn said and did.

    Raises:
        BlockError: When it didn't complete.
    """
    turn = Turn.objects.filter(pk=asked.turn_id).first()
    if turn is None:
        raise BlockError(f"The conversation {asked.session_id} is gone.")
    if turn.status != Turn.Status.COMPLETED:
        why = turn.error or "It was stopped."
        raise BlockError(f"The copilot gave no answer (session {asked.session_id}): {why}")
    rows = list(Message.objects.filter(session=asked.session_id).order_by("sequence"))
    mine = [row for row in rows if row.turn_id == asked.turn_id]
    said = [row.content for row in mine if row.role == Message.Role.ASSISTANT and row.content]
    prompt = turn.prompt_tokens + turn.cache_read_tokens + turn.cache_creation_tokens
    return {
        "response": said[-1] if said else "",
        "tool_calls": calls_of(mine),
        "conversation_history": json.dumps(history_of(rows), ensure_ascii=False),
        "session_id": str(asked.session_id),
        "token_usage": {
            "prompt_tokens": prompt,
            "completion_tokens": turn.completion_tokens,
            "total_tokens": prompt + turn.completion_tokens,
        },
    }


def calls_of(rows: list[Message]) -> list[dict[str, Any]]:
    """Return the tool calls of a turn with their results."""
    results = {str(row.tool_call_id): row for row in rows if row.tool_call_id is not None}
    found = []
    for row in rows:
        for call in row.tool_calls or ():
            result = results.get(str(call["id"]))
            found.append(
                {
                    "tool_call_id": str(call["id"]),
                    "tool_name": call["name"],
                    "input": call["arguments"],
                    "output": result.content if result is not None else None,
                    "success": result is not None and not result.is_error,
                }
            )
    return found


def history_of(rows: list[Message]) -> list[dict[str, str]]:
    """Return what was said in a conversation."""
    kept = {Message.Role.USER, Message.Role.ASSISTANT}
    return [{"role": row.role, "content": row.content} for row in rows if row.role in kept and row.content]


async def ask_cheap_model(*, system: str, text: str) -> str | None:
    """Return what the cheap model answers; None when no real model is configured.

    Raises:
        EngineError: When it can't be asked.
    """
    router = Router()
    if router.cheap().provider == DEMO:
        return None
    return await ask_cheap(router, system, text, not_booked)


def not_booked(route: Route, request: StepRequest) -> MeteredCall:
    """Return a model call that nobody pays for: dry runs cost nothing."""
    return MeteredCall(route, request, lambda call: None)
