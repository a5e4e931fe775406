"""Reads of credentials. None of them returns a secret."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from apps.library.models import Credential, LibraryAgent, Node, Preset, Schedule

#: What people may see of a credential.
SHOWN = ("id", "provider", "type", "title", "host", "scopes", "expires_at", "last_used_at", "created_at")


def list_credentials(*, user_id: UUID, limit: int, offset: int, provider: str = "") -> tuple[list[dict[str, Any]], int]:
    """Return a page of a person's credentials, newest first, and how many there are.

    Args:
        user_id: Whose.
        limit: Rows a page.
        offset: Rows to pass over.
        provider: Only those of this service.
    """
    rows = Credential.objects.filter(user_id=user_id)
    if provider:
        rows = rows.filter(provider=provider)
    return list(rows.values(*SHOWN)[offset : offset + limit]), rows.count()


def agents_using(*, user_id: UUID, credential_id: UUID) -> list[dict[str, Any]]:
    """Return `id` and `name` of a person's agents whose graphs, presets or schedules name a credential."""
    presets = _naming(Preset.objects.filter(user_id=user_id), "credential_inputs", credential_id)
    schedules = _naming(Schedule.objects.filter(user_id=user_id), "credential_inputs", credential_id)
    nodes = _naming(Node.objects.filter(graph__user_id=user_id, graph__is_active=True), "input_default", credential_id)
    agents = LibraryAgent.objects.filter(user_id=user_id).filter(
        Q(pk__in=presets.values("agent_id"))
        | Q(pk__in=schedules.values("agent_id"))
        | Q(graph_id_shared__in=nodes.values("graph__graph_id"))
    )
    return [
        {"id": str(agent_id), "name": name}
        for agent_id, name in agents.order_by("graph__name", "pk").values_list("pk", "graph__name")
    ]


def _naming(rows: QuerySet[Any], column: str, credential_id: UUID) -> QuerySet[Any]:
    """Keep rows whose JSON holds the id somewhere: inputs with credentials have any name."""
    return rows.order_by().annotate(text=Cast(column, TextField())).filter(text__contains=str(credential_id))
