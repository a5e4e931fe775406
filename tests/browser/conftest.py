"""A real Chromium in front of the real product. Whatever a page complains of fails its test."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

from apps.chat.tools.registry import default_registry
from apps.chat.turns import worker
from tests.conftest import PASSWORD

CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 30_000
# The body files of Django's own ASGI handler.
LIBRARIES_OWN = ("ignore::ResourceWarning",)
TELL_OF_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  const { violatedDirective, blockedURI, sourceFile, lineNumber } = event;
  console.error(`CSP: ${violatedDirective} refused ${blockedURI} at ${sourceFile}:${lineNumber}`);
});
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for all browser tests: the browser lives on it."""
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            for warning in LIBRARIES_OWN:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser, started once."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture(autouse=True)
def tools(settings, monkeypatch, web_server) -> None:
    """The worker has our tools, and may read pages of the server under test."""
    settings.CHAT_TOOL_MODULES = ["tests.browser.tools"]
    allowed = partial(default_registry, fetch_allow=[f"127.0.0.1:{web_server.port}"])
    monkeypatch.setattr(worker, "default_registry", allowed)


class Guard:
    """What pages complained of."""

    def __init__(self, url: str) -> None:
        """Begin without complaints."""
        self.complaints: list[str] = []
        self._own = (url, url.replace("http", "ws", 1), "data:", "blob:", "about:")
        self._allowed = ["/favicon.ico"]  # a browser asks for it where a bare answer of an API names no icon

    def allow(self, pattern: str) -> None:
        """Expect a complaint that matches a pattern."""
        self._allowed.append(pattern)

    def hear(self, complaint: str) -> None:
        """Note a complaint that isn't allowed."""
        if not any(re.search(pattern, complaint) for pattern in self._allowed):
            self.complaints.append(complaint)

    async def watch(self, context: BrowserContext) -> None:
        """Listen to all pages of a context."""
        await context.add_init_script(TELL_OF_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.hear(f"uncaught: {error.error}"))
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.hear(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(self._own):
            self.hear(f"another host: {request.url}")


@pytest.fixture
def guard(live) -> Iterator[Guard]:
    """Fails the test at its end if a page complained."""
    guard = Guard(live.url)
    yield guard
    assert not guard.complaints


@pytest_asyncio.fixture(loop_scope="session")
async def page_of(chromium, live, guard) -> AsyncIterator[Callable[..., Awaitable[Page]]]:
    """Open pages as a person; each call is a tab of that person's one browser, or a new browser with `context` options.

    The first page of a person signs in by the form.
    """
    contexts: dict[Any, BrowserContext] = {}
    signed_in: dict[Any, Any] = {}

    async def open_page(person: Any = None, path: str = "/copilot/", **options: Any) -> Page:
        person = person or live.owner
        key = (person.user.pk, *sorted(map(str, options.items())))
        if key not in contexts:
            context = await chromium.new_context(
                **{"viewport": DESKTOP, "base_url": live.url, "storage_state": signed_in.get(person.user.pk), **options}
            )
            context.set_default_timeout(PATIENCE_MS)
            await guard.watch(context)
            contexts[key] = context
            if person.user.pk not in signed_in:
                page = await context.new_page()
                await page.goto("/accounts/login/?next=/healthz")
                await sign_in(page, person)
                signed_in[person.user.pk] = await context.storage_state()
                await page.close()
        page = await contexts[key].new_page()
        await page.goto(path)
        return page

    yield open_page
    for context in contexts.values():
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stranger_page(chromium, live, guard) -> AsyncIterator[Page]:
    """A page of somebody who isn't signed in."""
    context = await chromium.new_context(viewport=DESKTOP, base_url=live.url)
    context.set_default_timeout(PATIENCE_MS)
    await guard.watch(context)
    yield await context.new_page()
    await context.close()


async def sign_in(page: Page, person: Any, password: str = PASSWORD) -> None:
    """Fill in the sign-in form."""
    if "/accounts/login" not in page.url:
        await page.goto("/accounts/login/")
    await page.get_by_label("Email").fill(person.user.email)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_load_state("load")


class Chat:
    """What tests look at on a copilot page."""

    def __init__(self, page: Page) -> None:
        """Look at this page."""
        self.page = page
        self.transcript = page.locator("#transcript")
        self.turns = page.locator(".turn")
        self.answer = page.locator(".turn").last.locator(".prose:not(.is-quiet)")
        self.stop = page.get_by_role("button", name="Stop answering")
        self.message = page.locator("#message")
        self.connection = page.locator("#connection")

    async def ask(self, text: str) -> None:
        """Send a message with the keyboard."""
        await self.message.fill(text)
        await self.message.press("Enter")

    async def done(self, turns: int, timeout: float = PATIENCE_MS) -> None:
        """Wait until so many turns are shown and nothing is being answered."""
        await self.page.wait_for_function(
            "(n) => document.querySelectorAll('.turn').length === n"
            " && document.querySelector('#transcript').getAttribute('aria-busy') === 'false'"
            " && !document.querySelector('.working')",
            arg=turns,
            timeout=timeout,
        )

    async def text(self) -> str:
        """Return the transcript as a person reads it."""
        return await self.transcript.inner_text()

    async def until_text(self, text: str, timeout: float = PATIENCE_MS) -> None:
        """Wait until the transcript holds a text."""
        await self.page.wait_for_function(
            "(text) => document.querySelector('#transcript').innerText.includes(text)", arg=text, timeout=timeout
        )

    @property
    def session(self) -> str:
        """The chat that the address names."""
        return self.page.url.partition("session=")[2]


@pytest_asyncio.fixture(loop_scope="session")
async def chat_of(page_of) -> Callable[..., Awaitable[Chat]]:
    """Open copilot pages as a person."""

    async def open_chat(person: Any = None, session: str = "", **options: Any) -> Chat:
        path = f"/copilot/?session={session}" if session else "/copilot/"
        page = await page_of(person, path, **options)
        await page.locator("#app:not([data-view=loading])").wait_for()
        return Chat(page)

    return open_chat


async def eventually(check: Callable[[], Any], seconds: float = 5) -> Any:
    """Return what a check returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, "this never came true"
        await asyncio.sleep(0.02)


def words(count: int) -> str:
    """Return numbered words: a gap or a repeat shows."""
    return " ".join(f"w{number}" for number in range(count))
