"""Titles: made beside the first turn, pushed to every tab, and never in anybody's way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import pytest

from apps.chat import process
from apps.chat.models import Session, Turn
from apps.chat.turns import title as title_module
from apps.chat.turns.start import first_title
from apps.chat.turns.title import MOST_KEPT, name_session, tidy, title_prompt
from apps.chat.usage.models import CostEntry
from apps.engines.base import BrokenStream
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, say, socket_of, text_of
from tests.chat.served import broker, eventually  # noqa: F401 -- a fixture

LONG = "Please help me to plan a birthday party for my grandmother who turns ninety in June"
MADE = "Please help me to plan a"  # the demo model's: the first six words


@pytest.fixture
def makes_titles() -> bool:
    return True


def title_requests(model: Any) -> list[Any]:
    return [r["body"] for r in model.requests() if r["body"]["messages"][0]["content"] == title_prompt()]


def rename(live: Any, session: str, title: str) -> None:
    address = f"{live.url}/api/chat/sessions/{session}/title"
    assert httpx2.patch(address, headers=live.owner.headers, json={"title": title}).status_code == 200


class HeldTitles:
    """Lets the cheap model answer only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        real = title_module.ask_cheap

        async def ask(*args: Any) -> Any:
            self.asked.set()
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
            return await real(*args)

        monkeypatch.setattr(title_module, "ask_cheap", ask)


async def test_a_title_is_made_and_pushed_to_every_tab(live, model):
    session = await db(new_session, live)
    async with socket_of(live) as one, socket_of(live) as other:
        await one.say(session, LONG)
        for tab in (one, other):
            assert (await tab.until("session", session_id=session, title=MADE))["title"] == MADE

    (asked,) = title_requests(model)
    assert asked["messages"][1:] == [{"role": "user", "content": LONG}]
    assert "tools" not in asked


def test_a_title_is_made_for_the_first_message_only(live, model):
    session = new_session(live)
    say(live, session, LONG)
    eventually(lambda: detail(live, session)["title"] == MADE)
    rename(live, session, first_title(LONG))
    say(live, session, LONG)
    assert len(title_requests(model)) == 1
    assert detail(live, session)["title"] == first_title(LONG)


def test_a_title_uses_no_step_of_a_script_up(live, model):
    marker = model.script("named", [{"text": "one"}], [{"text": "two"}])
    session = new_session(live)
    assert text_of([chunk for _, chunk in say(live, session, f"{marker} Sell my old bike")][:-1]) == "one"
    eventually(lambda: detail(live, session)["title"] == "Sell my old bike")
    assert len(model.requests("named")) == 1


def test_a_turn_doesnt_wait_for_its_title(live, monkeypatch):
    held = HeldTitles(monkeypatch)
    session = new_session(live)
    say(live, session, LONG)
    assert held.asked.wait(5)
    assert detail(live, session)["active_stream"] is None
    assert detail(live, session)["title"] == first_title(LONG)
    held.go_on.set()
    eventually(lambda: detail(live, session)["title"] == MADE)


def test_a_title_that_a_person_gave_meanwhile_stays(live, model, monkeypatch):
    held = HeldTitles(monkeypatch)
    booked = threading.Event()
    monkeypatch.setattr(title_module, "book_title", lambda turn, call: booked.set())
    session = new_session(live)
    say(live, session, LONG)
    assert held.asked.wait(5)
    rename(live, session, "Granny")
    held.go_on.set()
    assert booked.wait(5)
    assert detail(live, session)["title"] == "Granny"


def test_a_session_with_a_name_isnt_named(live, model):
    session = new_session(live)
    rename(live, session, "Mine")
    say(live, session, LONG)
    eventually(lambda: not process.start()[1]._titles._tasks)
    assert title_requests(model) == []
    assert detail(live, session)["title"] == "Mine"


@pytest.mark.parametrize("failure", [BrokenStream(), RuntimeError("a bug"), TimeoutError()])
def test_whatever_fails_leaves_the_beginning_of_the_message(live, monkeypatch, failure):
    failed = threading.Event()

    async def ask(*args: Any) -> Any:
        failed.set()
        raise failure

    monkeypatch.setattr(title_module, "ask_cheap", ask)
    session = new_session(live)
    frames = say(live, session, LONG)
    assert frames[-2][1] == {"type": "finish"}
    assert failed.wait(5)
    assert detail(live, session)["title"] == first_title(LONG)
    assert say(live, session, "And now?")[-2][1] == {"type": "finish"}


def test_a_model_that_stays_silent_is_given_up(live, monkeypatch):
    given_up = threading.Event()

    async def ask(*args: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            given_up.set()

    monkeypatch.setattr(title_module, "ask_cheap", ask)
    monkeypatch.setattr(title_module, "TITLE_SECONDS", 0.05)
    say(live, new_session(live), LONG)
    assert given_up.wait(5)


def test_a_title_under_way_is_given_up_at_shutdown(live, monkeypatch):
    held = HeldTitles(monkeypatch)
    say(live, new_session(live), LONG)
    assert held.asked.wait(5)
    process.stop(1)
    assert not [thread for thread in threading.enumerate() if thread.name == "turns"]


def test_what_a_title_used_is_booked(live):
    session = new_session(live)
    say(live, session, LONG)
    eventually(lambda: CostEntry.objects.filter(session=session).count() == 3)  # two steps and the title
    turn = Turn.objects.get(session=session)
    assert {entry.turn_id for entry in CostEntry.objects.filter(user=live.owner.user)} == {turn.pk}
    assert all(entry.prompt_tokens > 0 for entry in CostEntry.objects.all())


@pytest.mark.django_db(transaction=True)
def test_only_the_automatic_title_is_replaced(owner):
    session = Session.objects.create(user=owner.user, title="Automatic")
    name_session(session.pk, "Other", "Made")
    session.refresh_from_db()
    assert session.title == "Automatic"
    name_session(session.pk, "Automatic", "Made")
    session.refresh_from_db()
    assert session.title == "Made"


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Plums in June", "Plums in June"),
        ('"Plums in June."', "Plums in June"),
        ("Title: Plums", "Plums"),
        ("## **Plums**\n\nand more", "Plums"),
        ("\n\n  Two   spaces \n", "Two spaces"),
        ("Nul\x00 and \ud800lone", "Nul and �lone"),
        ("", ""),
        ('""', ""),
        ("x" * 200, "x" * (MOST_KEPT - 1) + "…"),
    ],
)
def test_answers_are_tidied(answer, title):
    assert tidy(answer) == title
