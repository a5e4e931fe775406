"""Blocks for e-mail."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, Final

from pydantic import Field

from apps.library import api_client
from apps.library.blocks.base import Block, BlockContext, Category, CredentialsRef, Pins, credentials_field
from apps.library.blocks.service_call import secret_of
from apps.library.errors import BlockError
from apps.runtime import netguard

SEND_SECONDS: Final = 60.0
STEP_SECONDS: Final = 20.0
#: Where mail servers take mail; other ports are other services', which must not be reached.
PORTS: Final = frozenset({25, 465, 587, 2525})
TLS_PORT: Final = 465  # where TLS comes first; elsewhere it is asked for
_ADDRESS: Final = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}")


class SmtpConfig(Pins):
    """A mail server."""

    smtp_server: str = Field(min_length=1, max_length=255, description="Its host name.")
    smtp_port: int = Field(default=587, description="Its port: 465, 587, 25 or 2525.")


class SendEmail(Block["SendEmail.Input"]):
    """Sends an e-mail."""

    id = "4335878a-394e-4e67-adf2-919877ff49ae"
    name = "Send Email"
    description = "Sends an e-mail by your own mail server."
    categories = frozenset({Category.COMMUNICATION})
    is_sensitive_action = True

    class Input(Pins):
        """Its input pins."""

        to_email: str = Field(description="Whom it is for.")
        subject: str = Field(max_length=998, description="Its subject.")
        body: str = Field(description="What it says.")
        config: SmtpConfig = Field(description="The mail server.")
        credentials: CredentialsRef = credentials_field("smtp", types=("user_password",))

    class Output(Pins):
        """Its output pins."""

        status: str = Field(description="That it was sent.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Send it."""
        secret = secret_of(context)
        username, password = str(secret.values.get("username", "")), str(secret.values.get("password", ""))
        message = message_of(inputs, username)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message, inputs.config, username, password)
        except TimeoutError:
            raise BlockError("The mail server doesn't answer in time.") from None
        yield "status", "Email sent successfully"


def message_of(inputs: SendEmail.Input, username: str) -> EmailMessage:
    """Return the message.

    Raises:
        BlockError: When an address or the subject can't be used.
    """
    to, sender = inputs.to_email.strip(), username if "@" in username else f"{username}@{inputs.config.smtp_server}"
    if not _ADDRESS.fullmatch(to):
        raise BlockError("That is no e-mail address.")
    if not _ADDRESS.fullmatch(sender):
        raise BlockError("The credential's user name can't be used as the sender's address.")
    message = EmailMessage()
    try:
        message["From"], message["To"], message["Subject"] = sender, to, inputs.subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        message.set_content(inputs.body)
    except ValueError:
        raise BlockError("The subject must be one line, and the text must be text.") from None
    return message


async def send(message: EmailMessage, config: SmtpConfig, username: str, password: str) -> None:
    """Hand a message to a mail server. The password is only said over TLS.

    Raises:
        BlockError: When the server can't be used, or refuses.
    """
    import aiosmtplib

    connection = await connected(config.smtp_server.strip(), config.smtp_port)
    context = tls_context()
    client = aiosmtplib.SMTP(
        hostname=config.smtp_server,
        sock=connection,
        use_tls=config.smtp_port == TLS_PORT,
        start_tls=False,
        tls_context=context,
        timeout=STEP_SECONDS,
        local_hostname="localhost",
    )
    try:
        await client.connect()
        if config.smtp_port != TLS_PORT:
            await client.starttls(server_hostname=config.smtp_server, tls_context=context)
        try:
            await client.login(username, password)
            await client.send_message(message)
        finally:
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
    except aiosmtplib.SMTPAuthenticationError:
        raise BlockError("The mail server doesn't accept the credential.") from None
    except aiosmtplib.SMTPRecipientsRefused:
        raise BlockError("The mail server refuses the recipient.") from None
    except aiosmtplib.SMTPResponseException as error:
        raise BlockError(f"The mail server refuses this: {error.code} {error.message[:300]}") from None
    except (aiosmtplib.SMTPException, ssl.SSLError, OSError):
        raise BlockError("The mail server can't be reached safely.") from None
    finally:
        client.close()
        await asyncio.sleep(0)  # the transport closes its socket at the loop's next round
        connection.close()


async def connected(host: str, port: int) -> socket.socket:
    """Connect to a mail server on the public internet, at the very address that was checked.

    Raises:
        BlockError: When it isn't one, or can't be reached.
    """
    allowed = f"{host}:{port}" in api_client.LOCAL_PLACES
    if port not in PORTS and not allowed:
        raise BlockError("Mail servers are asked at port 465, 587, 25 or 2525 only.")
    try:
        if not allowed:
            netguard.check_host(host)
        addresses = await netguard.resolve(host, port)
        if not allowed:
            addresses = [str(netguard.check_address(address)) for address in addresses]
    except netguard.AddressRefused as error:
        raise BlockError(f"This mail server can't be asked. {error}") from None
    except (OSError, UnicodeError):
        raise BlockError("The mail server's name can't be resolved.") from None
    loop = asyncio.get_running_loop()
    for address in addresses[:4]:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        is_open = False
        try:
            async with asyncio.timeout(STEP_SECONDS / 2):
                await loop.sock_connect(made, (address, port))
            is_open = True
            return made
        except (OSError, TimeoutError):
            continue
        finally:
            if not is_open:
                made.close()
    raise BlockError("The mail server can't be reached.")


def tls_context() -> ssl.SSLContext:
    """Return what verifies mail servers."""
    return ssl.create_default_context()
