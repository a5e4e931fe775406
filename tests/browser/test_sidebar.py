"""The list of chats: it is alive, and everything in it can be searched, renamed and deleted."""

from __future__ import annotations

import httpx2

from tests.browser.conftest import PHONE
from tests.chat.clients import detail, new_session


def named(live, title):
    session = new_session(live)
    url = f"{live.url}/api/chat/sessions/{session}/title"
    assert httpx2.patch(url, headers=live.owner.headers, json={"title": title}).status_code == 200
    return session


async def test_a_new_chat_appears_in_every_tab(chat_of, model):
    marker = model.script("new", [{"text": "Hi. "}, {"sleep": 1}, {"text": "Bye."}])
    one = await chat_of()
    two = await chat_of()
    await one.ask(f"Trip to Ghent {marker}")
    link = two.page.get_by_role("link", name="Trip to Ghent")
    await link.wait_for()
    await two.page.get_by_role("img", name="Working").wait_for()
    await one.done(1)
    await two.page.get_by_role("img", name="Working").wait_for(state="hidden")
    await link.click()
    await two.done(1)
    assert await two.page.locator("#chat-title").inner_text() == f"Trip to Ghent {marker}"
    assert await two.text() == await one.text()
    await two.page.go_back()
    await two.page.locator("#empty").wait_for()


async def test_search_rename_delete(chat_of, live):
    named(live, "Apples")
    pears = named(live, "Pears")
    chat = await chat_of()
    rows = chat.page.locator(".session-link")
    await chat.page.get_by_role("link", name="Apples").wait_for()
    assert await rows.all_inner_texts() == ["Pears", "Apples"]
    assert await chat.page.get_by_role("heading", name="Today").is_visible()

    await chat.page.get_by_label("Search chats").fill("ppl")
    await chat.page.get_by_role("link", name="Pears").wait_for(state="hidden")
    assert await rows.all_inner_texts() == ["Apples"]
    await chat.page.get_by_label("Search chats").fill("zzz")
    await chat.page.get_by_text("No chat matches “zzz”.").wait_for()
    await chat.page.get_by_label("Search chats").fill("")
    await chat.page.get_by_role("link", name="Pears").wait_for()

    await chat.page.get_by_role("button", name="Options of “Pears”").click()
    await chat.page.get_by_role("menuitem", name="Rename").click()
    await chat.page.get_by_label("Name of the chat").fill("Plums")
    async with chat.page.expect_response("**/title"):
        await chat.page.keyboard.press("Enter")
    assert detail(live, pears)["title"] == "Plums"

    await chat.page.get_by_role("button", name="Options of “Plums”").click()
    await chat.page.get_by_role("menuitem", name="Delete").click()
    assert await rows.all_inner_texts() == ["Apples"]
    await chat.page.get_by_role("button", name="Undo").click()
    assert sorted(await rows.all_inner_texts()) == ["Apples", "Plums"]
    await chat.page.get_by_role("button", name="Options of “Plums”").click()
    await chat.page.get_by_role("menuitem", name="Delete").click()
    await chat.page.reload()  # leaving doesn't forget it
    await rows.first.wait_for()
    assert await rows.all_inner_texts() == ["Apples"]


async def test_what_is_gone_is_said_to_be(chat_of, teammate, live, guard):
    guard.allow("the server responded with a status of 404")
    foreign = new_session(live, teammate)
    chat = await chat_of(session=foreign)
    await chat.page.get_by_role("heading", name="This chat isn't here").wait_for()
    await chat.page.get_by_role("link", name="Start a new chat").click()
    await chat.page.locator("#empty").wait_for()

    own = named(live, "Soon gone")
    chat = await chat_of(session=own)
    url = f"{live.url}/api/chat/sessions/{own}"
    assert httpx2.delete(url, headers=live.owner.headers).status_code == 204  # somewhere else
    await chat.page.get_by_role("heading", name="This chat isn't here").wait_for()
    assert await chat.page.get_by_role("link", name="Soon gone").count() == 0


async def test_the_keyboard_does_everything(chat_of, model, live):
    named(live, "Older chat")
    marker = model.script("keys", [{"reasoning": "Hm."}, {"text": "Done by keys."}])
    chat = await chat_of()
    page = chat.page
    focus = "() => document.activeElement.id || document.activeElement.textContent.trim()"
    assert await page.evaluate(focus) == "message"
    await page.keyboard.type(f"one{marker}")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await page.keyboard.press("Enter")
    await chat.done(1)
    assert await page.locator("#announcer").inner_text() == "The answer is complete."
    assert await page.locator(".bubble").inner_text() == f"one{marker}\ntwo"
    assert await page.evaluate(focus) == "message"

    await page.keyboard.press("Control+k")
    assert await page.evaluate(focus) == "session-search"
    await page.keyboard.type("older")
    await page.locator(f"[data-session='{chat.session}']").wait_for(state="hidden")
    await page.keyboard.press("Tab")
    assert await page.evaluate(focus) == "Older chat"
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate(focus) == "Rename"
    await page.keyboard.press("ArrowDown")
    assert await page.evaluate(focus) == "Delete"
    await page.keyboard.press("Escape")
    assert await page.evaluate("() => document.activeElement.dataset.menu !== undefined")

    await page.keyboard.press("?")
    await page.get_by_role("heading", name="Keyboard shortcuts").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Show reasoning").focus()
    await page.keyboard.press("Enter")
    await page.get_by_text("Hm.").wait_for()
    await page.keyboard.press("/")
    assert await page.evaluate(focus) == "message"
    await page.keyboard.press("Control+Shift+O")
    await page.locator("#empty").wait_for()


async def test_a_phone_has_a_drawer(chat_of, live, model):
    named(live, "On the phone")
    long = f"https://example.com/{'very-long-' * 30} {'x' * 300}"
    table = "| " + " | ".join(f"column {n}" for n in range(9)) + " |\n|" + " --- |" * 9 + "\n"
    marker = model.script("phone", [{"text": f"{long}\n\n```\n{'code ' * 60}\n```\n\n{table}"}])
    chat = await chat_of(viewport=PHONE, has_touch=True)
    page = chat.page
    assert not await page.get_by_role("link", name="On the phone").is_visible()
    await page.get_by_role("button", name="Chats", exact=True).click()
    await page.get_by_role("link", name="On the phone").click()
    await page.locator("#sidebar.is-open").wait_for(state="detached")
    assert await page.locator("#chat-title").inner_text() == "On the phone"
    await chat.ask(f"{marker} {'y' * 200}")
    await chat.done(1)
    wide = """() => document.documentElement.scrollWidth > innerWidth
        || document.querySelector('#scroller').scrollWidth > document.querySelector('#scroller').clientWidth"""
    assert not await page.evaluate(wide)
    await page.get_by_role("button", name="Chats", exact=True).click()
    await page.keyboard.press("Escape")
    await page.locator("#sidebar.is-open").wait_for(state="detached")


async def test_the_theme_follows_the_system_or_the_switch(chat_of):
    ground = "() => getComputedStyle(document.body).backgroundColor"
    chat = await chat_of(color_scheme="dark")
    dark = await chat.page.evaluate(ground)
    await chat.page.locator(".account summary").click()
    await chat.page.get_by_role("button", name="Light").click()
    light = await chat.page.evaluate(ground)
    assert light != dark
    await chat.page.reload()
    assert await chat.page.evaluate(ground) == light
    await chat.page.locator(".account summary").click()
    await chat.page.get_by_role("button", name="Like the system").click()
    assert await chat.page.evaluate(ground) == dark


async def test_escape_closes_one_thing_at_a_time(chat_of):
    chat = await chat_of(viewport=PHONE)
    await chat.page.get_by_role("button", name="Chats", exact=True).click()
    await chat.page.locator(".account summary").click()
    await chat.page.keyboard.press("Escape")
    assert await chat.page.locator(".account").evaluate("(menu) => menu.open") is False
    assert await chat.page.locator("#sidebar.is-open").count() == 1
    await chat.page.keyboard.press("Escape")
    assert await chat.page.locator("#sidebar.is-open").count() == 0
    assert await chat.page.locator("#open-sidebar").evaluate("(button) => button === document.activeElement")


async def test_the_library_is_one_step_away(chat_of):
    chat = await chat_of()
    await chat.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Library").click()
    await chat.page.get_by_role("heading", name="Library", level=1).wait_for()


async def test_notices_are_announced(chat_of, live, guard):
    guard.allow("status of 404")
    session = named(live, "Pears")
    chat = await chat_of()
    await chat.page.get_by_role("button", name="Options of “Pears”").click()
    await chat.page.get_by_role("menuitem", name="Rename").click()
    await chat.page.get_by_label("Name of the chat").fill("Plums")
    await chat.page.route(f"**/{session}/title", lambda route: route.fulfill(status=404, json={"detail": "Gone."}))
    await chat.page.keyboard.press("Enter")
    await chat.page.locator(".toast").wait_for()
    spoken = await chat.page.locator("#announcer").inner_text()
    assert spoken.startswith("The chat wasn't renamed.")
