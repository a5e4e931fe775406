"""Spend limits at every door: what is refused, what it says, and that nothing of it is stored."""

from __future__ import annotations

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
from django.utils import timezone

from apps.accounts.models import User
from apps.chat.errors import SpendLimitReached
from apps.chat.models import Message, PendingMessage, Session, Turn
from apps.chat.turns.rows import Write, commit
from apps.chat.turns.start import Queued, Started, start_turn
from apps.chat.usage import resets, windows
from apps.chat.usage.costs import ModelCall
from apps.chat.usage.limits import usage_of
from apps.chat.usage.models import CostEntry
from apps.engines.base import Usage
from apps.engines.catalog import UNKNOWN
from apps.runtime.db import db
from tests.billing.crowds import at_once
from tests.chat.clients import new_session, say, socket_of, text_of
from tests.chat.served import broker  # noqa: F401 -- a fixture
from tests.chat.usage_tools import pay

DAY = 1_000_000


def cost_of(microdollars: int) -> ModelCall:
    usage = Usage(prompt_tokens=1, cost_microdollars=microdollars)
    return ModelCall(provider="demo", model="demo", usage=usage, facts=UNKNOWN, cache_ttl="5m")


def begin(session: Session, message: str = "Hello") -> Started | Queued:
    return start_turn(session=session, message=message)


def finish(session: Session, microdollars: int) -> None:
    """Run a session's turn to its end, for so much money."""
    turn = Turn.objects.in_flight().get(session=session)
    claim = Turn.objects.claim(turn.pk, runner="r", lease_seconds=60)
    assert claim is not None
    commit(claim, 1, session.pk, Write(model_calls=[cost_of(microdollars)], ended="completed"))


def send(live: Any, session: str) -> httpx2.Response:
    url = f"{live.url}/api/chat/sessions/{session}/stream"
    return httpx2.post(url, headers=live.owner.headers, json={"message": "Hello"}, timeout=30)


@pytest.mark.parametrize(("spent", "window"), [(DAY, "daily"), (5 * DAY, "weekly")])
def test_over_http_a_used_up_limit_is_429_and_says_when_to_come_again(live, spent, window):
    session = new_session(live)
    pay(live.owner, spent)

    answer = send(live, session)

    ends = windows.resets_at(window, timezone.now())
    body = {"detail": "You have reached your usage limit.", "code": "rate_limited", "window": window}
    assert answer.status_code == 429
    assert answer.json() == {**body, "resets_at": ends.isoformat()}
    wait = timedelta(seconds=int(answer.headers["Retry-After"]))
    assert timedelta(0) <= wait - (ends - timezone.now()) < timedelta(seconds=30)
    assert not Message.objects.exists()
    assert not Turn.objects.exists()


def test_another_tier_lets_through_at_once(live, teammate):
    User.objects.filter(pk=teammate.user.pk).update(is_staff=True)
    session = new_session(live)
    pay(live.owner, DAY)
    assert send(live, session).status_code == 429

    tier = {"user_id": str(live.owner.user.pk), "tier": "PRO"}
    assert teammate.client.post("/api/admin/users/rate-limit/tier", tier, format="json").status_code == 200

    assert text_of([chunk for _, chunk in say(live, session, "Hello")][:-1])


async def test_over_a_websocket_the_error_carries_the_same(live):
    session = await db(new_session, live)
    await db(pay, live.owner, DAY)
    client_id = str(uuid.uuid4())
    async with socket_of(live) as socket:
        await socket.send(type="message", session_id=session, message="Hello", client_message_id=client_id)
        frame = await socket.until("error")

    assert frame == {
        "type": "error",
        "detail": "You have reached your usage limit.",
        "code": "rate_limited",
        "window": "daily",
        "resets_at": windows.resets_at("daily", timezone.now()).isoformat(),
        "client_message_id": client_id,
    }
    assert not await db(Message.objects.exists)


@pytest.mark.django_db
def test_what_waits_when_the_limit_is_reached_goes_on_waiting(owner):
    session = Session.objects.create(user=owner.user)
    begin(session, "First")
    pay(owner, DAY)
    assert isinstance(begin(session, "Second"), Queued), "a turn in flight takes messages whatever was spent"

    finish(session, 1)

    assert not Turn.objects.in_flight().exists()
    assert [item.content for item in PendingMessage.objects.all()] == ["Second"]
    with pytest.raises(SpendLimitReached):
        begin(session, "Third")
    assert [item.content for item in PendingMessage.objects.all()] == ["Second"]
    resets.clear(user_id=owner.user.pk, reset_weekly=False, operator_id=owner.user.pk)
    assert isinstance(begin(session, "Third"), Started)
    said = Message.objects.filter(session=session, role="user").order_by("sequence")
    assert list(said.values_list("content", flat=True)) == ["First", "Second", "Third"]
    assert not PendingMessage.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(120)
def test_100_turns_at_once_overshoot_by_their_own_cost_and_no_more(owner):
    pay(owner, DAY - 1)
    sessions = [Session.objects.create(user=owner.user) for _ in range(100)]

    def each(do: Any, part: int) -> list[Any]:
        return [do(session) for session in sessions[part::10]]

    started = at_once([partial(each, begin, part) for part in range(10)])
    assert [len(some) for some in started] == [10] * 10, "all of them begin below the limit"
    ended = at_once([partial(each, partial(finish, microdollars=7), part) for part in range(10)])
    assert ended == [[None] * 10] * 10

    assert CostEntry.objects.count() == 101
    used = windows.used(owner.user.pk, timezone.now())
    assert used == {"daily": DAY - 1 + 700, "weekly": DAY - 1 + 700}
    assert usage_of(owner.user.pk)["daily"]["percent_used"] == 100.0
    with pytest.raises(SpendLimitReached):
        begin(Session.objects.create(user=owner.user))
