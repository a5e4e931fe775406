"""What a node was given earlier in its run."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from apps.library.models import NodeExecution
from apps.library.models.executions import Status

#: How far back a node remembers; each of these may hold a large data set.
MAX_EARLIER: Final = 1_000


def earlier_inputs(*, execution_id: UUID, node_execution_id: UUID, pin: str) -> list[Any]:
    """Return what came in on a pin of the same node before, oldest first; failed uses of the node don't count.

    Args:
        execution_id: The run.
        node_execution_id: The present use of the node.
        pin: Which pin.
    """
    present = NodeExecution.objects.filter(execution_id=execution_id, pk=node_execution_id).first()
    if present is None:
        return []
    earlier = (
        NodeExecution.objects.filter(
            execution_id=execution_id, node_id=present.node_id, number__lt=present.number, status=Status.COMPLETED
        )
        .order_by("-number")
        .values_list("input_data", flat=True)[:MAX_EARLIER]
    )
    return [data[pin] for data in reversed(earlier) if pin in data]
