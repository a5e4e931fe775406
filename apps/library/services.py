"""What upper apps may ask of the library."""

from __future__ import annotations

from uuid import UUID

from apps.library.blocks.registry import all_blocks
from apps.library.executor.cancel import cancel_execution
from apps.library.executor.resume import resume_execution
from apps.library.executor.start import start_execution
from apps.library.graphs.agents import builder_session_id, remember_builder_session
from apps.library.graphs.services import lock_agent
from apps.library.models import Execution
from apps.library.models.executions import Status

__all__ = (
    "autopilot_depth",
    "block_names",
    "builder_session_id",
    "cancel_execution",
    "is_to_stop",
    "lock_agent",
    "remember_builder_session",
    "resume_execution",
    "start_execution",
)


def block_names() -> dict[str, str]:
    """Return every block's name by its id."""
    return {block_id: block.name for block_id, block in all_blocks().items()}


def autopilot_depth(execution_id: UUID) -> int:
    """Return how many copilots, each asked by an AutoPilot block, led to a run."""
    depths = Execution.objects.filter(pk=execution_id).values_list("autopilot_depth", flat=True)
    return depths.first() or 0


def is_to_stop(execution_id: UUID) -> bool:
    """Return whether a run has ended or is asked to; one that changes its runner isn't."""
    going = Execution.objects.filter(pk=execution_id, cancel_requested_at__isnull=True)
    return not going.filter(status__in=[Status.QUEUED, Status.RUNNING, Status.REVIEW]).exists()
