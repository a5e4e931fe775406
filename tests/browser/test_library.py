"""The pages of the library in a real browser, on a desk and on a phone: whole, usable by everybody, and live."""

from __future__ import annotations

from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async

from apps.library.models import Execution, Review
from apps.library.models.executions import Status
from tests.browser.conftest import eventually
from tests.browser.test_pages import barriers
from tests.library.pages import world

PHONE = {"width": 375, "height": 740}
LOOKS = {
    "desk": {"color_scheme": "light"},
    "desk in the dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
    "phone in the dark": {"viewport": PHONE, "color_scheme": "dark"},
}
# What a run put out has headings of its own.
HEADINGS = "main :is(h1,h2,h3,h4):not(.is-rendered *)"
LEVELS = f"[...document.querySelectorAll('{HEADINGS}')].map((heading) => +heading.tagName[1])"
BORDER = "(field) => getComputedStyle(field).borderTopColor"
OUTPUTS = [
    "## Title\n\n- one\n- **two**",
    [{"name": "Ada", "age": 36}],
    {"deep": {"list": [1, 2]}},
    "https://example.com/page",
    "<img src=x onerror=alert(1)>",
]


def in_thread(function):
    """Rows are written on a thread: the test's own runs the browser."""
    return sync_to_async(function, thread_sensitive=False)


@in_thread
def fill(owner):
    """A library with something on every page."""
    agent = world.add_agent(owner, world.every_input_file())
    run = world.add_run(agent)
    world.put_out(world.add_use(run, 10), *OUTPUTS)
    asking = world.add_run(agent, Status.REVIEW)
    world.add_review(asking, {"subject": "Notice"})
    world.add_schedule(agent)
    world.add_preset(agent)
    world.add_folder(owner)
    return {
        "/library/": None,
        f"/library/agents/{agent.pk}/": None,
        f"/library/agents/{agent.pk}/run": None,
        f"/library/executions/{run.pk}/": None,
        f"/library/executions/{asking.pk}/": None,
        "/library/executions/": None,
        "/library/schedules/": None,
        "/library/reviews/": None,
        "/library/credentials/": None,
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("look", LOOKS)
async def test_nobody_is_kept_out_of_the_library(page_of, live, look):
    for path in await fill(live.owner):
        page = await page_of(None, path, **LOOKS[look])
        assert await barriers(page) == [], path
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        levels = await page.evaluate(LEVELS)
        assert levels[0] == 1, path
        assert all(after <= before + 1 for before, after in pairwise(levels)), (path, levels)
        await page.close()


async def test_menus_of_the_library_fit_a_phone(page_of, guard):
    guard.allow("status of 400")  # the file is refused
    page = await page_of(path="/library/", viewport=PHONE)
    for opener, field in (("Import an agent", "Agent file (JSON)"), ("New folder", "Name of the folder")):
        await page.locator("summary", has_text=opener).click()
        sheet = page.locator("details[open] .menu-sheet")
        box = await sheet.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        assert await page.get_by_label(field).is_visible()
        await page.keyboard.press("Escape")
        assert await sheet.count() == 0
    await page.locator("summary", has_text="New folder").click()
    await page.get_by_label("Name of the folder").fill("W" * 100)
    await page.get_by_role("button", name="Make folder").click()
    await page.get_by_role("link", name="W" * 100).first.wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.locator("summary", has_text="Import an agent").click()
    file = {"name": "x.json", "mimeType": "application/json", "buffer": b'{"links": 3}'}
    await page.get_by_label("Agent file (JSON)").set_input_files(file)
    await page.get_by_role("button", name="Import", exact=True).click()
    await page.get_by_text("This file can't be imported.").click()  # nothing lies over what is wrong with it


async def test_an_empty_library_is_filled_and_run(page_of, live, guard):
    guard.allow("status of 400")  # the form is refused once
    page = await page_of(path="/library/")
    await page.get_by_role("button", name="Load examples").click()
    await page.get_by_text("10 examples are in your library").wait_for()
    await page.get_by_role("link", name="Run Compare two texts").click()
    await page.get_by_role("button", name="Run", exact=True).click()
    await page.get_by_text("Nothing was started yet.").wait_for()
    first = page.get_by_label("First text", exact=True)
    assert await first.get_attribute("aria-invalid") == "true"
    other = page.get_by_label("Name of the preset")
    assert await first.evaluate(BORDER) != await other.evaluate(BORDER)
    await page.get_by_label("First text", exact=True).fill("three short words")
    await page.get_by_label("Second text", exact=True).fill("and four short words")
    await page.get_by_role("button", name="Run", exact=True).click()
    await page.wait_for_url("**/library/executions/*/")
    assert await Execution.objects.aget(user=live.owner.user)


async def test_a_run_is_followed_while_it_lasts(page_of, live):
    agent = await in_thread(world.add_agent)(live.owner)
    run = await in_thread(world.add_run)(agent, Status.RUNNING)
    page = await page_of(path=f"/library/executions/{run.pk}/")
    box = page.locator(".box").nth(1)
    await page.locator(".run-head .status", has_text="Running").wait_for()

    @in_thread
    def go_on():
        world.put_out(world.add_use(run, 1), "**done** and dusted")
        Execution.objects.filter(pk=run.pk).update(status=Status.COMPLETED, lease_expires_at=None)

    await go_on()
    await page.locator(".run-head .status", has_text="Completed").wait_for(timeout=15000)
    await page.locator(".outputs strong", has_text="done").wait_for()
    assert await box.get_attribute("data-status") == "COMPLETED"
    assert await page.locator("#announcer").inner_text() == "The run is completed."
    await page.reload()
    await page.locator(".outputs strong", has_text="done").wait_for()


async def test_what_is_typed_stays_while_the_run_goes_on(page_of, live):
    agent = await in_thread(world.add_agent)(live.owner)
    run = await in_thread(world.add_run)(agent, Status.RUNNING)
    review = await in_thread(world.add_review)(run, {"word": "today"})
    page = await page_of(path=f"/library/executions/{run.pk}/")
    field = page.get_by_label("What it is about; you may change it")
    await field.fill('{"word": "Monday"}')
    await in_thread(world.add_use)(run, 1)
    await page.locator(".nodes .status", has_text="Completed").wait_for(timeout=15000)
    assert await field.input_value() == '{"word": "Monday"}'
    await page.get_by_role("button", name="Approve").click()
    await page.get_by_text("Approved. The run goes on.").wait_for()
    decided = await Review.objects.aget(pk=review.pk)
    assert (decided.status, decided.reviewed_data) == (Review.Status.APPROVED, {"word": "Monday"})


async def test_outputs_are_laid_out_like_answers(page_of, live):
    agent = await in_thread(world.add_agent)(live.owner)
    run = await in_thread(world.add_run)(agent)
    use = await in_thread(world.add_use)(run, 1)
    text = "| name | what |\n| --- | --- |\n| everybody | everything |\n\n```sh\nmake run\n```"
    await in_thread(world.put_out)(use, text)
    page = await page_of(path=f"/library/executions/{run.pk}/", viewport=PHONE)
    head = page.locator(".outputs th").first
    assert await head.evaluate("(cell) => getComputedStyle(cell).textAlign") == "left"
    copy = page.get_by_role("button", name="Copy code")
    await copy.click()
    await page.locator(".copy.is-copied").wait_for()
    assert await page.locator("#announcer").inner_text() == "Copied"


async def test_a_run_tells_of_failed_steps(page_of, live):
    agent = await in_thread(world.add_agent)(live.owner)
    run = await in_thread(world.add_run)(agent)
    await Execution.objects.filter(pk=run.pk).aupdate(node_error_count=1)
    page = await page_of(path="/library/executions/")
    assert await page.locator(".runs").get_by_text("1 step failed").is_visible()
    await page.locator(".runs a").first.click()
    await page.get_by_text("It gave nothing back, as a step failed").wait_for()


async def test_outputs_can_not_harm(page_of, live):
    agent = await in_thread(world.add_agent)(live.owner)
    run = await in_thread(world.add_run)(agent)
    use = await in_thread(world.add_use)(run, 1)
    await in_thread(world.put_out)(use, "# Hm\n\n<img src=x onerror=alert(1)> [a](javascript:alert(1))", *OUTPUTS)
    page = await page_of(path=f"/library/executions/{run.pk}/")
    await page.locator(".outputs .is-rendered").first.wait_for()
    assert await page.locator(".outputs img, .outputs a[href^=javascript]").count() == 0


async def test_the_picture_is_for_the_keyboard_too(page_of, live):
    agent = await in_thread(world.add_agent)(live.owner)
    page = await page_of(path=f"/library/agents/{agent.pk}/")
    await page.locator(".picture").focus()
    await page.keyboard.press("Tab")
    name = await page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert name == "word, Agent Short Text Input"
    await page.keyboard.press("Enter")
    await eventually(lambda: page.evaluate("document.querySelector('.as-list').open"))


async def test_rows_are_added_to_tables(page_of, live, guard):
    guard.allow("status of 400")  # the form is refused
    agent = await in_thread(world.add_agent)(live.owner, world.every_input_file())
    page = await page_of(path=f"/library/agents/{agent.pk}/run")
    await page.get_by_role("button", name="Add a row").click()
    await page.get_by_label("Table, row 3, column 1").fill("Ada")
    await page.get_by_role("button", name="Run", exact=True).click()
    assert await page.get_by_label("Table, row 1, column 1").input_value() == "Ada"
