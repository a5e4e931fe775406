"""What a model call costs that is stopped, or breaks off: never nothing, once, and marked as estimated."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import httpx2
import pytest
import structlog
from django.core.management import call_command

from apps.chat.models import Session, Turn
from apps.chat.turns import metering
from apps.chat.turns import title as title_module
from apps.chat.turns.compaction import BYTES_A_TOKEN
from apps.chat.usage.models import CostEntry, UsageWindow
from apps.engines.catalog import ModelFacts
from tests.chat.clients import new_session, say
from tests.chat.served import broker, eventually, stop, stream_url  # noqa: F401 -- a fixture

#: Dollars a million tokens, which is microdollars a token.
INPUT, OUTPUT = 3, 15
FAST, THINKING = "fast", "extended_thinking"
WORDS = "word " * 20


@pytest.fixture(autouse=True)
def prices(settings, monkeypatch):
    settings.CHAT_MODEL_FACTS = {
        "flightdeck-demo": ModelFacts(thinking=True, input_price=float(INPUT), output_price=float(OUTPUT))
    }
    monkeypatch.setattr("apps.chat.turns.runner.RETRY_SECONDS", (0.01, 0.01, 0.01))


def stop_when(live: Any, session: str, message: str, mode: str, seen: str, **waits: float) -> str:
    """Send a message, press stop once the answer shows something, and return the whole answer."""
    body = {"message": message, "mode": mode}
    with httpx2.stream("POST", stream_url(live, session), headers=live.owner.headers, json=body, timeout=30) as answer:
        lines = answer.iter_lines()
        while seen not in next(lines):
            pass
        time.sleep(waits.get("pause", 0))
        stop(live, session)
        return "".join(lines)


def the_books(turns: int = 1) -> list[CostEntry]:
    """Return all cost entries, once turns, sessions and windows were found to agree with them."""
    entries = list(CostEntry.objects.order_by("created_at", "pk"))
    assert Turn.objects.count() == turns
    spent = sum(entry.microdollars for entry in entries)
    assert [row.used_microdollars for row in UsageWindow.objects.all()] == ([spent] * 2 if spent else [])
    assert sum(turn.cost_microdollars for turn in Turn.objects.all()) == spent
    for name in ("prompt_tokens", "completion_tokens"):
        booked = sum(getattr(entry, name) for entry in entries)
        assert sum(getattr(turn, name) for turn in Turn.objects.all()) == booked
        assert sum(getattr(session, name) for session in Session.objects.all()) == booked
    call_command("reconcile_usage")
    return entries


@pytest.mark.parametrize("mode", [FAST, THINKING])
def test_a_stopped_answer_is_booked_as_far_as_it_came(live, model, mode):
    marker = model.script(f"stopped-{mode}", [{"reasoning": WORDS}, {"text": WORDS}, {"sleep": 60}])

    rest = stop_when(live, new_session(live), marker, mode, "text-delta")

    (entry,) = the_books()
    assert entry.is_estimated
    # 200 bytes came; the beginning may have been all that came before the stop was pressed.
    assert 2 * len(WORDS) // BYTES_A_TOKEN >= entry.completion_tokens >= len(WORDS) // BYTES_A_TOKEN
    if mode == FAST:
        assert entry.microdollars == entry.prompt_tokens * INPUT + entry.completion_tokens * OUTPUT
    assert entry.microdollars > entry.completion_tokens * OUTPUT
    assert '"prompt_tokens":' in rest, "people see the tokens"
    assert "microdollars" not in rest


def test_the_input_is_what_the_provider_told_where_it_did(live, model):
    figures = {"input_tokens": 1234, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
    marker = model.script("told", [{"text": WORDS}, {"usage": figures}, {"sleep": 60}])
    stop_when(live, new_session(live), marker, THINKING, "text-delta")

    (entry,) = the_books()

    assert (entry.prompt_tokens, entry.completion_tokens, entry.is_estimated) == (1234, 25, True)
    assert entry.microdollars == 1234 * INPUT + 25 * OUTPUT


def test_the_input_is_estimated_where_the_provider_told_none(live, model):
    marker = model.script("untold", [{"text": WORDS}, {"sleep": 60}])
    long = "x" * 40_000
    stop_when(live, new_session(live), f"{marker} {long}", FAST, "text-delta")

    (entry,) = the_books()

    assert 10_000 <= entry.prompt_tokens <= 13_000
    assert entry.completion_tokens == 25


@pytest.mark.parametrize("mode", [FAST, THINKING])
def test_stopping_before_the_first_word_costs_the_input(live, model, mode):
    marker = model.script(f"silent-{mode}", [{"sleep": 60}, {"text": "never"}])
    stop_when(live, new_session(live), marker, mode, "start-step", pause=0.5)

    (entry,) = the_books()

    assert entry.is_estimated
    assert entry.completion_tokens == 0
    assert entry.microdollars == entry.prompt_tokens * INPUT > 0


@pytest.mark.parametrize("mode", [FAST, THINKING])
def test_a_broken_answer_is_booked(live, model, mode):
    marker = model.script(f"broken-{mode}", [{"text": WORDS}, {"disconnect": True}])
    say(live, new_session(live), marker, mode=mode)

    (entry,) = the_books()

    assert (entry.is_estimated, entry.completion_tokens) == (True, 25)
    assert entry.microdollars > 25 * OUTPUT
    assert Turn.objects.get().status == "failed"


def test_each_try_is_booked(live, model):
    # The role alone is nothing to show, so that the call is tried again; but the model had begun.
    begun = [{"delta": {"role": "assistant"}}, {"disconnect": True}]
    marker = model.script("tries", begun)
    say(live, new_session(live), marker)

    entries = the_books()

    assert len(entries) == len(model.requests("tries")) == 4
    assert {entry.is_estimated for entry in entries} == {True}
    assert {entry.prompt_tokens for entry in entries} == {entries[0].prompt_tokens}


@pytest.mark.parametrize("mode", [FAST, THINKING])
@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 500}, {"status": 400}, {"disconnect": True}])
def test_a_call_that_never_began_costs_nothing(live, model, mode, fault):
    marker = model.script(f"refused-{mode}-{fault.get('status')}", [fault])
    say(live, new_session(live), marker, mode=mode)

    assert the_books() == []


def test_a_passing_fault_costs_nothing_beside_the_answer(live, model):
    marker = model.script("passing", [{"status": 429, "times": 2}, {"text": "At last."}])
    say(live, new_session(live), marker)

    (entry,) = the_books()

    assert entry.completion_tokens == 2


def test_a_server_that_cannot_be_reached_costs_nothing(live, settings):
    live.turns.process.kind.router._engines["fast"]._server = ("http://127.0.0.1:9/v1", "")
    say(live, new_session(live), "Hello?")

    assert the_books() == []


def test_a_cost_that_was_told_is_no_estimate(live, model):
    report = 'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.5}}\n\n'
    marker = model.script("priced", [{"text": WORDS}, {"raw": report}, {"sleep": 60}])
    stop_when(live, new_session(live), marker, FAST, "text-delta", pause=0.3)

    (entry,) = the_books()

    assert (entry.microdollars, entry.is_estimated, entry.completion_tokens) == (500_000, False, 2)


def test_a_stop_after_the_figures_were_told_estimates_no_tokens(live, model):
    end = 'data: {"choices": [{"index": 0, "delta": {"content": "whole"}, "finish_reason": "stop"}]}\n\n'
    report = 'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\n'
    marker = model.script("ended", [{"raw": end + report}, {"sleep": 60}])
    stop_when(live, new_session(live), marker, FAST, "text-delta", pause=0.3)

    (entry,) = the_books()

    assert (entry.prompt_tokens, entry.completion_tokens) == (9, 2)
    assert entry.microdollars == 9 * INPUT + 2 * OUTPUT


def test_steps_before_the_stop_are_booked_as_they_were_told(live, model):
    usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 10, "cost": 0.001}}
    marker = model.script(
        "second", [{"tool": "todo_write", "arguments": {"todos": []}}, usage], [{"text": WORDS}, {"sleep": 60}]
    )
    stop_when(live, new_session(live), marker, FAST, "text-delta")

    first, second = the_books()

    assert (first.microdollars, first.is_estimated) == (1000, False)
    assert (second.completion_tokens, second.is_estimated) == (25, True)


def test_a_model_that_falls_silent_is_booked(live, model, settings):
    settings.CHAT_TOOL_TIMEOUT_SECONDS = 0.3
    marker = model.script("mute", [{"text": WORDS}, {"sleep": 60}])
    say(live, new_session(live), marker)

    (entry,) = the_books()

    assert (entry.is_estimated, entry.completion_tokens) == (True, 25)


def test_a_worker_that_stops_books_what_it_breaks_off(live, model):
    marker = model.script("handed", [{"text": WORDS}, {"sleep": 60}])
    session = new_session(live)
    with httpx2.stream(
        "POST", stream_url(live, session), headers=live.owner.headers, json={"message": marker}
    ) as answer:
        lines = answer.iter_lines()
        while "text-delta" not in next(lines):
            pass
        live.turns.thread.call(live.turns.worker.shut_down(0.05))
    turn = Turn.objects.get()
    assert turn.status == Turn.QUEUED

    (entry,) = CostEntry.objects.all()

    assert (entry.is_estimated, entry.completion_tokens) == (True, 25)
    assert (turn.cost_microdollars, turn.completion_tokens) == (entry.microdollars, 25)


def test_an_answer_without_figures_is_not_charged_but_logged(live, model, monkeypatch):
    marker = model.script("figureless", [{"text": WORDS}, {"usage": None}])
    with structlog.testing.capture_logs() as logs:
        monkeypatch.setattr(metering, "logger", structlog.get_logger())
        say(live, new_session(live), marker)

    assert [(line["event"], line["log_level"]) for line in logs if "model_call" in line["event"]] == [
        ("model_call_without_usage", "warning")
    ]
    assert the_books() == []


class TestTitles:
    """The cheap model's chores."""

    @pytest.fixture
    def makes_titles(self) -> bool:
        return True

    def test_a_title_that_is_given_up_is_booked(self, live, model, monkeypatch):
        class Slow(metering.MeteredCall):
            async def events(self) -> Any:
                async with aclosing(super().events()) as events:
                    async for event in events:
                        yield event
                        await asyncio.sleep(60)

        monkeypatch.setattr(title_module, "MeteredCall", Slow)
        monkeypatch.setattr(title_module, "TITLE_SECONDS", 2.0)
        say(live, new_session(live), "Plan a party")
        written = len("Plan a party") // BYTES_A_TOKEN
        title = eventually(lambda: CostEntry.objects.filter(completion_tokens=written).first())

        assert title.is_estimated
        assert title.microdollars == title.prompt_tokens * INPUT + written * OUTPUT
