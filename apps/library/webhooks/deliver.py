"""Taking calls: each delivery starts one run, however often and however many at once it comes."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.library.executor.start import start_execution
from apps.library.graphs.services import lock_agent
from apps.library.models import Execution, Webhook, WebhookDelivery
from apps.library.webhooks.calls import Call
from apps.library.webhooks.errors import AgentUnavailable, BadSignature
from apps.library.webhooks.services import hash_path
from apps.library.webhooks.signatures import check_signature
from apps.library.webhooks.triggers import agent_inputs, masks
from apps.runtime.crypto import Undecryptable, decrypt
from apps.runtime.errors import DomainError, NotFound

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a delivery; the run is None when it was deleted since."""

    execution_id: UUID | None
    is_new: bool


def find_webhook(*, webhook_id: UUID, path: str) -> Webhook:
    """Return the webhook that an address stands for.

    Raises:
        NotFound: Alike for an unknown id, a wrong path, one that is switched off and an owner who is locked out.
    """
    found = Webhook.objects.filter(pk=webhook_id, is_enabled=True, user__is_active=True).first()
    expected = found.path_hash if found is not None else ""
    if not hmac.compare_digest(hash_path(path), expected) or found is None:
        raise NotFound
    return found


def check_call(webhook: Webhook, headers: Mapping[str, str], body: bytes) -> None:
    """Return if a call may start the agent.

    Args:
        webhook: The webhook.
        headers: The call's headers, found in whatever case.
        body: The body as it came.

    Raises:
        BadSignature: When it isn't signed as it should be.
    """
    if webhook.secret is None:
        if webhook.provider != Webhook.Provider.GENERIC:
            raise BadSignature  # its secret isn't set yet
        return
    try:
        secret = decrypt(webhook.secret)
    except Undecryptable:
        logger.warning("webhook_secret_lost", webhook_id=str(webhook.pk))
        raise BadSignature from None
    check_signature(webhook.provider, secret, headers, body, timezone.now().timestamp())


def take_delivery(webhook: Webhook, call: Call) -> Taken:
    """Start the run of a delivery that wasn't taken yet.

    Raises:
        NotFound: When the webhook's address was changed meanwhile.
        AgentUnavailable: When the agent can't be run; the delivery isn't taken then, and may come again.
    """
    try:
        return _take(webhook, call)
    except NotFound:
        raise
    except DomainError as error:
        logger.info("webhook_not_taken", webhook_id=str(webhook.pk), code=error.code)
        raise AgentUnavailable from error


@transaction.atomic
def _take(webhook: Webhook, call: Call) -> Taken:
    lock_agent(user_id=webhook.user_id, agent_id=webhook.agent_id, touches=False)
    # This locks the row until the end, so deliveries of one webhook are taken one after the other.
    mine = Webhook.objects.filter(pk=webhook.pk, is_enabled=True, path_hash=webhook.path_hash)
    if not mine.update(last_called_at=Now()):
        raise NotFound
    earlier = WebhookDelivery.objects.filter(webhook=webhook, delivery_id=call.delivery_id).first()
    if earlier is not None:
        return Taken(earlier.execution_id, is_new=False)
    fresh = mine.select_related("agent__graph", "preset").get()
    preset = fresh.preset
    run = start_execution(
        user_id=fresh.user_id,
        graph=fresh.agent.graph,
        agent=fresh.agent,
        preset=preset,
        inputs=agent_inputs(preset),
        credential_inputs=preset.credential_inputs if preset is not None else {},
        trigger=Execution.Trigger.WEBHOOK,
        node_input_masks=masks(fresh.agent.graph, preset, call.payload),
    )
    WebhookDelivery.objects.create(webhook=webhook, delivery_id=call.delivery_id, execution=run)
    return Taken(run.pk, is_new=True)
