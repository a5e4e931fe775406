"""What agents remember from run to run."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from apps.library.errors import BlockError
from apps.library.models import StoredValue

MAX_KEY_CHARS: Final = 300
MAX_VALUE_BYTES: Final = 1024 * 1024


def store_value(*, user_id: UUID, graph_id: UUID | None, key: str, value: Any) -> None:
    """Remember a value in the place of an earlier one; of two that come at once, one stays.

    Args:
        user_id: Whose it is.
        graph_id: The agent that remembers it; None for all of the person's agents.
        key: Its name.
        value: Any JSON value.

    Raises:
        BlockError: Key or value are too large.
    """
    _check_key(key)
    if len(json.dumps(value)) > MAX_VALUE_BYTES:
        raise BlockError("The value is larger than 1 MB, too large to be remembered.")
    place = _place(user_id, graph_id, key)
    if place.update(value=value, updated_at=Now()):
        return
    try:
        # Not `ON CONFLICT`: what keeps values of all agents apart is a partial index, which that can't name.
        with transaction.atomic():
            StoredValue.objects.create(user_id=user_id, graph_id_shared=graph_id, key=key, value=value)
    except IntegrityError:
        place.update(value=value, updated_at=Now())  # somebody else was first by a moment


def recall_value(*, user_id: UUID, graph_id: UUID | None, key: str, default: Any = None) -> Any:
    """Return what was remembered under a key, or `default` when nothing was.

    Args:
        user_id: Whose it is.
        graph_id: The agent that remembers it; None for all of the person's agents.
        key: Its name.
        default: What to return when there is nothing.

    Raises:
        BlockError: The key is too long.
    """
    _check_key(key)
    row = _place(user_id, graph_id, key).only("value").first()
    return default if row is None else row.value


def _place(user_id: UUID, graph_id: UUID | None, key: str) -> QuerySet[StoredValue]:
    values = StoredValue.objects.filter(user_id=user_id, key=key)
    return values.filter(graph_id_shared__isnull=True) if graph_id is None else values.filter(graph_id_shared=graph_id)


def _check_key(key: str) -> None:
    if not key or len(key) > MAX_KEY_CHARS:
        raise BlockError(f"A key has between 1 and {MAX_KEY_CHARS} characters.")
