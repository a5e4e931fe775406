"""Blocks that ask the web: over real HTTP, behind the address guard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import pytest_asyncio
from pydantic import ValidationError

from apps.library.blocks import web
from apps.library.blocks.web import GetWikipediaSummary, ReadRSSFeed, SendWebRequest
from apps.library.errors import BlockError
from tests.chat.tools.local_http import http, redirect
from tests.library.blocks.running import block, context, last, run


class Server:
    """Answers by path, and remembers requests with their bodies."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.place}{path}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.strip().split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((method, path, headers, body))
        writer.write(self.answers.get(path, http(b"nothing here", status="404 Not Found", content_type="text/plain")))
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    listening = await asyncio.start_server(found.handle, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    yield found
    listening.close()
    await listening.wait_closed()


async def send(server: Server, path: str = "/", **pins) -> list:
    return await run(SendWebRequest(allow=[server.place]), {"url": server.url(path), **pins})


REFUSED = [
    "http://127.0.0.1:9/",
    "http://localhost/",
    "http://[::1]/",
    "http://2130706433/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://10.0.0.1/",
    "http://user:password@example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "http://example.com:25/",
    "no url",
    "",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_inner_addresses_are_refused(url):
    for method in ("GET", "POST"):
        with pytest.raises(BlockError, match="can't be asked"):
            await run("SendWebRequest", {"url": url, "method": method})
    with pytest.raises(BlockError, match="can't be asked"):
        await run("ReadRSSFeed", {"rss_url": url, "polling_rate": 1})


async def test_a_redirect_to_an_inner_address_is_refused(server):
    server.answers["/"] = redirect("http://169.254.169.254/")
    with pytest.raises(BlockError, match="public internet"):
        await send(server, method="GET")
    assert len(server.requests) == 1


async def test_only_the_place_that_is_allowed_is_reached(server):
    with pytest.raises(BlockError, match="public internet"):
        await run(SendWebRequest(allow=["127.0.0.1:1"]), {"url": server.url()})
    with pytest.raises(BlockError, match="public internet"):
        await run("SendWebRequest", {"url": server.url()})
    assert server.requests == []


async def test_json_goes_out_and_comes_back(server):
    server.answers["/a?b=c"] = http(b'{"answer": [1]}', content_type="application/json; charset=utf-8")
    found = await send(server, "/a?b=c", body={"x": "ü", "y": [1]}, headers={"X-Key": 5, "Accept": "*/*"})
    assert found == [("response", {"answer": [1]})]
    ((method, path, headers, body),) = server.requests
    assert (method, path, json.loads(body)) == ("POST", "/a?b=c", {"x": "ü", "y": [1]})
    assert headers["content-type"] == "application/json"
    assert (headers["x-key"], headers["accept"]) == ("5", "*/*")
    assert headers["user-agent"].startswith("Flightdeck/")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
async def test_every_method(server, method):
    answer = http(b"" if method == "HEAD" else b"done", content_type="text/plain")
    server.answers["/"] = answer
    assert await send(server, method=method, body='{"a": 1}') == [("response", None if method == "HEAD" else "done")]
    ((asked, _, _, body),) = server.requests
    assert asked == method
    assert body == (b"" if method in {"GET", "HEAD"} else b'{"a": 1}')


@pytest.mark.parametrize(
    ("pins", "content_type", "sent"),
    [
        (
            {"body": {"a": "b c", "d": [1]}, "json_format": False},
            "application/x-www-form-urlencoded",
            b"a=b+c&d=%5B1%5D",
        ),
        ({"body": "plain", "json_format": "false"}, "text/plain; charset=utf-8", b"plain"),
        ({"body": "plain"}, "application/json", b'"plain"'),
        ({"body": [1, None]}, "application/json", b"[1, null]"),
        (
            {"body": {"a": 1}, "headers": {"content-type": "application/x-own+json"}},
            "application/x-own+json",
            b'{"a": 1}',
        ),
        ({}, None, b""),
    ],
)
async def test_bodies(server, pins, content_type, sent):
    server.answers["/"] = http()
    await send(server, **pins)
    ((_, _, headers, body),) = server.requests
    assert (headers.get("content-type"), body) == (content_type, sent)


async def test_files_are_sent_as_a_form(server):
    server.answers["/"] = http(status="204 No Content")
    found = await send(
        server,
        body={"title": "two files", "number": 1},
        files=["data:text/plain,one", "data:image/png;base64,iVBORw=="],
        files_name="upload",
    )
    assert found == [("response", None)]
    ((_, _, headers, body),) = server.requests
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert body.count(b'name="upload"') == 2
    for part in (b'name="title"\r\n\r\ntwo files', b'filename="file.png"', b"\x89PNG", b"Content-Type: image/png"):
        assert part in body
    with pytest.raises(BlockError, match="can't be fetched"):
        await send(server, files=["http://169.254.169.254/"])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "pin"),
    [
        ("200 OK", "response"),
        ("304 Not Modified", "response"),
        ("422 No", "client_error"),
        ("503 Away", "server_error"),
    ],
)
async def test_the_status_decides_the_pin(server, status, pin):
    body = b"" if status.startswith("304") else b"words"
    server.answers["/"] = http(body, status=status, content_type="text/plain")
    assert await send(server) == [(pin, body.decode() or None)]


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b"{broken", "application/json", "{broken"),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        ("ü".encode("latin-1"), "text/html; charset=iso-8859-1", "ü"),
        (b"x", "text/plain; charset=no-such", "x"),
        (b"<a/>", "application/atom+xml", "<a/>"),
        (b"\x89PNG", "image/png", "data:image/png;base64,iVBORw=="),
        (b"words", None, "words"),
    ],
)
async def test_answers(server, body, content_type, value):
    server.answers["/"] = http(body, content_type=content_type)
    assert await send(server) == [("response", value)]


async def test_headers_of_the_connection_arent_the_agents(server):
    server.answers["/"] = http()
    headers = {"Host": "inner", "Content-Length": "999", "Transfer-Encoding": "chunked", "Proxy-Authorization": "x"}
    await send(server, headers=headers, body={})
    ((_, _, sent, _),) = server.requests
    assert sent["host"] == server.place
    assert sent["content-length"] == "2"
    assert not {"transfer-encoding", "proxy-authorization"} & set(sent)


@pytest.mark.parametrize(
    "headers",
    [{"a b": "c"}, {"a": "b\r\nc: d"}, {"a:": "b"}, {"ü": "x"}, {"a": "ü"}, {f"h{n}": "" for n in range(101)}],
)
async def test_malformed_headers_are_refused(server, headers):
    with pytest.raises(BlockError, match="header"):
        await send(server, headers=headers)
    assert server.requests == []


async def test_keys_stay_behind_when_a_redirect_leads_elsewhere(server):
    elsewhere = Server()
    listening = await asyncio.start_server(elsewhere.handle, "127.0.0.1", 0)
    elsewhere.port = listening.sockets[0].getsockname()[1]
    elsewhere.answers["/"] = http(b"there", content_type="text/plain")
    server.answers["/"] = redirect(elsewhere.url(), "307 Temporary Redirect")
    found = await web.send(
        block("SendWebRequest").Input.model_validate({"url": server.url(), "headers": {"x-mine": "1"}, "body": {}}),
        context(),
        allow=[server.place, elsewhere.place],
        secret_headers={"authorization": "Bearer secret"},
    )
    assert found == ("response", "there")
    assert server.requests[0][2]["authorization"] == "Bearer secret"
    assert not {"authorization", "x-mine"} & set(elsewhere.requests[0][2])
    listening.close()
    await listening.wait_closed()


async def test_answers_are_bounded(server, monkeypatch):
    monkeypatch.setattr(web, "MAX_ANSWER_BYTES", 1000)
    server.answers["/"] = http(b"x" * 1001)
    with pytest.raises(BlockError, match="larger than 1000 bytes"):
        await send(server)


async def test_a_server_that_isnt_there_is_an_error(server):
    with pytest.raises(BlockError, match="request failed"):
        await run(SendWebRequest(allow=["127.0.0.1:1"]), {"url": "http://127.0.0.1:1/"})


@pytest.mark.parametrize("pins", [{}, {"url": "x", "method": "TRACE"}, {"url": "x" * 8001}, {"url": "x", "headers": 5}])
def test_requests_that_dont_fit(pins):
    with pytest.raises(ValidationError):
        block("SendWebRequest").Input.model_validate(pins)


# Feeds


def rss(*items: tuple[str, datetime | None]) -> bytes:
    entries = "".join(
        f"<item><title>{title}</title><link>https://example.com/{title}</link><guid>{title}</guid>"
        f"<description>About {title} &lt;script&gt;x&lt;/script&gt;</description><author>a@example.com (Ann)</author>"
        f"<category>news</category>{f'<pubDate>{format_datetime(moment)}</pubDate>' if moment else ''}</item>"
        for title, moment in items
    )
    return f'<rss version="2.0"><channel><title>Feed</title>{entries}</channel></rss>'.encode()


async def test_new_entries_of_a_feed(server):
    now = datetime.now(UTC).replace(microsecond=0)
    feed = rss(("new", now - timedelta(minutes=5)), ("old", now - timedelta(days=2)), ("undated", None))
    server.answers["/feed"] = http(feed, content_type="application/rss+xml")
    pins = {"rss_url": server.url("/feed"), "polling_rate": "1", "run_continuously": "false", "time_period": 60}
    found = await run(ReadRSSFeed(allow=[server.place]), pins)
    assert [pin for pin, _ in found] == ["entry", "entry", "entries"]
    assert [entry["title"] for entry in found[-1][1]] == ["new", "undated"]
    entry = found[0][1]
    assert set(entry) == {"title", "link", "description", "pub_date", "author", "categories"}
    assert entry["link"] == "https://example.com/new"
    assert "<script>" not in entry["description"]
    assert entry["pub_date"] == (now - timedelta(minutes=5)).isoformat()
    assert entry["categories"] == ["news"]
    assert "Ann" in entry["author"]


async def test_a_feed_that_is_watched_gives_each_entry_once(server, monkeypatch):
    monkeypatch.setattr(web, "SHORTEST_POLL_SECONDS", 0.01)
    now = datetime.now(UTC)
    server.answers["/feed"] = http(rss(("first", now)))
    watcher = ReadRSSFeed(allow=[server.place])
    pins = watcher.Input.model_validate({"rss_url": server.url("/feed"), "polling_rate": 0})
    titles = []
    running = watcher.run(pins, context())
    looks = 0
    async for pin, value in running:
        if pin == "entry":
            titles.append(value["title"])
            server.answers["/feed"] = http(rss(("second", now), ("first", now)))
        else:
            looks += 1
        if looks == 4:
            break
    await running.aclose()
    assert titles == ["first", "second"]


async def test_watching_can_be_stopped(server):
    server.answers["/feed"] = http(rss())
    pins = {"rss_url": server.url("/feed"), "polling_rate": 3600}
    running = asyncio.create_task(run(ReadRSSFeed(allow=[server.place]), pins))
    while not server.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_atom_and_what_is_no_feed(server):
    atom = (
        b'<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title><entry><id>1</id><title>One</title>'
        b'<link href="https://example.com/1"/><updated>2100-01-01T00:00:00Z</updated></entry></feed>'
    )
    server.answers["/atom"] = http(atom, content_type="application/atom+xml")
    server.answers["/page"] = http(b"<html><body>no feed</body></html>")
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(12))
    bomb = f"<!DOCTYPE rss [{entities}]><rss version='2.0'><channel><title>&l11;</title></channel></rss>"
    server.answers["/bomb"] = http(bomb.encode(), content_type="application/rss+xml")
    reader = ReadRSSFeed(allow=[server.place])
    once = {"polling_rate": 1, "run_continuously": False}
    assert (await last(reader, {"rss_url": server.url("/atom"), **once}))["entry"]["title"] == "One"
    with pytest.raises(BlockError, match="isn't an RSS"):
        await run(reader, {"rss_url": server.url("/page"), **once})
    with pytest.raises(BlockError, match="answered 404"):
        await run(reader, {"rss_url": server.url("/missing"), **once})
    async with asyncio.timeout(30):  # the parser gives up on entities that grow; the loop isn't held up
        assert (await last(reader, {"rss_url": server.url("/bomb"), **once})) == {"entries": []}
    with pytest.raises(ValidationError):
        block("ReadRSSFeed").Input.model_validate({"rss_url": "x"})


# Wikipedia


async def test_a_summary(server):
    path = "/api/rest_v1/page/summary/Caf%C3%A9_au%2Flait"
    server.answers[path] = http(b'{"title": "x", "extract": "A drink."}', content_type="application/json")
    server.answers["/api/rest_v1/page/summary/Odd"] = http(b"[]", content_type="application/json")
    lookup = GetWikipediaSummary(allow=[server.place], base_url=server.url(""))
    assert await run(lookup, {"topic": " Café au/lait "}) == [("summary", "A drink.")]
    with pytest.raises(BlockError, match="no article “Nowhere”"):
        await run(lookup, {"topic": "Nowhere"})
    with pytest.raises(BlockError, match="no summary"):
        await run(lookup, {"topic": "Odd"})
    with pytest.raises(BlockError, match="Name a topic"):
        await run(lookup, {"topic": " "})
    with pytest.raises(ValidationError):
        block("GetWikipediaSummary").Input.model_validate({})
    assert GetWikipediaSummary()._base_url == "https://en.wikipedia.org"
