"""Web requests with a credential that is meant for one host."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from apps.library.blocks.base import BlockContext, Category, CredentialsRef, credentials_field
from apps.library.blocks.reaching import ReachingBlock
from apps.library.blocks.service_call import secret_of
from apps.library.blocks.web import WebAnswerPins, WebRequestPins, send
from apps.library.credentials.hosts import host_fits
from apps.library.errors import BlockError


class SendAuthenticatedWebRequest(ReachingBlock["SendAuthenticatedWebRequest.Input"]):
    """Sends a web request with the headers of a credential."""

    id = "fff86bcd-e001-4bad-a7f6-2eae4720c8dc"
    name = "Send Authenticated Web Request"
    description = "Sends an HTTP request with a credential, which goes to its own host only."
    categories = frozenset({Category.DEVELOPER_TOOLS, Category.OUTPUT})
    is_sensitive_action = True

    class Input(WebRequestPins):
        """Its input pins."""

        credentials: CredentialsRef = credentials_field("http", types=("host_scoped",))

    class Output(WebAnswerPins):
        """Its output pins."""

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Send it; redirects aren't followed, whose end the credential isn't meant for."""
        secret = secret_of(context)
        if not host_fits(secret.host, inputs.url.strip()):
            raise BlockError("The credential isn't meant for the host of this URL.")
        headers = {str(name).lower(): str(value) for name, value in secret.values.get("headers", {}).items()}
        yield await send(inputs, context, allow=self.allow, secret_headers=headers, max_redirects=0)
