"""Ask, watch it stream, look into it, reload in the middle, stop."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.browser.conftest import eventually, words

SLOWLY = {"chunk": 8, "delay": 0.03}


async def test_the_text_grows_while_it_is_written(chat_of, model):
    marker = model.script("grow", [{"text": words(90), **SLOWLY}])
    chat = await chat_of()
    await chat.ask(f"Tell me {marker}")
    await chat.until_text("w3 ")
    lengths = []
    for _ in range(5):
        lengths.append(len(await chat.answer.inner_text()))
        await asyncio.sleep(0.15)
    assert lengths == sorted(set(lengths)), "each look finds more text"
    assert await chat.stop.is_visible()
    await chat.done(1)
    assert await chat.answer.inner_text() == words(90)
    assert not await chat.stop.is_visible()
    assert chat.session
    assert await chat.page.title() == f"Tell me {marker} · Flightdeck"


async def test_reasoning_is_closed_until_it_is_opened(chat_of, model):
    marker = model.script("think", [{"reasoning": "I weigh **both** sides."}, {"text": "Yes."}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    button = chat.page.get_by_role("button", name="Show reasoning")
    assert await button.get_attribute("aria-expanded") == "false"
    assert "I weigh" not in await chat.text()
    await button.click()
    assert await chat.page.get_by_role("button", name="Hide reasoning").get_attribute("aria-expanded") == "true"
    assert "I weigh both sides." in await chat.text()
    await chat.page.reload()
    await chat.done(1)
    assert "I weigh" not in await chat.text()


async def test_reasoning_tells_how_long_it_took_live_in_another_tab_and_after_a_reload(chat_of, model):
    marker = model.script("long", [{"reasoning": "x" * 12, "chunk": 1, "delay": 0.1}, {"text": "Yes."}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    shown = chat.page.locator(".reasoning .tool-outcome")
    live = await shown.inner_text()
    assert live in {"1 s", "2 s"}
    other = await chat_of(session=chat.session)
    await other.done(1)
    await chat.page.reload()
    await chat.done(1)
    assert live == await shown.inner_text() == await other.page.locator(".reasoning .tool-outcome").inner_text()


async def test_tools_are_one_row_each(chat_of, model, live):
    todos = [
        {"content": "Pack the bags", "activeForm": "Packing the bags", "status": "completed"},
        {"content": "Book a train", "activeForm": "Booking a train", "status": "in_progress"},
    ]
    marker = model.script(
        "tools",
        [{"tool": "todo_write", "arguments": {"todos": todos}}],
        [{"tool": "web_fetch", "arguments": {"url": f"{live.url}/accounts/login/"}}],
        [{"tool": "web_fetch", "arguments": {"url": "http://127.0.0.1:9/private"}}],
        [{"text": "All looked at."}],
    )
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    rows = chat.page.locator(".tool")
    assert await rows.count() == 3
    plan, read, refused = [rows.nth(number) for number in range(3)]
    assert "Updated the plan" in await plan.inner_text()
    assert "1 of 2 done" in await plan.inner_text()
    assert "Booking a train" in await plan.inner_text()
    assert "Sign in · Flightdeck" in await read.inner_text()
    assert "Couldn't read 127.0.0.1:9" in await refused.inner_text()
    await read.get_by_role("button").click()
    assert "Forgot your password?" in await read.inner_text()
    await refused.get_by_role("button").click()
    assert "http://127.0.0.1:9/private" in await refused.inner_text()
    live_text = await chat.text()
    await chat.page.reload()
    await chat.done(1)
    for row in (read, refused):
        await row.get_by_role("button").click()
    assert await chat.text() == live_text


async def test_markdown_is_shown_and_defused(chat_of, model):
    text = (
        "# Title\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n```python\nprint('hi')\n```\n\n"
        "<img src=x onerror=alert(1)><script>alert(2)</script> [bad](javascript:alert(3)) "
        "![spy](https://evil.example/pixel.png) [good](https://example.com/)\n"
    )
    marker = model.script("markdown", [{"text": text, "chunk": 7, "delay": 0.005}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    assert await chat.answer.locator("table td").all_inner_texts() == ["1", "2"]
    assert await chat.answer.locator("pre code").inner_text() == "print('hi')\n"
    assert await chat.answer.locator("img, script, [onerror]").count() == 0
    links = await chat.answer.locator("a").evaluate_all("(links) => links.map((a) => a.getAttribute('href'))")
    assert "https://example.com/" in links
    assert not any(link and link.startswith("javascript") for link in links)
    await chat.answer.get_by_role("button", name="Copy code").click()
    await chat.answer.locator(".is-copied").wait_for()


async def test_lists_keep_their_numbers_and_tables_their_sides(chat_of, model):
    text = "1. a\n2. b\n\n```\nx\n```\n\n3. c\n\n| n | m |\n| --: | - |\n| 1 | 2 |"
    marker = model.script("numbers", [{"text": text}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    starts = await chat.answer.locator("ol").evaluate_all("(lists) => lists.map((list) => list.start)")
    assert starts == [1, 3]
    side = await chat.answer.locator("td").first.evaluate("(cell) => getComputedStyle(cell).textAlign")
    assert side == "right"


async def test_a_reload_in_the_middle_goes_on(chat_of, model):
    marker = model.script(
        "reload",
        [{"reasoning": words(20), **SLOWLY}, {"text": "First. "}, {"tool": "nap", "raw_arguments": "{bad"}],
        [{"text": words(90), **SLOWLY}],
    )
    steady = await chat_of()
    await steady.ask(marker)
    await steady.until_text("w5 ")
    other = await chat_of(session=steady.session)
    await other.until_text("w15 ")
    for _ in range(3):
        await other.page.reload()
        await other.page.locator(".prose:not(.is-quiet)").first.wait_for()
        await asyncio.sleep(0.25)
    await steady.done(1)
    await other.done(1)
    assert await other.text() == await steady.text()
    assert await steady.answer.last.inner_text() == words(90)
    await steady.page.reload()
    await steady.done(1)
    assert await steady.text() == await other.text()


async def test_two_tabs_show_the_same(chat_of, model):
    marker = model.script("tabs", [{"text": words(60), **SLOWLY}])
    second = model.script("tabs-two", [{"text": words(30), **SLOWLY}])
    one = await chat_of()
    await one.ask(marker)
    await one.until_text("w1 ")
    two = await chat_of(session=one.session)
    await one.done(1)
    await two.done(1)
    await two.ask(second)  # asked in the second tab, seen in the first
    await one.done(2)
    await two.done(2)
    assert await one.text() == await two.text()
    assert (await one.answer.inner_text()) == words(30)


@pytest.mark.parametrize("state", ["silent model", "sleeping tool", "flooding tool"])
async def test_stop_is_seen_within_a_second(chat_of, model, state):
    name = state.replace(" ", "-")
    steps = {
        "silent model": [[{"text": "Wait… "}, {"sleep": 60}]],
        "sleeping tool": [[{"text": "Wait… "}, {"tool": "nap", "arguments": {}}]],
        "flooding tool": [[{"text": "Wait… "}, {"tool": "flood", "arguments": {}}]],
    }[state]
    marker = model.script(name, *steps)
    after = model.script("after", [{"text": "Here I am again."}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.until_text("Wait…" if state == "silent model" else {"sleeping tool": "Nap"}.get(state, "very many"))
    began = time.monotonic()
    await chat.stop.click()
    await chat.until_text("You stopped this answer.")
    assert time.monotonic() - began < 5
    assert "Wait…" in await chat.text()
    if state == "silent model":
        assert await eventually(lambda: model.requests(name)[0]["closed_early"], 1)
    else:
        assert "Stopped" in await chat.page.locator(".tool").inner_text()
    began = time.monotonic()
    await chat.ask(after)
    await chat.until_text("Here I am again.")
    assert time.monotonic() - began < 10
    await chat.done(2)
    text = await chat.text()
    await chat.page.reload()
    await chat.done(2)
    assert await chat.text() == text


async def test_stop_by_keyboard(chat_of, model):
    marker = model.script("keys-stop", [{"sleep": 60}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.stop.wait_for()
    await chat.page.keyboard.press("Control+.")
    await chat.until_text("You stopped this answer.")
    assert await chat.message.evaluate("(box) => box === document.activeElement")


async def test_an_error_offers_a_retry_that_works(chat_of, model):
    marker = model.script(
        "fails", [{"status": 400, "body": {"error": {"message": "no"}}, "times": 1}, {"text": "Now it works."}]
    )
    chat = await chat_of()
    await chat.ask(marker)
    notice = chat.page.locator(".notice.is-error")
    await notice.wait_for()
    text = await chat.text()
    assert "Your message is kept." in text
    await chat.page.reload()
    await notice.wait_for()
    assert await chat.text() == text
    await chat.page.get_by_role("button", name="Retry").click()
    await chat.until_text("Now it works.")
    await chat.done(2)


async def test_an_error_says_that_what_was_written_is_kept(chat_of, model):
    todo = [{"content": "One", "activeForm": "Doing one", "status": "pending"}]
    writes = [{"text": "So far."}, {"tool": "todo_write", "arguments": {"todos": todo}}]
    marker = model.script("breaks", writes, [{"status": 400, "body": {}}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.page.locator(".notice.is-error", has_text="What you see above is kept.").wait_for()
    await chat.page.reload()
    await chat.page.locator(".notice.is-error", has_text="What you see above is kept.").wait_for()
    assert "So far." in await chat.text()


async def test_an_unsent_message_is_kept_as_a_draft(chat_of, model):
    marker = model.script("drafts", [{"text": "Fine."}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    first = chat.session
    await chat.message.fill("half a thought")
    await chat.page.get_by_role("link", name="New chat").click()
    assert await chat.message.input_value() == ""
    await chat.message.fill("another one")
    await chat.page.locator(f"[data-session='{first}']").click()
    await chat.done(1)
    assert await chat.message.input_value() == "half a thought"
    await chat.page.reload()
    await chat.done(1)
    assert await chat.message.input_value() == "half a thought"
