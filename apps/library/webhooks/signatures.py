"""Whether a call comes from whom it says. Pure: a secret, headers, the body as it came, a moment.

All comparisons take the same time whatever is wrong, and all failures are one error.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping

from apps.library.models import Webhook
from apps.library.webhooks.errors import BadSignature

#: How old, or how far ahead, a signed time may be; Slack's and Stripe's own advice.
TOLERANCE_SECONDS = 300
SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)

Check = Callable[[bytes, Mapping[str, str], bytes, float], bool]


def check_signature(provider: str, secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Return if a call is signed rightly.

    Args:
        provider: One of `Webhook.Provider`, which says how calls are signed.
        secret: What they are signed with.
        headers: The call's headers, found in whatever case.
        body: The body as it came.
        now: The present moment, in seconds since 1970.

    Raises:
        BadSignature: Otherwise.
    """
    if not CHECKS[provider](secret, headers, body, now):
        raise BadSignature


def generic(secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """The secret itself, or what GitHub sends under another name."""
    plain = hmac.compare_digest(headers.get("X-Webhook-Secret", "").encode(), secret)
    return plain | same(headers.get("X-Signature-256", ""), "sha256=", [hex_mac(secret, body)])


def github(secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """`X-Hub-Signature-256: sha256=…` of the body."""
    return same(headers.get("X-Hub-Signature-256", ""), "sha256=", [hex_mac(secret, body)])


def slack(secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """`X-Slack-Signature: v0=…` of the version, the time and the body."""
    moment = headers.get("X-Slack-Request-Timestamp", "")
    signed = hex_mac(secret, b"v0:" + moment.encode() + b":" + body)
    return is_fresh(moment, now) & same(headers.get("X-Slack-Signature", ""), "v0=", [signed])


def stripe(secret: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """`Stripe-Signature: t=…,v1=…` of the time and the body; while a secret is replaced there are several v1."""
    parts = [part.strip().partition("=") for part in headers.get("Stripe-Signature", "").split(",")]
    moment = next((value for key, _, value in parts if key == "t"), "")
    signed = hex_mac(secret, moment.encode() + b"." + body)
    given = [value for key, _, value in parts if key == "v1"]
    return is_fresh(moment, now) & same(signed, "", given)


def hex_mac(secret: bytes, message: bytes) -> str:
    """Return the HMAC-SHA256 of a message, as hexadecimal digits."""
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def same(text: str, prefix: str, wanted: Iterable[str]) -> bool:
    """Return whether a text is the prefix and one of those wanted."""
    found = False
    for each in wanted:
        found |= hmac.compare_digest(text.encode(), (prefix + each).encode())
    return found


def is_fresh(moment: str, now: float) -> bool:
    """Return whether a signed time is near enough."""
    return SECONDS.fullmatch(moment) is not None and abs(now - int(moment)) <= TOLERANCE_SECONDS


CHECKS: Mapping[str, Check] = {
    Webhook.Provider.GENERIC: generic,
    Webhook.Provider.GITHUB: github,
    Webhook.Provider.SLACK: slack,
    Webhook.Provider.STRIPE: stripe,
}
