"""Writing while the copilot works: what waits is the same in every tab, and ends where the copilot read it."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import PHONE, eventually
from tests.browser.test_pages import barriers
from tests.chat.clients import detail
from tests.chat.slow_tools import Gate

AT_THE_GATE = [{"text": "I look. "}, {"tool": "gate", "arguments": {}}]


@pytest.fixture(autouse=True)
def _gate(settings, tools):
    settings.CHAT_TOOL_MODULES = ["tests.chat.slow_tools"]
    Gate.opened.clear()
    yield
    Gate.opened.set()


def chips(chat):
    return chat.page.locator(".chip-text")


async def waits(chat, *texts):
    """Wait until exactly these wait, each confirmed by the server."""
    await chat.page.wait_for_function(
        """(texts) => {
          const chips = [...document.querySelectorAll(".chip")];
          return chips.every(({ dataset }) => dataset.state === "waiting")
            && JSON.stringify(chips.map((chip) => chip.querySelector(".chip-text").textContent)) === texts;
        }""",
        arg=json.dumps(list(texts), separators=(",", ":"), ensure_ascii=False),
    )


async def at_the_gate(chat, model, name, *steps):
    """Ask, and wait until a tool of the answer waits."""
    marker = model.script(name, AT_THE_GATE, *(steps or ([{"text": "Both, then."}],)))
    await chat.ask(f"Begin {marker}")
    await chat.until_text("Gate")


async def kinds(chat):
    """Return the shown parts of the last turn in order, by class."""
    return await chat.turns.last.evaluate(
        "(turn) => [...turn.children].map((part) => part.className).filter((name) => /user|tool$|prose/.test(name))"
    )


async def test_follow_ups_become_messages_where_they_were_read(chat_of, model):
    one = await chat_of()
    await at_the_gate(one, model, "steer")
    two = await chat_of(session=one.session)
    await two.until_text("Gate")
    await one.ask("Make it blue")
    await waits(one, "Make it blue")
    await two.ask("And round")
    for chat in (one, two):
        await waits(chat, "Make it blue", "And round")
        assert "Make it blue" not in await chat.text()
        assert await chat.message.input_value() == ""
    await two.page.reload()
    await waits(two, "Make it blue", "And round")
    Gate.opened.set()
    for chat in (one, two):
        await chat.done(1)
        await waits(chat)
        assert await kinds(chat) == ["user", "prose", "tool", "user", "user", "prose"]
        assert await chat.page.locator(".bubble").all_inner_texts() == [
            "Begin [script:steer]",
            "Make it blue",
            "And round",
        ]
    assert model.requests("steer")[1]["body"]["messages"][-1]["content"] == "Make it blue\n\nAnd round"
    text = await one.text()
    assert await two.text() == text
    await one.page.reload()
    await one.done(1)
    assert await one.text() == text
    assert await kinds(one) == ["user", "prose", "tool", "user", "user", "prose"]


async def test_what_waits_at_the_end_begins_the_next_turn(chat_of, model):
    marker = model.script(
        "late",
        [{"text": "One. ", "chunk": 2}, {"sleep": 1.5}, {"text": "Two."}],
        [{"text": "Three."}],
    )
    chat = await chat_of()
    await chat.ask(marker)
    await chat.until_text("One.")
    await chat.ask("More")
    await waits(chat, "More")
    await chat.done(2)
    await waits(chat)
    assert await chat.turns.last.locator(".bubble").inner_text() == "More"
    assert await chat.answer.inner_text() == "Three."
    text = await chat.text()
    await chat.page.reload()
    await chat.done(2)
    assert await chat.text() == text


async def test_waiting_messages_are_edited_moved_and_deleted(chat_of, model):
    chat = await chat_of()
    other = None
    await at_the_gate(chat, model, "edit")
    for text in ("Alpha", "Beta", "Gamma"):
        await chat.ask(text)
    await waits(chat, "Alpha", "Beta", "Gamma")
    other = await chat_of(session=chat.session)
    await waits(other, "Alpha", "Beta", "Gamma")

    page = chat.page
    up = page.get_by_role("button", name="Move up: Gamma")
    await up.focus()
    await page.keyboard.press("Enter")
    await waits(other, "Alpha", "Gamma", "Beta")
    assert await up.evaluate("(button) => button === document.activeElement"), "the focus goes along"
    await page.keyboard.press("Enter")
    await waits(other, "Gamma", "Alpha", "Beta")
    assert await up.get_attribute("aria-disabled") == "true"

    await page.get_by_role("button", name="Edit: Beta").press("Enter")
    await page.get_by_label("Waiting message").fill("Better")
    await page.keyboard.press("Enter")
    await waits(other, "Gamma", "Alpha", "Better")
    await page.get_by_role("button", name="Edit: Better").press("Enter")
    await page.get_by_label("Waiting message").fill("Worse")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Delete: Gamma").press("Enter")
    await waits(other, "Alpha", "Better")
    await waits(chat, "Alpha", "Better")
    focus = "() => document.activeElement.getAttribute('aria-label')"
    assert await page.evaluate(focus) == "Delete: Alpha", "the focus goes to the next one"

    Gate.opened.set()
    await chat.done(1)
    assert (await page.locator(".bubble").all_inner_texts())[1:] == ["Alpha", "Better"]


async def test_a_new_wording_that_comes_too_late_isnt_lost(chat_of, model):
    chat = await chat_of()
    await at_the_gate(chat, model, "too-late")
    await chat.ask("Red")
    await waits(chat, "Red")
    await chat.page.get_by_role("button", name="Edit: Red").click()
    await chat.page.get_by_label("Waiting message").fill("Dark red")
    Gate.opened.set()
    await chat.done(1)
    assert await chat.page.locator(".bubble").nth(1).inner_text() == "Red"
    assert await chat.message.input_value() == "Dark red"
    assert await chat.page.get_by_text("The copilot read this message before you changed it.").is_visible()


async def test_a_stop_keeps_what_waits_for_the_next_message(chat_of, model):
    after = model.script("after-stop", [{"text": "All three."}])
    chat = await chat_of()
    await at_the_gate(chat, model, "halt")
    for text in ("Alpha", "Beta"):
        await chat.ask(text)
    await waits(chat, "Alpha", "Beta")
    await chat.stop.click()
    await chat.until_text("You stopped this answer.")
    await chat.page.get_by_text("They will be sent with your next message.").wait_for()
    await chat.page.reload()
    await waits(chat, "Alpha", "Beta")
    await chat.ask(after)
    await chat.done(2)
    await waits(chat)
    assert await chat.turns.last.locator(".bubble").all_inner_texts() == ["Alpha", "Beta", after]
    assert await chat.answer.inner_text() == "All three."


async def test_one_too_many_comes_back_into_the_box(chat_of, model):
    chat = await chat_of()
    await at_the_gate(chat, model, "full")
    texts = [f"Number {number}" for number in range(10)]
    for text in texts:
        await chat.ask(text)
    await waits(chat, *texts)
    await chat.ask("Number 10")
    await chat.page.get_by_text("Ten messages are waiting already.").wait_for()
    assert await chat.message.input_value() == "Number 10"
    await waits(chat, *texts)


async def test_mode_and_model_are_sent_and_remembered(chat_of, model, live):
    marker = model.script("choices", [{"text": "Chosen."}])
    chat = await chat_of()
    sent = []
    chat.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))  # noqa: PLW0108 -- it is marked
    await chat.page.reload()
    await chat.page.locator("#composer summary").first.press("Enter")
    await chat.page.get_by_role("radio", name="Fast").press("ArrowDown")
    await chat.page.keyboard.press("Escape")
    await chat.page.locator("#composer summary").last.click()
    await chat.page.get_by_text("Advanced").click()
    await chat.page.reload()
    assert await chat.page.locator(".choice-now").all_inner_texts() == ["Extended", "Advanced"]
    await chat.ask(marker)
    await chat.done(1)
    frames = [json.loads(text) for text in sent if isinstance(text, str)]
    said = next(frame for frame in frames if frame["type"] == "message")
    assert (said["mode"], said["model"]) == ("extended_thinking", "advanced")
    assert detail(live, chat.session)["messages"][0]["content"] == marker


async def test_an_enter_before_the_page_is_ready_sends(chat_of, page_of, model):
    marker = model.script("early", [{"text": "Good morning."}])
    held = []
    chat = await chat_of()
    page = chat.page
    await page.route("**/js/copilot*.js", lambda route: held.append(route))  # noqa: PLW0108 -- it is marked
    await page.goto("/copilot/", wait_until="commit")
    await chat.message.wait_for(state="attached")
    await eventually(lambda: held)
    await chat.message.focus()
    await page.keyboard.type(f"Early {marker}")
    await page.keyboard.press("Enter")
    assert await chat.message.input_value() == f"Early {marker}"
    await held[0].continue_()
    await chat.done(1)
    assert await chat.answer.inner_text() == "Good morning."
    assert await page.locator(".bubble").inner_text() == f"Early {marker}"


async def test_text_typed_before_the_page_is_ready_stays(chat_of):
    held = []
    chat = await chat_of()
    await chat.message.fill("A draft.")
    await chat.page.route("**/js/copilot*.js", lambda route: held.append(route))  # noqa: PLW0108 -- it is marked
    await chat.page.goto("/copilot/", wait_until="commit")
    await eventually(lambda: held)
    await chat.message.focus()
    await chat.page.keyboard.type("Typed early.")
    await held[0].continue_()
    await chat.page.locator("#app:not([data-view=loading])").wait_for()
    assert await chat.message.input_value() == "A draft.\n\nTyped early."


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
async def test_nobody_is_kept_out_of_what_waits(chat_of, model, look):
    options = {"viewport": PHONE, "has_touch": True} if look == "phone" else {"color_scheme": look}
    chat = await chat_of(**options)
    await at_the_gate(chat, model, f"look-{look}")
    texts = ["Under 300 euros, please.", f"On Friday{' evening' * 40}\nand not on Saturday", "x" * 300]
    for text in texts:
        await chat.ask(text)
    await waits(chat, *texts)
    assert await barriers(chat.page) == []
    await chat.page.locator("#composer summary").first.click()
    assert await barriers(chat.page) == []
    await chat.page.keyboard.press("Escape")
    await chat.page.get_by_role("button", name="Edit: Under 300").click()
    assert await barriers(chat.page) == []
    wide = "() => document.documentElement.scrollWidth > innerWidth"
    assert not await chat.page.evaluate(wide)
