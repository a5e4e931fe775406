"""Reads of webhooks."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Prefetch, QuerySet

from apps.library.models import Webhook, WebhookDelivery
from apps.runtime.errors import NotFound

#: Deliveries that are shown of each webhook.
LATEST = 5


def list_webhooks(*, user_id: UUID, limit: int, offset: int, agent_id: UUID | None = None) -> tuple[list[Webhook], int]:
    """Return a page of a person's webhooks with their latest deliveries, newest first, and how many there are.

    Args:
        user_id: Whose webhooks.
        limit: Rows a page.
        offset: Rows to pass over.
        agent_id: Only those of this library agent.
    """
    mine = Webhook.objects.filter(user=user_id)
    if agent_id is not None:
        mine = mine.filter(agent=agent_id)
    return list(shown(mine)[offset : offset + limit]), mine.count()


def find_webhook(*, user_id: UUID, webhook_id: UUID) -> Webhook:
    """Return a person's own webhook with its latest deliveries.

    Raises:
        NotFound: Alike for one that is unknown or somebody else's.
    """
    found = shown(Webhook.objects.filter(pk=webhook_id, user=user_id)).first()
    if found is None:
        raise NotFound
    return found


def shown(webhooks: QuerySet[Webhook]) -> QuerySet[Webhook]:
    """Return webhooks with what is shown of them."""
    latest = WebhookDelivery.objects.select_related("execution").order_by("-received_at", "-id")[:LATEST]
    return webhooks.select_related("agent__graph").prefetch_related(
        Prefetch("deliveries", queryset=latest, to_attr="latest_deliveries")
    )
