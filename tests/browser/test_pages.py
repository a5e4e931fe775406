"""Sign-in, the pages around the chat, what they weigh, and whether everybody can use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import sign_in

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
FIND = """
async () => (await axe.run(document)).violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`)
"""


async def barriers(page):
    """Return what axe-core finds that keeps people out."""
    # By the debugger: the page's own policy takes no foreign script.
    await page.evaluate(AXE.read_text())
    return await page.evaluate(FIND)


async def test_signing_in(stranger_page, live):
    page = stranger_page
    await page.goto("/settings/tokens")
    await page.wait_for_url("**/accounts/login/**")
    await sign_in(page, live.owner, "not the password")
    message = "The email address and/or password you specified are not correct."
    assert await page.get_by_text(message).is_visible()
    await sign_in(page, live.owner)
    assert page.url == f"{live.url}/settings/tokens"


async def test_only_an_open_house_invites(stranger_page, settings):
    await stranger_page.goto("/accounts/login/")
    assert await stranger_page.get_by_role("link", name="Create an account").count() == 0
    settings.SIGN_UP_OPEN = True
    await stranger_page.reload()
    await stranger_page.get_by_role("link", name="Create an account").click()
    assert await stranger_page.get_by_role("heading", name="Create an account").is_visible()


async def test_tokens(page_of, live):
    page = await page_of(path="/settings/tokens")
    await page.get_by_label("Name").fill("Laptop")
    await page.get_by_role("button", name="Make token").click()
    key = await page.locator("#new-key").inner_text()
    answer = await page.request.get("/api/chat/sessions", headers={"Authorization": f"Token {key}"})
    assert answer.status == 200
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Revoke Laptop").click()
    await page.get_by_text("The token is revoked.").wait_for()
    answer = await page.context.request.get("/api/chat/sessions", headers={"Authorization": f"Token {key}"})
    assert answer.status == 401


async def test_a_person_sets_their_clock(page_of):
    page = await page_of(path="/settings/profile")
    await page.get_by_label("Time zone").select_option("Asia/Kathmandu")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_text("Your profile is saved.").wait_for()
    assert await page.get_by_label("Time zone").input_value() == "Asia/Kathmandu"


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_nobody_is_kept_out(chat_of, page_of, stranger_page, model, guard, theme):
    guard.allow("the server responded with a status of 404")
    await stranger_page.emulate_media(color_scheme=theme)
    await stranger_page.goto("/accounts/login/")
    assert await barriers(stranger_page) == []

    todos = [{"content": "One", "activeForm": "Doing one", "status": "in_progress"}]
    text = (
        "# Title\n\nText with `code` and a [link](https://example.com).\n\n> quote\n\n- [ ] task\n\n"
        "```python\nx = 1\n```\n\n| a |\n| --- |\n| 1 |"
    )
    marker = model.script(
        "look",
        [{"reasoning": "Hm."}, {"tool": "todo_write", "arguments": {"todos": todos}}],
        [{"tool": "web_fetch", "arguments": {"url": "http://127.0.0.1:9/"}}],
        [{"text": text}],
    )
    chat = await chat_of(color_scheme=theme)
    assert await barriers(chat.page) == []
    await chat.ask(marker)
    await chat.done(1)
    for button in await chat.page.locator(".accordion").all():
        await button.click()
    broken = model.script("broken", [{"status": 400, "body": {}}])
    await chat.ask(broken)
    await chat.done(2)
    assert await barriers(chat.page) == []
    for path in ("/settings/profile", "/settings/tokens", "/nowhere"):
        page = await page_of(None, path, color_scheme=theme)
        assert await barriers(page) == [], path


async def test_the_first_load_is_light(page_of):
    page = await page_of()
    await page.locator("#app:not([data-view=loading])").wait_for()
    sizes = await page.evaluate(
        """async () => {
          const names = performance.getEntriesByType("resource").map(({ name }) => name)
            .filter((name) => /\\.(js|css)$/.test(name));
          const packed = await Promise.all(names.map(async (name) => {
            const stream = (await fetch(name)).body.pipeThrough(new CompressionStream("gzip"));
            return (await new Response(stream).arrayBuffer()).byteLength;
          }));
          return packed.reduce((a, b) => a + b, 0);
        }"""
    )
    assert 10_000 < sizes < 150_000


async def test_the_api_documents_itself(page_of):
    page = await page_of(path="/api/docs/")
    await page.get_by_text("/api/chat/sessions", exact=True).first.wait_for()
    page = await page_of(path="/api/chat/sessions")
    await page.locator("text=List your sessions").first.wait_for()


async def test_operators_have_their_pages(page_of, live):
    live.owner.user.is_staff = live.owner.user.is_superuser = True
    await live.owner.user.asave()
    page = await page_of(path="/admin/")
    await page.locator("#content").wait_for()
    await page.get_by_role("link", name="Users").first.click()
    await page.locator("#result_list").wait_for()
