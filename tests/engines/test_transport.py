"""Model servers are reached through aiohttp, and httpx2 and the SDKs notice no difference."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from apps.engines.transport import AiohttpTransport, on_sent

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers every request with the same bytes, and notes what it was sent."""

    def __init__(self, answer: bytes, *, stays: bool) -> None:
        self.answer = answer
        self.stays = stays
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:14] == b"content-length"), 0)
            self.requests.append(head + await reader.readexactly(length))
            writer.write(self.answer)
            if not self.stays:
                break
        writer.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        self.closed.set()


@asynccontextmanager
async def served(answer: bytes, *, stays: bool = True) -> AsyncIterator[tuple[Server, str]]:
    server = Server(answer, stays=stays)
    async with await asyncio.start_server(server.connected, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield server, f"http://127.0.0.1:{port}"


@pytest.fixture
def client() -> Callable[..., httpx2.AsyncClient]:
    def make(*, trust_env: bool = False, timeout: float = 5) -> httpx2.AsyncClient:
        context = ssl.create_default_context()
        transport = AiohttpTransport(trusted=context, most_connections=5, idle_seconds=5, trust_env=trust_env)
        return httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False)

    return make


async def test_a_request_goes_out_whole_and_is_told(client) -> None:
    told: list[str] = []
    on_sent.set(lambda: told.append("sent"))
    async with served(OK + b"Content-Length: 2\r\nX-One: 1\r\nX-One: 2\r\n\r\nhi") as (server, url), client() as http:
        answer = await http.post(f"{url}/a%2Fb?q=%7E", content=b"body", headers={"Authorization": "Bearer k"})
        again = await http.get(url)

    assert (answer.status_code, answer.text, again.text) == (200, "hi", "hi")
    assert answer.headers.get_list("x-one") == ["1", "2"]
    assert told == ["sent"], "a request without a body costs nothing"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a%2Fb?q=%7E HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer k\r\n" in head
    assert b"content-type" not in head.lower()
    assert head.lower().count(b"\r\nhost:") == head.lower().count(b"\r\ncontent-length:") == 1
    assert body == b"body"


async def test_packed_bodies_and_pieces_are_read(client) -> None:
    packed = gzip.compress(b"words " * 1000)
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (packed[:9], packed[9:])) + b"0\r\n\r\n"
    answer = OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces
    async with served(answer) as (_, url), client() as http:
        assert (await http.get(url)).text == "words " * 1000


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (b"", httpx2.ReadError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx2.RemoteProtocolError),
        (OK + b"Content-Length: 9\r\n\r\nhi", httpx2.RemoteProtocolError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi", httpx2.RemoteProtocolError),
    ],
    ids=["nothing", "no HTTP", "cut body", "cut piece"],
)
async def test_answers_that_break_off_are_httpx2s_errors(client, answer: bytes, meaning: type[Exception]) -> None:
    async with served(answer, stays=False) as (_, url), client() as http:
        with pytest.raises(meaning):
            await http.post(url, content=b"x")


async def test_who_does_not_answer_is_a_timeout_and_who_is_not_there_no_connection(client) -> None:
    async with served(b"") as (_, url), client(timeout=0.1) as http:
        with pytest.raises(httpx2.ReadTimeout):
            await http.get(url)
    async with client() as http:
        with pytest.raises(httpx2.ConnectError):
            await http.get(url)
        with pytest.raises(httpx2.UnsupportedProtocol):
            await http.get("ftp://127.0.0.1/")


async def test_who_stops_reading_hangs_up(client) -> None:
    async with served(OK + b"Content-Length: 9\r\n\r\nhi") as (server, url), client() as http:
        async with http.stream("GET", url) as answer:
            pieces = answer.aiter_bytes()
            assert await anext(pieces) == b"hi"
            await pieces.aclose()
        await asyncio.wait_for(server.closed.wait(), 5)


async def test_a_proxy_of_the_environment_is_asked_only_where_it_is_trusted(client, monkeypatch) -> None:
    async with served(OK + b"Content-Length: 5\r\n\r\nproxy") as (server, url):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with client(trust_env=True) as http:
            assert (await http.get("http://model.example/v1")).text == "proxy"
        assert server.requests[0].startswith(b"GET http://model.example/v1 HTTP/1.1\r\n")
        async with served(OK + b"Content-Length: 6\r\n\r\ndirect") as (_, straight), client() as http:
            assert (await http.get(straight)).text == "direct"
