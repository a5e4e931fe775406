"""Blocks that ask the web."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic import Field

from apps.library.blocks.base import BlockContext, Category, Pins
from apps.library.blocks.child_calls import PATIENT_SECONDS, in_child
from apps.library.blocks.coercion import text_of
from apps.library.blocks.files_access import FileContent, FilePin, read_file
from apps.library.blocks.reaching import ReachingBlock
from apps.library.blocks.work.markup import Entry, parse_feed
from apps.library.errors import BlockError
from apps.runtime import netguard

REQUEST_LIMIT_SECONDS: Final = 120.0
MAX_ANSWER_BYTES: Final = 10 * 1024 * 1024
MAX_URL_CHARS: Final = 8_000
MAX_HEADERS: Final = 100
USER_AGENT: Final = "Flightdeck/1.0 (agents)"
#: Headers that belong to the connection, or that the client writes itself from what is sent.
_OWN_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)
#: Feeds that are asked more often than this take offence.
SHORTEST_POLL_SECONDS: Final = 1.0


async def fetch(url: str, *, allow: Collection[str], **options: Any) -> netguard.FetchedPage:
    """Fetch through the address guard.

    Args:
        url: A full http(s) URL.
        allow: `host:port` pairs that aren't checked.
        options: Of `netguard.fetch`.

    Raises:
        BlockError: It may not be fetched, or that didn't work.
    """
    try:
        return await netguard.fetch(url, allow=allow, **{"max_bytes": MAX_ANSWER_BYTES, **options})
    except netguard.AddressRefused as refused:
        raise BlockError(f"This URL can't be asked. {refused}") from None
    except netguard.FetchFailed as failed:
        raise BlockError(f"The request failed. {failed}") from None


def content_of(page: netguard.FetchedPage) -> Any:
    """Return what an answer says: JSON as a value, text as text, everything else as a data URI; null for nothing."""
    if not page.body:
        return None
    is_text = not page.content_type or page.content_type.startswith("text/")
    if page.content_type.endswith(("/json", "+json")):
        try:
            return json.loads(page.body)
        except (ValueError, RecursionError):
            is_text = True
    if is_text or page.content_type.endswith(("xml", "javascript", "yaml", "x-www-form-urlencoded", "csv")):
        try:
            return page.body.decode(page.charset or "utf-8", "replace")
        except LookupError:
            return page.body.decode("utf-8", "replace")
    return FileContent(name="", mime_type=page.content_type, content=page.body).data_uri


class Method(StrEnum):
    """What a request asks for."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"
    OPTIONS = "OPTIONS"
    HEAD = "HEAD"


class WebRequestPins(Pins):
    """What a web request is made of."""

    url: str = Field(max_length=MAX_URL_CHARS, description="A full http:// or https:// URL.")
    method: Method = Field(default=Method.POST, description="The HTTP method.")
    headers: dict[str, str] = Field(default={}, description="Further headers.")
    json_format: bool = Field(default=True, description="Whether the body is sent as JSON, or as a form.")
    body: dict[str, Any] | list[Any] | str | None = Field(default=None, description="What is sent.")
    files_name: str = Field(default="file", description="The name of the form's field for files.")
    files: list[FilePin] = Field(default=[], description="Files to send; the body then becomes a form's fields.")


class WebAnswerPins(Pins):
    """What a web request brings back."""

    response: Any = Field(description="The answer, if there was no error.")
    client_error: Any = Field(description="The answer, if the server found fault with the request.")
    server_error: Any = Field(description="The answer, if the server had an error.")


class SendWebRequest(ReachingBlock["SendWebRequest.Input"]):
    """Sends a web request."""

    id = "6595ae1f-b924-42cb-9a41-551a0611c4b4"
    name = "Send Web Request"
    description = "Sends an HTTP request to a public server and puts its answer out."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.OUTPUT})
    is_sensitive_action = True

    class Input(WebRequestPins):
        """Its input pins."""

    class Output(WebAnswerPins):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Send it.

        Raises:
            BlockError: It may not or can't be sent.
        """
        pin, answer = await send(inputs, context, allow=self.allow)
        yield pin, answer


async def send(
    inputs: WebRequestPins,
    context: BlockContext,
    *,
    allow: Collection[str],
    secret_headers: dict[str, str] | None = None,
    max_redirects: int = 5,
) -> tuple[str, Any]:
    """Send a web request and return the answer with the pin that it goes to.

    Args:
        inputs: The request.
        context: Whose files may be sent.
        allow: `host:port` pairs that may be asked although they aren't public.
        secret_headers: Headers of a credential; they win, and stay behind when a redirect leads to another server.
        max_redirects: How many are followed.

    Raises:
        BlockError: It may not or can't be sent.
    """
    content, content_type = await body_of(inputs, context, allow)
    headers = headers_of(inputs.headers, content_type)
    page = await fetch(
        inputs.url.strip(),
        allow=allow,
        method=inputs.method.value,
        headers={**headers, **(secret_headers or {})},
        content=content,
        timeout_seconds=REQUEST_LIMIT_SECONDS,
        max_redirects=max_redirects,
    )
    if page.status_code < 400:
        return "response", content_of(page)
    return "client_error" if page.status_code < 500 else "server_error", content_of(page)


def headers_of(wanted: dict[str, str], content_type: str | None) -> dict[str, str]:
    """Return the headers to send; those of the connection itself are left out.

    Raises:
        BlockError: One is malformed.
    """
    if len(wanted) > MAX_HEADERS:
        raise BlockError(f"A request may have {MAX_HEADERS} headers at most.")
    headers = {"user-agent": USER_AGENT}
    if content_type:
        headers["content-type"] = content_type
    for name, value in wanted.items():
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise BlockError("A header's name is malformed.")
        if not value.isprintable() or not value.isascii():
            raise BlockError(f"The header “{name}” has characters that headers can't have.")
        if name.lower() not in _OWN_HEADERS and not name.lower().startswith("proxy-"):
            headers[name.lower()] = value.strip()
    return headers


async def body_of(
    inputs: WebRequestPins, context: BlockContext, allow: Collection[str]
) -> tuple[bytes | None, str | None]:
    """Return what is sent as a request's body, and its media type.

    Raises:
        BlockError: A file can't be read, or the whole is too large.
    """
    body = inputs.body
    if inputs.files:
        return await _form_with_files(inputs, context, allow)
    if body is None or inputs.method in {Method.GET, Method.HEAD}:
        return None, None
    if inputs.json_format:
        if isinstance(body, str):
            body = _value_of(body)
        return json.dumps(body, ensure_ascii=False).encode(errors="replace"), "application/json"
    if isinstance(body, str):
        return body.encode(errors="replace"), "text/plain; charset=utf-8"
    return urlencode(_fields(body)).encode(), "application/x-www-form-urlencoded"


async def _form_with_files(
    inputs: WebRequestPins, context: BlockContext, allow: Collection[str]
) -> tuple[bytes, str | None]:
    import httpx2  # for the shape of the form only; it is sent by the address guard

    files, room = [], MAX_ANSWER_BYTES
    for reference in inputs.files:
        file = await read_file(reference, context=context, max_bytes=room, allow=allow)
        room -= len(file.content)
        files.append((inputs.files_name, (file.name, file.content, file.mime_type)))
    form = httpx2.Request("POST", "http://form.invalid/", data=dict(_fields(inputs.body)), files=files)
    return form.read(), form.headers["content-type"]


def _fields(body: Any) -> list[tuple[str, str]]:
    if isinstance(body, str):
        body = _value_of(body)
    if body is None:
        return []
    if not isinstance(body, dict):
        raise BlockError("A form's body must be an object.")
    return [(name, text_of(value)) for name, value in body.items()]


def _value_of(text: str) -> Any:
    """Return what a JSON text says; a text that is none is itself the value."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class ReadRSSFeed(ReachingBlock["ReadRSSFeed.Input"]):
    """Reads a feed."""

    id = "5ebe6768-8e5d-41e3-9134-1c7bd89a8d52"
    name = "Read RSS Feed"
    description = "Reads the new entries of an RSS or Atom feed, once or again and again."
    categories = frozenset({Category.INPUT})
    timeout_seconds = None
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        rss_url: str = Field(max_length=MAX_URL_CHARS, description="The feed's URL.")
        time_period: int = Field(default=1440, ge=0, description="How old entries may be at first, in minutes.")
        polling_rate: int = Field(ge=0, description="How many seconds lie between two looks at the feed.")
        run_continuously: bool = Field(default=True, description="Whether to go on for ever, or to look once.")

    class Output(Pins):
        """Its output pins."""

        entry: dict[str, Any] = Field(description="An entry: title, link, description, pub_date, author, categories.")
        entries: list[dict[str, Any]] = Field(description="All entries of one look.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Read it.

        Raises:
            BlockError: It may not or can't be fetched, or isn't a feed.
        """
        since = time.time() - inputs.time_period * 60
        seen: set[str] = set()
        while True:
            feed = await self._look(inputs.rss_url)
            new = [entry for entry in feed if entry["id"] not in seen and _moment(entry) >= since]
            seen = {entry["id"] for entry in feed}
            shown = [_shown(entry) for entry in new]
            for entry in shown:
                yield "entry", entry
            yield "entries", shown
            if not inputs.run_continuously:
                return
            await asyncio.sleep(max(float(inputs.polling_rate), SHORTEST_POLL_SECONDS))

    async def _look(self, url: str) -> list[Entry]:
        page = await fetch(
            url.strip(),
            allow=self.allow,
            timeout_seconds=REQUEST_LIMIT_SECONDS,
            headers={"user-agent": USER_AGENT, "accept": "application/rss+xml, application/atom+xml, application/xml"},
        )
        if page.status_code >= 400:
            raise BlockError(f"The feed's server answered {page.status_code}.")
        return await in_child(parse_feed, page.body, page.content_type, timeout_seconds=PATIENT_SECONDS)


def _moment(entry: Entry) -> float:
    """When an entry appeared; one that doesn't say is new until it was seen."""
    return float("inf") if entry["published_at"] is None else float(entry["published_at"])


def _shown(entry: Entry) -> dict[str, Any]:
    moment = entry["published_at"]
    return {
        "title": entry["title"],
        "link": entry["link"],
        "description": entry["description"],
        "pub_date": datetime.fromtimestamp(moment, UTC).isoformat() if moment is not None else None,
        "author": entry["author"],
        "categories": entry["categories"],
    }


class GetWikipediaSummary(ReachingBlock["GetWikipediaSummary.Input"]):
    """Looks a topic up."""

    id = "f5b0f5d0-1862-4d61-94be-3ad0fa772760"
    name = "Get Wikipedia Summary"
    description = "Looks a topic up in the English Wikipedia and puts out how its article begins."
    categories = frozenset({Category.SEARCH})
    is_idempotent = True

    def __init__(self, *, allow: Collection[str] = (), base_url: str = "https://en.wikipedia.org") -> None:
        """Set up.

        Args:
            allow: `host:port` pairs that may be reached although they aren't public.
            base_url: Where the encyclopaedia is.
        """
        super().__init__(allow=allow)
        self._base_url = base_url

    class Input(Pins):
        """Its input pins."""

        topic: str = Field(max_length=300, description="The title of an article.")

    class Output(Pins):
        """Its output pins."""

        summary: str = Field(description="How the article begins.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Look it up.

        Raises:
            BlockError: There is no such article, or it can't be fetched.
        """
        topic = inputs.topic.strip().replace(" ", "_")
        if not topic:
            raise BlockError("Name a topic.")
        page = await fetch(
            f"{self._base_url}/api/rest_v1/page/summary/{quote(topic, safe='')}",
            allow=self.allow,
            timeout_seconds=REQUEST_LIMIT_SECONDS,
            headers={"user-agent": USER_AGENT, "accept": "application/json"},
        )
        if page.status_code == 404:
            raise BlockError(f"Wikipedia has no article “{inputs.topic}”.")
        answer = content_of(page)
        if page.status_code >= 400 or not isinstance(answer, dict) or not isinstance(answer.get("extract"), str):
            raise BlockError(f"Wikipedia gave no summary; it answered {page.status_code}.")
        yield "summary", answer["extract"]
