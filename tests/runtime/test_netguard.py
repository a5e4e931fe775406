"""The address guard: what it refuses, that it can't be led around the check, and that every fetch is bounded."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.runtime.netguard import (
    AddressRefused,
    FetchedPage,
    FetchFailed,
    check_address,
    check_url,
    fetch,
    guarded_client,
)
from tests.chat.tools.local_http import LocalServer, http, local_server, redirect

PUBLIC = "93.184.215.14"


@pytest_asyncio.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with local_server() as running:
        yield running


class Resolver:
    """Gives its answers one after the other, then the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Wire(httpcore2.AsyncNetworkBackend):
    """Stands for the network: notes where connections go and leads them all to one local port."""

    def __init__(self, port: int, dead: Iterable[str] = ()) -> None:
        self.port = port
        self.dead = set(dead)
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, port: int, *rest: Any, **more: Any) -> httpcore2.AsyncNetworkStream:
        self.connected.append(host)
        if host in self.dead:
            raise httpcore2.ConnectError("no route")
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


async def get(url: str, **options: Any) -> FetchedPage:
    return await fetch(url, **{"max_bytes": 100_000, "timeout_seconds": 5.0, **options})


REFUSED_ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::7f00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%1",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", PUBLIC, "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_public_addresses_pass(address: str) -> None:
    assert check_address(address) == ipaddress.ip_address(address)


@given(st.ip_addresses())
def test_nothing_that_python_knows_as_inner_passes(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    try:
        check_address(address)
    except AddressRefused:
        return
    plain = getattr(address, "ipv4_mapped", None) or address
    inner = plain.is_private or plain.is_loopback or plain.is_link_local or plain.is_multicast or plain.is_unspecified
    assert not inner


REFUSED_URLS = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,x",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "/path",
    "",
    "http://",
    "http:///path",
    "http://?q",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST:8000/",
    "http://localhost./",
    "http://app.localhost/",
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://0x/",
    "http://0/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1.1/",
    "http://256.256.256.256/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://１２７.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[0:0:0:0:0:ffff:7f00:1]/",
    "http://[fd00:ec2::254]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1/",
    "http://exa mple.com/",
    "http://example.com:22/",
    "http://example.com:6667/",
    "http://example.com:0/",
    "http://example.com:70000/",
    "http://example.com:-1/",
    "http://example.com:port/",
    "http://exam\nple.com/",
    "http://example.com\r\nHost: inner/",
    "http://a..b/",
    "http://xn--..a/",
    "http://" + "a" * 300 + ".com/",
    "http://" + "a." * 200 + "com/",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_urls_are_refused_before_anything_is_resolved(url: str) -> None:
    resolver = Resolver([PUBLIC])
    with pytest.raises(AddressRefused):
        check_url(url)
    async with guarded_client(timeout_seconds=1, resolver=resolver, inner=Wire(1)) as client:
        with pytest.raises(AddressRefused):
            await get(url, client=client)
    assert resolver.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "HTTPS://Example.COM./a?b#c",
        "http://8.8.8.8/",
        "http://[2606:4700::1]:8080/",
        "https://bücher.example/",
        "http://a_b.example:8000/",
        "http://example.com:80/",
        "http://0x7f.example/",
        "http://10.0.0.1.nip.example/",
    ],
)
def test_ordinary_urls_pass(url: str) -> None:
    assert check_url(url).scheme in ("http", "https")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"https?://[^/]{0,30}/?", fullmatch=True))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        check_url(text)
    except AddressRefused:
        return


@pytest.mark.parametrize(
    "answers",
    [["10.0.0.1"], [PUBLIC, "127.0.0.1"], ["2606:4700::1", "::1"], ["fe80::1%2"], ["::ffff:10.0.0.1"], ["0.0.0.0"]],
)
async def test_every_address_of_a_name_is_checked(answers: list[str]) -> None:
    wire = Wire(1)
    async with guarded_client(timeout_seconds=1, resolver=Resolver(answers), inner=wire) as client:
        with pytest.raises(AddressRefused) as refused:
            await get("http://inner.example/", client=client)
    assert wire.connected == []
    assert not any(answer in str(refused.value) for answer in answers), "inner addresses are not told"


async def test_the_connection_goes_to_the_address_that_was_checked(server: LocalServer) -> None:
    """A name that answers with a public address first and an inner one afterwards."""
    server.answers["/"] = http(b"hello")
    wire, resolver = Wire(server.port), Resolver([PUBLIC], ["127.0.0.1"])
    async with guarded_client(timeout_seconds=2, resolver=resolver, inner=wire) as client:
        page = await get("http://rebind.example/", client=client)
        assert page.body == b"hello"
        assert wire.connected == [PUBLIC]
        assert resolver.asked == ["rebind.example"], "one question, one answer: no second look-up to lie to"
        assert server.requests[0][2]["host"] == "rebind.example"
        with pytest.raises(AddressRefused):
            await get("http://rebind.example/", client=client)
    assert wire.connected == [PUBLIC]


async def test_the_next_address_is_tried_and_attempts_are_few(server: LocalServer) -> None:
    server.answers["/"] = http(b"hello")
    wire = Wire(server.port, dead={"2606:4700::1"})
    async with guarded_client(timeout_seconds=2, resolver=Resolver(["2606:4700::1", PUBLIC]), inner=wire) as client:
        assert (await get("http://two.example/", client=client)).status_code == 200
    assert wire.connected == ["2606:4700::1", PUBLIC]
    many = [f"8.8.8.{n}" for n in range(20)]
    wire = Wire(server.port, dead=many)
    async with guarded_client(timeout_seconds=2, resolver=Resolver(many), inner=wire) as client:
        with pytest.raises(FetchFailed, match="reached"):
            await get("http://many.example/", client=client)
    assert len(wire.connected) == 4


@pytest.mark.parametrize("answers", [[], ["8.8.8.8"] * 1000])
async def test_no_or_absurdly_many_answers_fail(answers: list[str]) -> None:
    async with guarded_client(timeout_seconds=1, resolver=Resolver(answers), inner=Wire(1)) as client:
        with pytest.raises(FetchFailed) as failed:
            await get("http://none.example/", client=client)
    assert failed.value.reason == "network"


async def test_the_systems_resolver_is_checked_too() -> None:
    """`localhost` under another name can't be had here, so the real resolver is asked for a literal."""
    from apps.runtime.netguard import GuardedBackend, resolve

    assert await resolve("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises(AddressRefused):
        await GuardedBackend().connect_tcp("127.0.0.1", 80, timeout=1)
    with pytest.raises(AddressRefused):
        await GuardedBackend().connect_unix_socket("/run/docker.sock")


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:1/",
        "http://169.254.169.254/latest/",
        "http://[::1]/",
        "http://2130706433/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "//localhost/x",
        "http://user:pw@example.com/",
        "http://inner.example/",
    ],
)
async def test_a_redirect_meets_the_same_checks(server: LocalServer, target: str) -> None:
    server.answers |= {"/a": redirect("/b"), "/b": redirect(target)}
    resolver = Resolver(["127.0.0.1"])
    async with guarded_client(timeout_seconds=2, allow=[server.place], resolver=resolver) as client:
        with pytest.raises(AddressRefused):
            await get(server.url("/a"), client=client)
        with pytest.raises(AddressRefused):
            await client.get(server.url("/a"), follow_redirects=True)
    assert [path for _, path, _ in server.requests] == ["/a", "/b"] * 2


async def test_redirects_are_followed_and_counted(server: LocalServer) -> None:
    server.answers |= {"/a": redirect("b"), "/b": redirect("/c?d=1", "307 T"), "/c": http(b"end"), "/o": redirect("/o")}
    page = await get(server.url("/a"), allow=[server.place])
    assert (page.url, page.body) == (server.url("/c?d=1"), b"end")
    with pytest.raises(FetchFailed) as failed:
        await get(server.url("/o"), allow=[server.place], max_redirects=3)
    assert failed.value.reason == "redirects"
    assert [path for _, path, _ in server.requests].count("/o") == 4


async def test_headers_for_one_origin_do_not_follow_to_another(server: LocalServer) -> None:
    async with local_server() as other:
        server.answers |= {"/": redirect("/same"), "/same": redirect(other.url())}
        other.answers["/"] = http(b"end")
        headers = {"X-Api-Key": "secret", "Authorization": "Bearer secret", "User-Agent": "us"}
        await get(server.url(), allow=[server.place, other.place], headers=headers)
        assert [request[2].get("x-api-key") for request in server.requests] == ["secret", "secret"]
        arrived = other.requests[0][2]
    assert "secret" not in str(arrived)
    assert arrived["user-agent"] == "us"


async def test_the_environments_proxy_is_ignored(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{server.place}")
    wire = Wire(1, dead={PUBLIC})
    async with guarded_client(timeout_seconds=1, resolver=Resolver([PUBLIC]), inner=wire) as client:
        assert not client.trust_env, "netrc would add credentials"
        with pytest.raises(FetchFailed):
            await get("http://example.com/", client=client)
    assert (wire.connected, server.requests) == ([PUBLIC], [])


async def test_the_allow_list_names_host_and_port(server: LocalServer) -> None:
    server.answers["/"] = http(b"ok")
    assert (await get(server.url(), allow=[server.place])).body == b"ok"
    for other in ([], ["127.0.0.1"], ["127.0.0.1:1"], [f"localhost:{server.port}"]):
        with pytest.raises(AddressRefused):
            await get(server.url(), allow=other)


def streamed(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", "Connection: close", "Content-Type: text/plain", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def test_a_body_that_is_too_large(server: LocalServer) -> None:
    server.answers |= {"/exact": streamed(b"x" * 1000), "/more": streamed(b"x" * 1001)}
    page = await get(server.url("/exact"), allow=[server.place], max_bytes=1000)
    assert (len(page.body), page.truncated) == (1000, False)
    with pytest.raises(FetchFailed) as failed:
        await get(server.url("/more"), allow=[server.place], max_bytes=1000)
    assert failed.value.reason == "too_large"
    page = await get(server.url("/more"), allow=[server.place], max_bytes=1000, truncate=True)
    assert (len(page.body), page.truncated) == (1000, True)


async def test_a_decompression_bomb_is_cut_off(server: LocalServer) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(squeeze.compress(b"\0" * 2**20) for _ in range(200)) + squeeze.flush()
    assert len(bomb) < 400_000
    server.answers["/"] = streamed(bomb, "Content-Encoding: gzip")
    began = time.monotonic()
    page = await get(server.url(), allow=[server.place], max_bytes=500_000, truncate=True)
    assert (len(page.body), page.truncated) == (500_000, True)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("coding", ["gzip, gzip", "deflate,gzip", "br", "zstd", "x", "gzip;q=1"])
async def test_unknown_and_stacked_codings_are_refused(server: LocalServer, coding: str) -> None:
    server.answers["/"] = streamed(gzip.compress(gzip.compress(b"x")), f"Content-Encoding: {coding}")
    with pytest.raises(FetchFailed) as failed:
        await get(server.url(), allow=[server.place])
    assert failed.value.reason == "encoding"


async def test_broken_answers_fail_clearly(server: LocalServer) -> None:
    server.answers |= {
        "/gzip": streamed(b"not gzip at all", "Content-Encoding: gzip"),
        "/rubbish": b"\x00\x01rubbish\r\n\r\n",
        "/empty": b"",
        "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        "/headers": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
        "/nowhere": redirect("http://[::1"),
    }
    for path in server.answers:
        if path == "/nowhere":
            assert (await get(server.url(path), allow=[server.place])).status_code == 302
            continue
        with pytest.raises(FetchFailed) as failed:
            await get(server.url(path), allow=[server.place])
        assert failed.value.reason in ("encoding", "protocol", "network"), path


async def test_an_unwanted_type_is_refused_before_its_body(server: LocalServer) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: Video/MP4; x=y\r\n\r\n")
        await asyncio.sleep(30)

    server.answers["/"] = endless
    seen: list[str] = []

    def refuse(kind: str) -> bool:
        seen.append(kind)
        return False

    with pytest.raises(FetchFailed) as failed:
        await get(server.url(), allow=[server.place], accept=refuse)
    assert (failed.value.reason, seen) == ("content_type", ["video/mp4"])
    await asyncio.wait_for(server.client_gone.wait(), 10)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Never pause long enough for a read time-out, never end."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [drip, drip_headers])
async def test_a_slow_drip_is_ended_by_the_overall_bound(server: LocalServer, answer: Any) -> None:
    server.answers["/"] = answer
    for bound in (0.3, 1, 5):
        began = time.monotonic()
        with pytest.raises(FetchFailed) as failed:
            await get(server.url(), allow=[server.place], timeout_seconds=bound)
        assert failed.value.reason == "timeout"
        assert 0.8 * bound < time.monotonic() - began < bound + 10
        if server.asked.is_set():  # else this machine took all the time to send the request
            break
    await asyncio.wait_for(server.client_gone.wait(), 10)


async def test_a_resolver_that_hangs_is_ended() -> None:
    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(30)
        return []

    async with guarded_client(timeout_seconds=0.2, resolver=hang) as client:
        with pytest.raises(FetchFailed) as failed:
            await get("http://slow.example/", client=client)
    assert failed.value.reason == "timeout"


async def test_cancelling_closes_the_connection(server: LocalServer) -> None:
    server.answers["/"] = drip
    task = asyncio.create_task(get(server.url(), allow=[server.place]))
    await asyncio.wait_for(server.asked.wait(), 2)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(server.client_gone.wait(), 10)
    assert time.monotonic() - began < 10


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a server's context and one that trusts only it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    file = folder / "server.pem"
    file.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(file)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=pem.decode())
    return serving, trusting


async def test_tls_is_verified_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    serving, trusting = certificate("shop.example", tmp_path)
    async with local_server(serving) as server:
        server.answers["/"] = http(b"secure")
        options: dict[str, Any] = {"timeout_seconds": 2, "resolver": Resolver([PUBLIC]), "inner": Wire(server.port)}
        async with guarded_client(**options, ssl_context=trusting) as client:
            assert (await get("https://shop.example/", client=client)).body == b"secure"
            with pytest.raises(FetchFailed, match="certificate"):
                await get("https://other.example/", client=client)
        async with guarded_client(**options) as client:
            with pytest.raises(FetchFailed, match="certificate"):
                await get("https://shop.example/", client=client)
        assert len(server.requests) == 1


async def test_other_methods_can_be_sent(server: LocalServer) -> None:
    server.answers |= {"/": redirect("/done", "303 See Other"), "/done": http(b"{}", content_type="application/json")}
    page = await get(server.url(), allow=[server.place], method="POST", content=b"a=1", headers={"X-A": "b"})
    assert [(method, path) for method, path, _ in server.requests] == [("POST", "/"), ("GET", "/done")]
    assert page.headers["content-type"] == "application/json"
    assert isinstance(page.headers, dict)
    assert httpx2.Headers(page.headers)
