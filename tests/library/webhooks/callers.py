"""Services that call webhooks, each signing in its own way."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from urllib.parse import urlsplit

from rest_framework.test import APIClient

from apps.library.models import Preset
from tests.library.schedules.rows import make_agent

TRIGGER = "8fa8c167-2002-47ce-aba8-97572fc5d387"
WEBHOOKS = "/api/library/webhooks"
SECRET = "a secret of some length"


def trigger_agent(person, **inputs):
    """Return an agent that begins with a trigger."""
    return make_agent(person, "Reacts", blocks=((TRIGGER, inputs),))


def make_preset(agent, **inputs):
    return Preset.objects.create(user=agent.user, agent=agent, name="Usual", inputs=inputs)


def make_webhook(person, agent, **fields):
    """Return a new webhook as its owner is told of it."""
    answer = person.client.post(WEBHOOKS, {"agent_id": str(agent.pk), **fields}, format="json")
    assert answer.status_code == 201, answer.content
    return answer.json()


def mac(message: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def generic(body: bytes, secret: str = SECRET):
    return {"X-Signature-256": f"sha256={mac(body, secret)}"}


def github(body: bytes, secret: str = SECRET, delivery="d-1", event="push"):
    return {
        "X-Hub-Signature-256": f"sha256={mac(body, secret)}",
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
    }


def slack(body: bytes, secret: str = SECRET, at=None):
    moment = str(int(time.time() if at is None else at))
    signed = mac(b"v0:" + moment.encode() + b":" + body, secret)
    return {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": f"v0={signed}"}


def stripe(body: bytes, secret: str = SECRET, at=None):
    moment = str(int(time.time() if at is None else at))
    signed = mac(moment.encode() + b"." + body, secret)
    return {"Stripe-Signature": f"t={moment},v0=old,v1={mac(b'other')},v1={signed}"}


SIGN = {"generic": generic, "github": github, "slack": slack, "stripe": stripe}


def call(url, body=b"{}", headers=None, kind="application/json"):
    """Call an address as a service does, without any sign-in."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return APIClient().generic("POST", urlsplit(url).path, raw, content_type=kind, headers=headers or {})
