"""Connections that break, and sockets that are refused: no gap, no repeat, and the page says what to do."""

from __future__ import annotations

import asyncio
import time
from socket import SO_SNDBUF, SOL_SOCKET

from apps.accounts.models import User
from apps.chat import consumers, outbox
from tests.browser.conftest import eventually, words

SLOWLY = {"chunk": 8, "delay": 0.04}
CODE_OF = """
(url) => new Promise((resolve) => {
  const socket = new WebSocket(url);
  socket.addEventListener("close", (event) => resolve(event.code));
})
"""
# The page's own socket exists already: it is found by the frame that it sends next.
NOTE_CODES = """
() => {
  window.codes = [];
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (data) {
    if (!this.isNoted) this.addEventListener("close", (event) => codes.push(event.code));
    this.isNoted = true;
    return send.call(this, data);
  };
}
"""


async def test_a_lost_server_comes_back_without_gap_or_repeat(chat_of, model, live, guard):
    guard.allow("WebSocket connection to")
    guard.allow("ERR_CONNECTION_REFUSED")
    marker = model.script("lost", [{"text": words(160), **SLOWLY}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.until_text("w5 ")
    began = time.monotonic()
    await asyncio.to_thread(live.server.stop)
    try:
        await chat.connection.get_by_text("Reconnecting…").wait_for()
        assert time.monotonic() - began > 1.9, "short breaks aren't worth a notice"
    finally:
        await asyncio.to_thread(live.server.start)
    await chat.connection.wait_for(state="hidden")
    await chat.done(1, 15000)
    assert await chat.answer.inner_text() == words(160)
    text = await chat.text()
    await chat.page.reload()
    await chat.done(1)
    assert await chat.text() == text


async def test_a_message_written_while_offline_is_sent_later(chat_of, model, live, guard):
    guard.allow("WebSocket connection to")
    guard.allow("ERR_CONNECTION_REFUSED")
    first = model.script("first", [{"text": "One."}])
    second = model.script("second", [{"text": "Two."}])
    chat = await chat_of()
    await chat.ask(first)
    await chat.done(1)
    await asyncio.to_thread(live.server.stop)
    try:
        await chat.ask(second)
        await chat.page.get_by_text("Sending…").wait_for()
    finally:
        await asyncio.to_thread(live.server.start)
    await chat.until_text("Two.")
    await chat.done(2)
    assert (await chat.text()).count("[script:second]") == 1
    assert len(model.requests("second")) == 1


async def test_signing_out_in_one_tab_ends_the_others(chat_of, page_of, live):
    one = await chat_of()
    two = await chat_of()
    plain = await page_of(path="/settings/tokens")
    await plain.evaluate(f"(url) => {{ window.code = ({CODE_OF})(url) }}", live.ws_url)
    await eventually(lambda: sockets_of(live.owner.user) == 3)
    await one.page.locator(".account summary").click()
    async with two.page.expect_navigation(url="**/accounts/login/**"):
        await one.page.get_by_role("button", name="Sign out").click()
    assert "next=%2Fcopilot%2F" in two.page.url
    assert await plain.evaluate("code") == 4401
    await one.page.wait_for_url("**/accounts/login/**")


async def test_a_page_of_another_origin_is_told_why(page_of, stranger_page, live, model, guard):
    guard.allow("another host")
    page = await page_of()  # signed in: the origin alone is wrong
    await page.goto(f"{model.url}/healthz")
    assert await page.evaluate(CODE_OF, live.ws_url) == 4403
    await stranger_page.goto("/accounts/login/")
    assert await stranger_page.evaluate(CODE_OF, live.ws_url) == 4401


async def test_too_many_tabs_are_told_so(chat_of, live, settings):
    settings.SOCKETS_PER_USER = 1
    one = await chat_of()
    await eventually(lambda: sockets_of(live.owner.user))
    two = await chat_of()
    await two.connection.get_by_text("Flightdeck is open in too many tabs. Close some of them.").wait_for()
    assert await two.page.evaluate(CODE_OF, live.ws_url) == 4429
    assert not await one.connection.is_visible()


def sockets_of(user: User) -> int:
    from apps.chat.live import live as live_part

    return live_part().sockets.get(user.pk, 0)


async def test_a_page_that_does_not_read_resumes(chat_of, model, live, monkeypatch, request):
    monkeypatch.setattr(outbox, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(outbox, "MOST_QUEUED_BYTES", 50_000)
    listener = live.server.server.servers[0].sockets[0]
    listener.setsockopt(SOL_SOCKET, SO_SNDBUF, 8192)  # what the server's kernel takes off its hands
    request.addfinalizer(lambda: listener.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 20))
    paragraphs = [f"p{number} {words(400)}" for number in range(1000)]
    first, rest = "\n\n".join(paragraphs[:5]), "\n\n".join(["", *paragraphs[5:]])
    # The page is busy by the time that most is said, on a slow machine too.
    marker = model.script("heavy", [{"text": first}, {"sleep": 2}, {"text": rest, "chunk": 20_000, "delay": 0.02}])
    chat = await chat_of()
    await chat.page.evaluate(NOTE_CODES)
    await chat.ask(marker)
    await chat.until_text("p3 ")
    await chat.page.evaluate("() => { const end = performance.now() + 7000; while (performance.now() < end); }")
    await chat.done(1, 30_000)
    assert await chat.page.evaluate("codes") == [consumers.TOO_SLOW]
    assert await chat.answer.evaluate("(answer) => [...answer.children].map((p) => p.textContent)") == paragraphs
