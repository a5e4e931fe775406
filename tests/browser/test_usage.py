"""What people see of their limits: percents, when they reset, and what a reset costs."""

from __future__ import annotations

from apps.billing.services import grant
from apps.runtime.db import db
from tests.browser.test_pages import barriers
from tests.chat.usage_tools import pay


async def test_a_limit_that_comes_near_is_shown(chat_of, model, live):
    await db(pay, live.owner, 842_000)
    chat = await chat_of()
    page = chat.page
    await page.get_by_text("84\u00a0% of today’s allowance is used.").wait_for()
    await page.locator(".account summary").click()
    assert await page.get_by_role("meter", name="Today").get_attribute("aria-valuenow") == "84.2"
    assert await page.get_by_role("meter", name="This week").get_attribute("aria-valuetext") == "17\u00a0% used"
    assert await barriers(page) == []
    await page.keyboard.press("Escape")
    await db(pay, live.owner, 100_000)
    await chat.ask(model.script("cheap", [{"text": "Done."}]))
    await chat.done(1)
    await page.get_by_text("94\u00a0% of today’s allowance is used.").wait_for()


async def test_a_used_up_day_gives_the_text_back_and_can_be_bought_anew(chat_of, model, live, settings):
    settings.CHAT_USAGE_RESET_COST_CENTS = 500
    marker = model.script("again", [{"text": "Here I am."}])
    chat = await chat_of()
    page = chat.page
    await db(pay, live.owner, 1_000_000)
    await chat.ask(marker)
    await page.locator("#composer-notice").get_by_text("Today’s allowance is used up. It resets").wait_for()
    assert await chat.message.input_value() == marker
    await page.get_by_role("button", name="Reset for 500 credits").click()
    dialog = page.get_by_role("dialog")
    assert "500 credits" in await dialog.inner_text()
    assert await barriers(page) == []
    await db(grant, user_id=live.owner.user.pk, amount_cents=700, key="for a reset")
    await dialog.get_by_role("button", name="Pay and reset").click()
    await page.get_by_role("region", name="Notices").get_by_text("It cost 500 credits; 200 credits left.").wait_for()
    assert not await page.locator("#usage-banner").is_visible()
    await chat.message.press("Enter")
    await chat.until_text("Here I am.")


async def test_a_reset_that_cannot_be_paid_says_so(chat_of, live, settings, guard):
    guard.allow("the server responded with a status of 402")
    settings.CHAT_USAGE_RESET_COST_CENTS = 500
    await db(pay, live.owner, 1_000_000)
    chat = await chat_of()
    await chat.page.get_by_role("button", name="Reset for 500 credits").click()
    dialog = chat.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Pay and reset").click()
    await dialog.get_by_role("alert").wait_for()
    assert "credits" in await dialog.get_by_role("alert").inner_text()
    await dialog.get_by_role("button", name="Cancel").click()
    assert await chat.page.locator("#usage-banner").is_visible()
