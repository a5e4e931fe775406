"""`web_fetch`: what it reads, what it refuses, and that no page can make it work without end."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chat.tools.base import ToolContext, ToolFailure
from apps.chat.tools.registry import ToolRegistry
from apps.chat.tools.web import MAX_BODY_BYTES, MAX_TEXT_CHARS, WebFetch, WebFetchResult, is_text_type, readable_text
from tests.chat.tools.local_http import LocalServer, http, local_server, redirect


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server() as running:
        yield running


async def call(
    server: LocalServer | None, arguments: dict[str, Any], told: list[str] | None = None, **more: Any
) -> Any:
    """Call the tool the way a turn does."""

    async def tell(text: str) -> None:
        if told is not None:
            told.append(text)

    registry = ToolRegistry()
    registry.register(WebFetch(allow=[server.place] if server else (), **more))
    ids = {name: uuid4() for name in ("user_id", "session_id", "turn_id", "tool_call_id")}
    context = ToolContext(**ids, dry_run=False, progress=tell)
    return await registry.call("web_fetch", json.dumps(arguments), context)


async def read(server: LocalServer, body: bytes, content_type: str | None = "text/html", **more: Any) -> WebFetchResult:
    server.answers["/"] = http(body, content_type=content_type)
    answer = await call(server, {"url": server.url(), **more})
    assert isinstance(answer, WebFetchResult), answer
    return answer


PAGE = """<!DOCTYPE html><html><head><title>The &amp; title
</title><style>p { color: red }</style></head><body><h1>Heading</h1>
<p>One   <b>bold</b>
word.</p><script>var x = "<p>hidden</p>";</script><ul><li>first</li><li>second</li></ul>
<!-- <p>comment</p> --><noscript>no scripts</noscript><table><tr><td>a<td>b</tr></table>
<pre>  kept
    spaces</pre>5 &lt; 6 &copy; <a href="/x?a=1>2">link</a><br>end</body></html>"""


async def test_a_page_becomes_text(server: LocalServer) -> None:
    told: list[str] = []
    server.answers |= {"/old": redirect("/new"), "/new": http(PAGE.encode(), content_type="text/html; charset=utf-8")}
    answer = await call(server, {"url": server.url("/old")}, told)
    assert isinstance(answer, WebFetchResult)
    assert (answer.url, answer.status_code, answer.content_type) == (server.url("/new"), 200, "text/html")
    assert answer.title == "The & title"
    assert answer.content.split("\n") == [
        "Heading",
        "One bold word.",
        "- first",
        "- second",
        "a b",
        "  kept",
        "    spaces",
        "5 < 6 © link",
        "end",
    ]
    assert (answer.content_length, answer.truncated) == (len(PAGE.encode()), False)
    assert told == ["Reading 127.0.0.1…"]


async def test_the_source_on_request(server: LocalServer) -> None:
    answer = await read(server, PAGE.encode(), extract_text=False)
    assert (answer.content, answer.title) == (PAGE, "The & title")


async def test_error_pages_are_answers(server: LocalServer) -> None:
    answer = await call(server, {"url": server.url("/nowhere")})
    assert (answer.type, answer.status_code, answer.content) == ("web_fetch", 404, "nothing here")


async def test_pages_built_by_scripts_get_a_notice(server: LocalServer) -> None:
    answer = await read(server, b"<html><body><div id=root></div><script src=app.js></script></body></html>")
    assert answer.content == ""
    assert "scripts" in answer.message
    assert "scripts" not in (await read(server, b"<p>" + b"words " * 100 + b"<script>x</script>")).message
    assert "scripts" not in (await read(server, b"<p>short")).message


@pytest.mark.parametrize(
    ("body", "content_type", "content"),
    [
        ("é".encode(), "text/plain", "é"),
        ("é".encode("latin-1"), "text/plain", "é"),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        ("“é”".encode("cp1252"), "text/plain; charset=us-ascii", "“é”"),
        ("日本".encode("shift_jis"), 'text/plain; charset="Shift_JIS"', "日本"),
        ("дa".encode("koi8-r"), "text/html; charset=koi8-r", "дa"),
        (b"<meta charset='windows-1251'>" + "да".encode("cp1251"), "text/html", "да"),
        (b"<?xml version='1.0' encoding='windows-1251'?>" + "да".encode("cp1251"), "application/xml", None),
        ("é".encode("utf-16"), "text/plain", "é"),
        (b"\xef\xbb\xbf" + "é".encode(), "text/plain; charset=latin-1", "é"),
        ("é".encode(), "text/plain; charset=punycode", "é"),
        ("é".encode(), "text/plain; charset=hex", "é"),
        ("é".encode(), "text/plain; charset=no-such", "é"),
        ("é".encode(), "text/plain; charset=" + "x" * 500, "é"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"a\x07b\x00c", "text/plain", None),
        (b"a\x07b", "text/plain", "ab"),
        (b"", "text/plain", ""),
    ],
)
async def test_charsets(server: LocalServer, body: bytes, content_type: str, content: str | None) -> None:
    server.answers["/"] = http(body, content_type=content_type)
    answer = await call(server, {"url": server.url()})
    if b"\0" in body and content is None:
        assert answer.error == "unsupported_content_type"
    elif content is None:
        assert answer.content.endswith("да")
    else:
        assert answer.content == content


@pytest.mark.parametrize(
    "kind", ["image/png", "video/mp4", "application/octet-stream", "application/pdf", "font/woff2"]
)
async def test_other_types_are_refused(server: LocalServer, kind: str) -> None:
    server.answers["/"] = http(b"x", content_type=kind)
    answer = await call(server, {"url": server.url()})
    assert (answer.type, answer.error) == ("error", "unsupported_content_type")
    assert kind in answer.message


def test_text_types() -> None:
    good = "text/plain text/csv application/json application/ld+json application/xml image/svg+xml application/rss+xml"
    assert all(is_text_type(kind) for kind in [*good.split(), "application/xhtml+xml", "application/x-yaml", ""])
    assert not any(is_text_type(kind) for kind in ("application/zip", "audio/mpeg", "a/" * 50_000 + "+"))


async def test_an_answer_without_a_type(server: LocalServer) -> None:
    assert (await read(server, b"<!doctype html><title>T</title><p>x", None)).title == "T"
    assert (await read(server, b"plain <text>", None)).content == "plain <text>"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (None, "missing_url"),
        ("  ", "missing_url"),
        ("example.com", "url_blocked"),
        ("file:///etc/passwd", "url_blocked"),
        ("http://localhost/", "url_blocked"),
        ("http://127.0.0.1:1/", "url_blocked"),
        ("http://169.254.169.254/latest/meta-data/", "url_blocked"),
        ("http://[::1]/", "url_blocked"),
        ("https://user:pw@example.com/", "url_blocked"),
        ("x" * 9000, "input_validation_error"),
    ],
)
async def test_urls_that_are_not_read(url: str | None, code: str) -> None:
    told: list[str] = []
    answer = await call(None, {} if url is None else {"url": url}, told)
    assert isinstance(answer, ToolFailure)
    assert (answer.error, told) == (code, [])


async def test_a_redirect_to_an_inner_address_is_blocked(server: LocalServer) -> None:
    server.answers["/"] = redirect("http://169.254.169.254/latest/meta-data/")
    assert (await call(server, {"url": server.url()})).error == "url_blocked"


async def test_failures_say_why(server: LocalServer) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    server.answers["/"] = silent
    answer = await call(server, {"url": server.url()}, limit_seconds=0.2)
    assert (answer.error, answer.details) == ("fetch_failed", {"reason": "timeout"})
    server.answers["/"] = redirect("/")
    assert (await call(server, {"url": server.url()})).details == {"reason": "redirects"}


async def test_long_texts_are_cut(server: LocalServer) -> None:
    answer = await read(server, b"<p>" + b"word " * 50_000)
    assert (len(answer.content), answer.truncated) == (MAX_TEXT_CHARS, True)
    answer = await read(server, b"x" * MAX_TEXT_CHARS, "text/plain")
    assert (len(answer.content), answer.truncated) == (MAX_TEXT_CHARS, False)
    answer = await read(server, b"x" * (MAX_BODY_BYTES + 10), "text/plain")
    assert (answer.content_length, answer.truncated) == (MAX_BODY_BYTES, True)


async def test_a_bomb_is_cut(server: LocalServer) -> None:
    bomb = gzip.compress(b"<p>" + b"\0" * 50_000_000)
    server.answers["/"] = http(bomb, "Content-Encoding: gzip", content_type="text/html")
    answer = await call(server, {"url": server.url()})
    assert answer.error == "unsupported_content_type"
    bomb = gzip.compress(b"<p>" + b" " * 50_000_000)
    server.answers["/"] = http(bomb, "Content-Encoding: gzip", content_type="text/html")
    answer = await call(server, {"url": server.url()})
    assert (answer.content, answer.content_length, answer.truncated) == ("", MAX_BODY_BYTES, True)


async def test_a_body_cut_inside_a_character(server: LocalServer) -> None:
    answer = await read(server, b"a" + "é".encode() * 1_100_000, "text/plain")
    assert answer.content.startswith("aéé")


@pytest.mark.parametrize(
    "unit",
    [
        "<!--",
        "<!",
        "<?",
        "</",
        "<",
        "<a",
        "<a ",
        "<a x=\"'",
        "<a x='",
        '<a ="',
        "<a x= ",
        "=  ",
        "<a><",
        "<br>",
        "<title>",
        "<script>",
        "</script",
        "<svg/>",
        "<![CDATA[",
        "&#99999999999",
        "&amp",
        "&",
        "<pre> ",
        " ",
        " \n",
        "<p> ",
    ],
)
def test_no_markup_takes_more_than_linear_time(unit: str) -> None:
    source = unit * (500_000 // len(unit))
    began = time.process_time()
    readable_text(source)
    assert time.process_time() - began < 4  # a quarter of a second at worst; quadratic would be minutes


def test_broken_markup() -> None:
    assert readable_text("a < b <3 c").text == "a < b <3 c"
    assert readable_text("a<!-- never closed").text == "a"
    assert readable_text("a<!-->b").text == "ab"
    assert readable_text("a<script>never closed").text == "a"
    assert readable_text('a<b x="never closed>c').text == "ac"
    assert readable_text("<SCRIPT>x</ScRiPt >a").text == "a"
    assert readable_text("<svg/>a<svg><title>no</title></svg>").text == "a"
    assert readable_text("<title>" + "t" * 10_000 + "</title>").title == "t" * 300
    assert readable_text("&#" + "9" * 5000 + ";<p>a").text.endswith("a")
    assert readable_text("<p>a<p><p></p>\n\n<p>b").text == "a\nb"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["<", ">", "/", "!", "-", "p", "script", "title", '"', "=", " ", "&", "#", "x"])))
def test_any_markup_is_read(parts: list[str]) -> None:
    readable_text("".join(parts))


async def test_stopping_closes_the_connection(server: LocalServer) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    server.answers["/"] = drip
    task = asyncio.create_task(call(server, {"url": server.url()}))
    await asyncio.wait_for(server.asked.wait(), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.client_gone.wait(), 10)
