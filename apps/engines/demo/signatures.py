"""The demo's signatures: what thinking blocks carry, so that a changed one is found out when it is sent back."""

from __future__ import annotations

import base64
import hashlib
import hmac

# No secret: it only has to be the same after a restart, as conversations are.
_KEY = b"flightdeck-demo-thinking"


def sign(text: str) -> str:
    """Return the signature of a thought."""
    digest = hmac.digest(_KEY, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return base64.b64encode(digest).decode()


def redact(text: str) -> str:
    """Return the data of a redacted thought."""
    return f"{base64.b64encode(text.encode()).decode()}.{sign(text)}"


def is_redacted(data: object) -> bool:
    """Tell whether data of a redacted thought is ours and unchanged."""
    if not isinstance(data, str):
        return False
    hidden, _, signature = data.partition(".")
    try:
        text = base64.b64decode(hidden, validate=True).decode()
    except ValueError:
        return False
    return hmac.compare_digest(sign(text), signature)
