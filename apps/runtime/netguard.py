"""The address guard: every fetch of an address that a user or a model chose goes through here.

What is refused is decided three times: on the URL (scheme, credentials, port, odd spellings of numbers), on every
address that the name resolves to, and at connect time, because the connection is made to the very address that was
checked: a name that answers differently a moment later gains nothing. A redirect is a new request and meets it all
again. Proxy settings of the environment are ignored, since a proxy would resolve names behind the guard's back.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import httpcore2
import httpx2

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
FailureReason = Literal["timeout", "network", "protocol", "redirects", "encoding", "too_large", "content_type"]

MAX_CONNECT_ATTEMPTS: Final = 4  # addresses tried a connection: more would only wait longer for a dead host
MAX_ADDRESSES: Final = 64  # answers of one name: no honest one has more
_SCHEMES: Final = frozenset({"http", "https"})

# Spelled out, because `is_global` differs between patch releases of Python.
_REFUSED_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; 100.100.100.200 is a cloud's metadata service
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; 169.254.169.254 is most clouds' metadata service
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata service
        "192.0.2.0/24",
        "192.88.99.0/24",  # the retired 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # public, yet a cloud's own channel to its machines
    )
)
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")  # all that is handed out; fd00:ec2::254 and kin are outside
_REFUSED_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo (which embeds IPv4) among them
        "2001:db8::/32",
        "2002::/16",  # 6to4, which embeds IPv4
        "3fff::/20",
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

# The ports that browsers refuse (the Fetch standard's "bad ports"): services that can be made to take an HTTP
# request for their own protocol. All others are allowed.
_REFUSED_PORTS: Final = frozenset(
    {0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109}
    | {110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530}
    | {531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190}
    | {5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Stacked codings could expand a little input into hours of decoding that yields nothing.
_CODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
# What may follow a redirect to another origin; other headers of the caller may be keys meant for the first one.
_CARRIED_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type", "host"}
    | {"transfer-encoding", "user-agent"}
)


class AddressRefused(Exception):
    """The address is not one that this server may fetch; the text says why, without naming inner addresses."""


class FetchFailed(Exception):
    """The fetch was allowed but did not work; `reason` is a machine code, the text a sentence."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        """Keep the code beside the sentence."""
        self.reason = reason
        super().__init__(detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPage:
    """What was fetched.

    Attributes:
        url: Where the body came from, after redirects.
        status_code: The HTTP status; error statuses are answers too.
        headers: Names in lower case; of repeated headers, all values joined by commas.
        content_type: The media type in lower case without parameters; empty when none was sent.
        charset: The charset that the server named, or None.
        body: The decoded body, at most `max_bytes` long.
        truncated: True where the body went on.
    """

    url: str
    status_code: int
    headers: Mapping[str, str]
    content_type: str
    charset: str | None
    body: bytes
    truncated: bool


def check_address(address: str | IPAddress) -> IPAddress:
    """Refuse every address that isn't on the public internet.

    IPv4 embedded in IPv6 is judged as that IPv4 address where the machine itself would reach it (mapped addresses,
    the well-known NAT64 prefix); 6to4, Teredo and local NAT64 prefixes are refused whole.

    Args:
        address: An address, plain or as text.

    Returns:
        The address, parsed.

    Raises:
        AddressRefused: If it isn't public, has a zone, or isn't an address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise AddressRefused("That isn't an address.") from None
    if isinstance(parsed, ipaddress.IPv4Address):
        if any(parsed in network for network in _REFUSED_V4):
            raise AddressRefused("The address isn't on the public internet.")
        return parsed
    if parsed.scope_id is not None:
        raise AddressRefused("Addresses with a zone are not fetched.")
    embedded = parsed.ipv4_mapped
    if parsed in _NAT64:
        embedded = ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)
    if embedded is not None:
        check_address(embedded)
    elif parsed not in _GLOBAL_V6 or any(parsed in network for network in _REFUSED_V6):
        raise AddressRefused("The address isn't on the public internet.")
    return parsed


def check_host(host: str) -> None:
    """Refuse hosts that are a refused address, this machine, or an unusual spelling of a number.

    Args:
        host: A host name, IPv4 address or IPv6 address (without brackets), in ASCII.

    Raises:
        AddressRefused: If it may not be fetched. A name that passes is still to be resolved and checked.
    """
    host = host.lower()
    if ":" in host:
        check_address(host)
        return
    if not _NAME.fullmatch(host) or len(host) > 254:
        raise AddressRefused("The host name is malformed.")
    labels = host.removesuffix(".").split(".")
    if labels[-1] == "localhost":
        raise AddressRefused("This machine's own services are not fetched.")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # Resolvers read 127.1, 0177.0.0.1, 0x7f.1 and 2130706433 as addresses; only the plain form is clear.
        check_address(".".join(labels))


def check_url(url: str | httpx2.URL, *, allow: Collection[str] = ()) -> httpx2.URL:
    """Refuse URLs that are not http(s), carry credentials, or name a refused host or port.

    Args:
        url: A full URL.
        allow: `host:port` pairs (`[::1]:8000` for IPv6) whose host and port are not checked.

    Returns:
        The URL, parsed once: what was checked is what is fetched.

    Raises:
        AddressRefused: If it may not be fetched.
    """
    parsed = _parse(url)
    if parsed.scheme not in _SCHEMES:
        raise AddressRefused("Only full http:// and https:// URLs are fetched.")
    if parsed.userinfo:
        raise AddressRefused("URLs with a user name or password are not fetched.")
    host = parsed.raw_host.decode("ascii")
    if not host:
        raise AddressRefused("The URL names no host.")
    port = _port(parsed)
    if _host_port(host, port) not in allow:
        check_host(host)
        if port in _REFUSED_PORTS or not 0 < port < 65536:
            raise AddressRefused(f"Port {port} is not fetched.")
    return parsed


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver.

    Args:
        host: A name or an address.
        port: Where it will be connected to.

    Returns:
        All addresses, the preferred first.

    Raises:
        OSError: If there is no answer.
    """
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections only to addresses that it has checked itself."""

    def __init__(
        self,
        *,
        allow: Collection[str] = (),
        resolver: Resolver | None = None,
        inner: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        """Set up.

        Args:
            allow: `host:port` pairs whose addresses are not checked.
            resolver: Answers names; the system's by default.
            inner: Opens the connection to an address.
        """
        self._allow = frozenset(allow)
        self._resolver = resolver or resolve
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check every answer, and connect to the answers that were checked.

        TLS comes later and is verified against the URL's host name, which this doesn't change.

        Raises:
            AddressRefused: If any address of the host is refused.
            httpcore2.ConnectError: If it can't be resolved or reached.
            httpcore2.ConnectTimeout: If it takes longer than `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._checked_addresses(host, port)
                attempts = addresses[:MAX_CONNECT_ATTEMPTS]
                # One address that swallows packets must not use up the time of the next.
                share = None if timeout is None else timeout / len(attempts)
                return await self._connect_first(attempts, port, share, local_address, socket_options)
        except TimeoutError:
            raise httpcore2.ConnectTimeout("The host doesn't answer.") from None

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: sockets of this machine are never meant.

        Raises:
            AddressRefused: Always.
        """
        raise AddressRefused("This machine's own services are not fetched.")

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts."""
        await asyncio.sleep(seconds)

    async def _checked_addresses(self, host: str, port: int) -> list[str]:
        allowed = _host_port(host, port) in self._allow
        if not allowed:
            check_host(host)
        try:
            answers = list(await self._resolver(host, port))
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("The host name can't be resolved.") from None
        if not 0 < len(answers) <= MAX_ADDRESSES:
            raise httpcore2.ConnectError("The host name can't be resolved.")
        # One inner address among public ones is a rebinding attack or a mistake: neither is fetched.
        return answers if allowed else [str(check_address(answer)) for answer in answers]

    async def _connect_first(
        self,
        addresses: Sequence[str],
        port: int,
        seconds_each: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        options = None if socket_options is None else list(socket_options)
        for address in addresses[:-1]:
            try:
                return await self._inner.connect_tcp(address, port, seconds_each, local_address, options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(addresses[-1], port, seconds_each, local_address, options)


class _GuardedTransport(httpx2.AsyncHTTPTransport):
    """Checks each request's URL and each answer's coding, redirects included."""

    def __init__(self, backend: GuardedBackend, allow: frozenset[str], ssl_context: ssl.SSLContext) -> None:
        self._allow = allow
        # The base class can't be given a network backend, so its pool is made here and its __init__ left out.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context, max_connections=100, keepalive_expiry=5.0, network_backend=backend
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        check_url(request.url, allow=self._allow)
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "").strip().lower() not in _CODINGS:
            await response.aclose()
            raise httpx2.DecodingError("The answer has an unknown or stacked content coding.")
        return response


def guarded_client(
    *,
    timeout_seconds: float,
    allow: Collection[str] = (),
    resolver: Resolver | None = None,
    inner: httpcore2.AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx2.AsyncClient:
    """Make an HTTP client that can only reach the public internet.

    It doesn't follow redirects unless asked to; those it follows are checked too. It ignores the environment's
    proxies and netrc. It keeps cookies, so it is not to be shared between users.

    Args:
        timeout_seconds: For connecting, and for each read and write; not for the whole.
        allow: `host:port` pairs that are not checked, for tests and local development.
        resolver: Answers names; the system's by default.
        inner: Opens connections to checked addresses; for tests.
        ssl_context: Verifies servers; the system's trust by default.

    Returns:
        The client; the caller closes it.
    """
    allowed = frozenset(entry.lower() for entry in allow)
    backend = GuardedBackend(allow=allowed, resolver=resolver, inner=inner)
    transport = _GuardedTransport(backend, allowed, ssl_context or _default_ssl_context())
    return httpx2.AsyncClient(
        transport=transport, timeout=timeout_seconds, trust_env=False, headers={"Accept-Encoding": "gzip, deflate"}
    )


async def fetch(
    url: str,
    *,
    max_bytes: int,
    timeout_seconds: float,
    max_redirects: int = 5,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    accept: Callable[[str], bool] | None = None,
    truncate: bool = False,
    allow: Collection[str] = (),
    client: httpx2.AsyncClient | None = None,
) -> FetchedPage:
    """Fetch a URL, bounded in time and size; cancelling it closes the connection.

    Args:
        url: A full http(s) URL.
        max_bytes: Bound of the body, counted after decompression (and before it).
        timeout_seconds: Bound of everything together, redirects and body included.
        max_redirects: How many are followed. Headers of the caller stay behind when the origin changes.
        method: The HTTP method; redirects change it the way browsers do.
        headers: Further request headers.
        content: The request's body.
        accept: Says by the media type whether the body is wanted; asked before the body is read.
        truncate: Keep the beginning of a body that is too large, instead of failing.
        allow: `host:port` pairs that are not checked; for tests and local development.
        client: One made by `guarded_client` to use (`allow` is then its own); it isn't closed.

    Returns:
        The last answer.

    Raises:
        AddressRefused: If this URL, or one it redirects to, may not be fetched.
        FetchFailed: If it didn't work.
    """
    own = client or guarded_client(timeout_seconds=timeout_seconds, allow=allow)
    try:
        async with asyncio.timeout(timeout_seconds):
            request = own.build_request(method, _parse(url), headers=headers, content=content)
            response = await _follow(own, request, frozenset(name.lower() for name in headers or ()), max_redirects)
            try:
                return await _read(response, max_bytes, accept, truncate)
            finally:
                await response.aclose()
    except TimeoutError:
        raise FetchFailed("timeout", f"It took longer than {timeout_seconds:g} seconds.") from None
    except httpx2.TimeoutException:
        raise FetchFailed("timeout", "The server doesn't answer in time.") from None
    except (httpx2.NetworkError, OSError) as error:
        raise FetchFailed("network", f"The server can't be reached: {error or type(error).__name__}") from error
    except httpx2.DecodingError as error:
        raise FetchFailed("encoding", "The answer can't be decompressed.") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
        raise FetchFailed("protocol", "The server's answer can't be understood.") from error
    finally:
        if client is None:
            await own.aclose()


async def _follow(
    client: httpx2.AsyncClient, request: httpx2.Request, own_headers: frozenset[str], max_redirects: int
) -> httpx2.Response:
    """Send and follow redirects; the last answer is returned with its body unread."""
    for _ in range(max_redirects + 1):
        response = await client.send(request, stream=True, follow_redirects=False)
        following = response.next_request
        if following is None:
            return response
        await response.aclose()
        if _origin(following.url) != _origin(request.url):
            for name in own_headers - _CARRIED_HEADERS:
                following.headers.pop(name, None)
        request = following
    raise FetchFailed("redirects", f"It redirects more than {max_redirects} times.")


async def _read(
    response: httpx2.Response, max_bytes: int, accept: Callable[[str], bool] | None, truncate: bool
) -> FetchedPage:
    content_type = response.headers.get("content-type", "").split(",")[0].split(";")[0].strip().lower()
    if accept is not None and not accept(content_type):
        raise FetchFailed("content_type", f"Content of type {content_type[:100] or 'unknown'} can't be used here.")
    body = bytearray()
    truncated = False
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes or response.num_bytes_downloaded > max_bytes:
                truncated = True
                break
    if truncated and not truncate:
        raise FetchFailed("too_large", f"The answer is larger than {max_bytes} bytes.")
    return FetchedPage(
        url=str(response.url),
        status_code=response.status_code,
        headers=dict(response.headers),
        content_type=content_type,
        charset=response.charset_encoding,
        body=bytes(body[:max_bytes]),
        truncated=truncated,
    )


@lru_cache(maxsize=1)
def _default_ssl_context() -> ssl.SSLContext:
    """One context for all: loading the trusted certificates takes longer than most requests."""
    return httpx2.create_ssl_context()


def _parse(url: str | httpx2.URL) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
        _ = parsed.host  # decodes punycode, which may be broken; the client would only find out later
    except (httpx2.InvalidURL, UnicodeError):
        raise AddressRefused("That isn't a valid URL.") from None
    return parsed


def _port(url: httpx2.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _origin(url: httpx2.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, _port(url)
