"""What a call says: its payload, and which delivery it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError

from apps.library.models import Webhook
from apps.runtime.rest import check_json

MOST_FIELDS = 1000  # of a form
LONGEST_ID = 200  # characters that a row holds
#: Where a service that isn't known may name its delivery; the first that is there counts.
GENERIC_IDS = ("X-Delivery-ID", "Webhook-ID", "Idempotency-Key")
SIGNATURES = {
    Webhook.Provider.GITHUB: "X-Hub-Signature-256",
    Webhook.Provider.SLACK: "X-Slack-Signature",
    Webhook.Provider.STRIPE: "Stripe-Signature",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        delivery_id: Alike when the service sends the same thing again.
        payload: For the agent's trigger.
        greeting: What a call that only tries the address is answered with; such a call starts nothing.
    """

    delivery_id: str
    payload: dict[str, Any]
    greeting: dict[str, Any] | None = None


def read(provider: str, headers: Mapping[str, str], body: bytes) -> Call:
    """Return what a call says.

    Args:
        provider: One of `Webhook.Provider`.
        headers: The call's headers, found in whatever case.
        body: The body as it came, its signature checked.

    Raises:
        ParseError: When the body isn't what its content type says, or can't be kept.
    """
    payload = read_payload(headers.get("Content-Type", ""), body)
    check_json(payload)
    return Call(delivery_id(provider, headers, payload), payload, greeting(provider, headers, payload))


def read_payload(content_type: str, body: bytes) -> dict[str, Any]:
    """Return a body as an object; what is none is its `body`."""
    kind, _ = parse_header_parameters(content_type)
    try:
        if kind.endswith(("/json", "+json")):
            return as_object(read_json(body))
        text = body.decode()
        if kind != "application/x-www-form-urlencoded":
            return as_object(text)
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
        # GitHub and Slack can put JSON into a form's only field.
        return as_object(read_json(fields["payload"])) if fields.keys() == {"payload"} else dict(fields)
    except (ValueError, RecursionError) as error:
        raise ParseError("The body can't be read.") from error


def as_object(value: Any) -> dict[str, Any]:
    """Return an object as it is, anything else as the `body` of one."""
    return value if isinstance(value, dict) else {"body": value}


def read_json(text: bytes | str) -> Any:
    """Return what JSON stands for; nothing is an empty object.

    Raises:
        ValueError: When it isn't JSON; numbers that aren't any don't count as JSON.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no JSON.")

    return json.loads(text, parse_constant=refuse) if text.strip() else {}


def delivery_id(provider: str, headers: Mapping[str, str], payload: dict[str, Any]) -> str:
    """Return what tells a delivery from all others; without any sign of it a call is a new one.

    What is signed counts more than a header: whoever overheard a call can repeat it, but not under another id.
    """
    if provider == Webhook.Provider.GENERIC:
        found = next((headers[name] for name in GENERIC_IDS if headers.get(name)), "")
        return bounded(found) if found else str(uuid4())
    named = {
        Webhook.Provider.GITHUB: headers.get("X-GitHub-Delivery"),
        Webhook.Provider.SLACK: payload.get("event_id"),
        Webhook.Provider.STRIPE: payload.get("id"),
    }[Webhook.Provider(provider)]
    if isinstance(named, str) and named:
        return bounded(named)
    return bounded(f"signature {headers.get(SIGNATURES[Webhook.Provider(provider)], '')}")


def bounded(text: str) -> str:
    """Return an id, or its digest when it is longer than a row holds."""
    return text if len(text) <= LONGEST_ID else hashlib.sha256(text.encode()).hexdigest()


def greeting(provider: str, headers: Mapping[str, str], payload: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer to a call that only tries the address: GitHub's ping, Slack's challenge."""
    if provider == Webhook.Provider.GITHUB and headers.get("X-GitHub-Event") == "ping":
        return {"status": "pong"}
    if provider == Webhook.Provider.SLACK and payload.get("type") == "url_verification":
        return {"challenge": str(payload.get("challenge", ""))}
    return None
