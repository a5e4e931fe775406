"""The blocks for MCP servers and for e-mail, against real servers of both protocols."""

from __future__ import annotations

import asyncio
import datetime
import gc
import socket
import ssl
import threading
import time
import warnings
from types import SimpleNamespace

import pytest
import uvicorn
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from apps.library import api_client
from apps.library.blocks import email
from apps.library.blocks.base import Secret
from apps.library.blocks.email import SendEmail
from apps.library.blocks.mcp_tool import MCPTool
from apps.library.errors import BlockError
from tests.library.service_blocks.conftest import CREDENTIALS, context_for, run_block
from tests.services import free_port

# MCP --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mcp_server():
    """A server of the protocol's own SDK, on a thread; it notes the keys that it was shown."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    @server.tool(structured_output=False)
    def greet(name: str) -> str:
        return f"Hello {name}"

    @server.tool(structured_output=False)
    def tell(text: str) -> str:
        return text

    @server.tool()
    def fail() -> str:
        raise ValueError("out of paper")

    app = server.streamable_http_app()
    keys: list[str] = []

    async def noting(scope, receive, send):
        if scope["type"] == "http":
            keys.append(dict(scope["headers"]).get(b"x-key", b"").decode())
        await app(scope, receive, send)

    port = free_port()
    running = uvicorn.Server(uvicorn.Config(noting, port=port, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}/mcp", place=f"127.0.0.1:{port}", keys=keys)
    running.should_exit = True
    thread.join(10)


def call(server, tool, context=None, **arguments):
    data = {"server_url": server.url, "selected_tool": tool, "tool_arguments": arguments}
    return run_block(MCPTool(allow=(server.place,)), data, context)


async def test_a_tool_is_called(mcp_server):
    assert await call(mcp_server, "add", a=2, b=3) == {"result": [{"sum": 5}]}
    assert await call(mcp_server, "greet", name="Ada") == {"result": ["Hello Ada"]}
    assert await call(mcp_server, "tell", text='[{"a": 1}]') == {"result": [[{"a": 1}]]}
    for text in ("", "5", "null", '{"a": 1} and more'):
        assert await call(mcp_server, "tell", text=text) == {"result": [text]}


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("fail", {}, "out of paper|failed"),
        ("nobody", {}, "nobody"),
        ("add", {"a": "x"}, "failed"),
        ("", {}, "Choose a tool"),
    ],
)
async def test_a_call_that_fails_says_why(mcp_server, tool, arguments, words):
    with pytest.raises(BlockError, match=words):
        await call(mcp_server, tool, **arguments)


async def test_arguments_are_checked_by_the_stored_schema(mcp_server):
    data = {"server_url": mcp_server.url, "selected_tool": "add", "tool_input_schema": {"required": ["a", "b"]}}
    with pytest.raises(BlockError, match="needs: a, b"):
        await run_block(MCPTool(allow=(mcp_server.place,)), data)


async def test_a_credential_goes_to_its_own_server_only(mcp_server):
    held = {"headers": {"X-Key": "the-secret"}}
    mcp_server.keys.clear()
    mine = context_for(secrets={"credentials": Secret("mcp", "host_scoped", held, mcp_server.place)})
    await call(mcp_server, "add", mine, a=1, b=1)
    assert set(mcp_server.keys) == {"the-secret"}
    mcp_server.keys.clear()
    other = context_for(secrets={"credentials": Secret("mcp", "host_scoped", held, "mcp.example.com")})
    with pytest.raises(BlockError, match="isn't meant"):
        await call(mcp_server, "add", other, a=1, b=1)
    assert not mcp_server.keys


async def test_inner_servers_are_refused(mcp_server):
    with pytest.raises(BlockError, match="can't be asked"):
        await run_block(MCPTool, {"server_url": mcp_server.url, "selected_tool": "add"})


@pytest.mark.parametrize(
    "answer",
    [(200, b"<html>"), (500, b""), (401, {}), (404, {}), (200, {"x": 1}), (302, b"", {"Location": "http://10.0.0.1/"})],
)
async def test_what_is_no_mcp_server_is_told(service, answer):
    service.on("POST", "/mcp", answer)
    server = SimpleNamespace(url=f"{service.url}/mcp", place=service.place)
    with pytest.raises(BlockError):
        await call(server, "add")


async def test_a_server_that_is_away_is_told():
    place = f"127.0.0.1:{free_port()}"
    with pytest.raises(BlockError, match="can't be reached"):
        await call(SimpleNamespace(url=f"http://{place}/mcp", place=place), "add")


# E-mail -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost, which is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder


class Inbox:
    def __init__(self):
        self.envelopes = []
        self.passwords = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address.startswith("nobody"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if b"spam" in envelope.content:
            return "554 looks like spam"
        self.envelopes.append(envelope)
        return "250 OK"


@pytest.fixture
def mail(certificate, monkeypatch):
    """A mail server that wants TLS and a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    inbox = Inbox()

    class Server(Controller):
        offers_tls = True

        def factory(self):
            def check(server, session, envelope, mechanism, data):
                inbox.passwords.append(data.password)
                is_right = (data.login, data.password) == (b"ada@example.com", b"good")
                return AuthResult(success=is_right, handled=False)  # so that the server says so itself

            made = SMTP(
                self.handler,
                authenticator=check,
                auth_required=self.offers_tls,
                auth_require_tls=self.offers_tls,
                tls_context=context if self.offers_tls else None,
            )
            talks.append(made)
            return made

    servers, talks = [], []

    def start(offers_tls=True):
        server = Server(inbox, hostname="127.0.0.1", port=free_port())
        server.offers_tls = offers_tls
        server.start()
        servers.append(server)
        monkeypatch.setattr(api_client, "LOCAL_PLACES", frozenset({f"localhost:{server.port}"}))
        return server.port

    monkeypatch.setattr(email, "tls_context", lambda: ssl.create_default_context(cafile=str(certificate / "cert.pem")))
    yield SimpleNamespace(start=start, inbox=inbox)
    deadline = time.monotonic() + 2
    while any(talk.transport is not None for talk in talks) and time.monotonic() < deadline:
        time.sleep(0.01)  # a server that stops while it talks leaves its transports open
    for server in servers:
        # What it closed last, beneath TLS too, is only gone after some rounds of its loop.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), server.loop).result(5)
        server.stop()
    with warnings.catch_warnings():  # what the server left open is collected here, and not in somebody else's test
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def letter(port, **more):
    config = {"smtp_server": "localhost", "smtp_port": port}
    return {**CREDENTIALS, "to_email": "bob@example.com", "subject": "Grüße", "body": "Hällo", "config": config, **more}


def sender(username="ada@example.com", password="good"):  # noqa: S107
    held = {"username": username, "password": password}
    return context_for(secrets={"credentials": Secret("smtp", "user_password", held)})


def test_a_letter_that_lacks_something_is_refused():
    for missing in ("to_email", "subject", "body", "config"):
        with pytest.raises(ValidationError):
            SendEmail.Input.model_validate({key: value for key, value in letter(25).items() if key != missing})


async def test_an_email_is_sent_over_tls(mail):
    port = mail.start()
    assert await run_block(SendEmail, letter(port), sender()) == {"status": ["Email sent successfully"]}
    [envelope] = mail.inbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("ada@example.com", ["bob@example.com"])
    import email as standard
    from email import policy

    message = standard.message_from_bytes(envelope.content, policy=policy.default)
    assert (message["Subject"], message.get_content().strip()) == ("Grüße", "Hällo")


@pytest.mark.parametrize(
    ("more", "who", "words"),
    [
        ({}, {"password": "bad"}, "doesn't accept the credential"),
        ({"to_email": "nobody@example.com"}, {}, "refuses the recipient"),
        ({"body": "spam"}, {}, "refuses this: 554"),
        ({"to_email": "a@b, c@d"}, {}, "no e-mail address"),
        ({"to_email": "bob@example.com\r\nBcc: eve@example.com"}, {}, "no e-mail address"),
        ({"subject": "x\r\nBcc: eve@example.com"}, {}, "one line"),
        ({}, {"username": "a b"}, "sender's address"),
    ],
)
async def test_what_can_not_be_sent_says_why(mail, more, who, words):
    port = mail.start()
    with pytest.raises(BlockError, match=words) as caught:
        await run_block(SendEmail, letter(port, **more), sender(**who))
    assert not mail.inbox.envelopes
    assert "good" not in str(caught.value)


async def test_the_password_is_not_said_without_tls(mail):
    port = mail.start(offers_tls=False)
    with pytest.raises(BlockError, match="can't be reached safely"):
        await run_block(SendEmail, letter(port), sender())
    assert not mail.inbox.passwords


async def test_a_server_with_a_foreign_certificate_is_not_trusted(mail, monkeypatch):
    monkeypatch.setattr(email, "tls_context", ssl.create_default_context)
    port = mail.start()
    with pytest.raises(BlockError, match="can't be reached safely"):
        await run_block(SendEmail, letter(port), sender())


@pytest.mark.parametrize(
    ("server", "port", "words"),
    [
        ("127.0.0.1", 25, "can't be asked"),
        ("localhost", 587, "can't be asked"),
        ("10.0.0.1", 465, "can't be asked"),
        ("mail.example.com", 6379, "port 465"),
        ("no such host", 25, "can't be asked|can't be resolved"),
    ],
)
async def test_only_mail_servers_of_the_internet_are_asked(server, port, words):
    data = letter(port, config={"smtp_server": server, "smtp_port": port})
    with pytest.raises(BlockError, match=words):
        await run_block(SendEmail, data, sender())


async def test_a_mail_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(email, "STEP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(api_client, "LOCAL_PLACES", frozenset({f"localhost:{port}"}))
        with pytest.raises(BlockError, match=r"can't be reached safely|in time"):
            await run_block(SendEmail, letter(port), sender())


async def test_without_a_credential_nothing_is_sent(mail):
    with pytest.raises(BlockError, match="needs a credential"):
        await run_block(SendEmail, letter(mail.start()), context_for())
