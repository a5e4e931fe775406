"""Files: attached to messages in every way, seen after a reload, and listed on their own page."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from apps.runtime.db import db
from apps.workspace import services
from apps.workspace.models import File
from apps.workspace.services import Wish
from tests.browser.conftest import PHONE, eventually
from tests.browser.test_pages import barriers
from tests.workspace.conftest import folder  # noqa: F401 -- a storage of its own, for every test


def png(red: int, size: int = 64) -> bytes:
    """Return a picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!L", len(data)) + kind + data + struct.pack("!L", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + bytes([red, 90, 120]) * size) * size)
    header = struct.pack("!LLBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def given(name: str, kind: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": kind, "buffer": content}


DROP = """([selector, event, name, kind, data]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type: kind }));
  const made = event === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(made);
}"""


async def hand_over(page, event, name, kind, content):
    """Paste or drop a file."""
    data = base64.b64encode(content).decode()
    await page.evaluate(DROP, ["#message", event, name, kind, data])


def attached(page):
    return page.locator("#attachments .attachment[data-state=ready]")


def live_files():
    return sorted(File.objects.live().values_list("name", flat=True))


@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
async def test_files_go_with_a_message_and_are_there_after_a_reload(chat_of, model, tmp_path, viewport):
    marker = model.script("files", [{"text": "Seen them all."}])
    chat = await chat_of(**({"viewport": viewport} if viewport else {}))
    page = chat.page
    await page.locator("#attach-input").set_input_files(
        [given("notes.txt", "text/plain", b"hello"), given("a.png", "image/png", png(200))]
    )
    await hand_over(page, "paste", "image.png", "image/png", png(40))
    await hand_over(page, "drop", "image.png", "image/png", png(120))
    await eventually(lambda: is_count(attached(page), 4))
    assert await page.get_by_role("list", name="Files for this message").locator("img").count() == 3
    assert await barriers(page) == []
    await page.screenshot(path=str(tmp_path / "composer.png"))
    await page.get_by_role("button", name="Remove notes.txt").press("Enter")
    await eventually(lambda: is_count(attached(page), 3))
    assert await eventually(lambda: db(lambda: live_files() == ["a.png", "image (2).png", "image.png"]))

    await chat.ask(f"Look {marker}")
    await chat.done(1)
    assert await page.locator("#attachments").is_hidden()
    for _ in range(2):
        mine = chat.turns.last.get_by_role("list", name="Attached files")
        await mine.locator("img").nth(2).wait_for()
        await page.wait_for_function(
            "() => [...document.querySelectorAll('.user img')].every((image) => image.naturalWidth)"
        )
        assert await mine.locator("img").first.get_attribute("alt") == "a.png"
        assert await barriers(page) == []
        await page.screenshot(path=str(tmp_path / "message.png"))
        await page.reload()
        await chat.done(1)
    read = model.requests("files")[0]["body"]["messages"][-1]["content"]
    assert read.count("image/png") == 3


async def is_count(locator, count):
    return await locator.count() == count


async def test_a_file_that_is_refused_says_why(chat_of, settings, guard):
    settings.WORKSPACE_QUOTA_BYTES = 100
    settings.WORKSPACE_FILE_LIMIT_BYTES = 1000
    guard.allow("the server responded with a status of 413")
    chat = await chat_of()
    page = chat.page
    choose = page.locator("#attach-input").set_input_files
    await choose([given("huge.bin", "", b"x" * 1001)])
    await page.get_by_text("huge.bin is too large: a file may have 1000 B.").wait_for()
    await choose([given("large.bin", "", b"x" * 101)])
    await page.get_by_text("large.bin wasn’t attached. Your workspace has no room for this file").wait_for()
    assert await page.locator("#attachments").is_hidden()
    await chat.message.fill("Still here")
    await choose([given("small.txt", "text/plain", b"x")])
    await eventually(lambda: is_count(attached(page), 1))
    assert await chat.message.input_value() == "Still here"


async def test_an_answer_links_to_files_of_the_workspace(chat_of, model, live):
    user_id = live.owner.user.pk
    table = await db(services.store_file, Wish(user_id=user_id, path="/table.csv"), [b"a,b"])
    picture = await db(services.store_file, Wish(user_id=user_id, path="/chart.png"), [png(10)])
    text = f"Here: [table](workspace://{table.pk}#text/csv)\n\n![chart](workspace://{picture.pk}#image/png)"
    marker = model.script("share", [{"text": text}])
    chat = await chat_of()
    await chat.ask(marker)
    await chat.done(1)
    link = chat.answer.get_by_role("link", name="table")
    assert await link.get_attribute("href") == f"/api/workspace/files/{table.pk}/download"
    await chat.page.wait_for_function("() => document.querySelector('.own-image img')?.naturalWidth === 64")
    assert await barriers(chat.page) == []


@pytest.mark.parametrize("script", [True, False], ids=["with scripts", "without scripts"])
async def test_the_page_of_files(page_of, live, tmp_path, script):
    user_id = live.owner.user.pk
    await db(services.store_file, Wish(user_id=user_id, path="/chart.png"), [png(10)])
    page = await page_of(path="/workspace/", **({} if script else {"java_script_enabled": False}))
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_label("File", exact=True).set_input_files([given("notes.txt", "text/plain", b"hello")])
    await page.get_by_role("button", name="Upload").click()
    await page.get_by_text("notes.txt is in your workspace.").wait_for()
    await page.screenshot(path=str(tmp_path / "files.png"), full_page=True)
    if script:
        assert await barriers(page) == []
    answer = await page.request.get(str(await page.get_by_role("link", name="notes.txt").get_attribute("href")))
    assert await answer.body() == b"hello"
    await page.get_by_role("button", name="Delete notes.txt").click()
    await page.get_by_text("notes.txt is deleted.").wait_for()
    assert await db(live_files) == ["chart.png"]
