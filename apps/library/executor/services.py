"""What the API asks of runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from apps.library.executor import costs
from apps.library.executor.start import plan_of, start_execution
from apps.library.graphs.exporter import with_sub_graphs
from apps.library.graphs.queries import access_preset, version_of
from apps.library.models import Execution, LibraryAgent
from apps.runtime.errors import NotFound


def run_agent(
    *,
    user_id: UUID,
    agent: LibraryAgent,
    inputs: dict[str, Any],
    credential_inputs: dict[str, UUID],
    preset_id: UUID | None,
    graph_version: int | None,
    dry_run: bool,
) -> Execution:
    """Start an agent for its owner.

    Args:
        user_id: The owner.
        agent: What runs.
        inputs: Values by name; they win over the preset's.
        credential_inputs: Credentials by the name of the agent's credentials input; they win too.
        preset_id: Saved inputs of this agent.
        graph_version: The active one when it is None.
        dry_run: Whether nothing may be touched or spent.

    Raises:
        NotFound: When the agent has no such version or preset.
        GraphInvalid, InputsInvalid, NotEnoughCredits, CapReached: As `start_execution` does.
    """
    preset = access_preset(user_id, preset_id) if preset_id is not None else None
    if preset is not None and preset.agent_id != agent.pk:
        raise NotFound
    named = {name: str(credential_id) for name, credential_id in credential_inputs.items()}
    return start_execution(
        user_id=user_id,
        graph=version_of(agent, graph_version),
        agent=agent,
        preset=preset,
        inputs={**(preset.inputs if preset is not None else {}), **inputs},
        credential_inputs={**(preset.credential_inputs if preset is not None else {}), **named},
        is_dry_run=dry_run,
    )


def estimate_agent(*, agent: LibraryAgent) -> dict[str, Any]:
    """Return what one run of an agent's active version costs when each node works once; see `EstimateSerializer`.

    Raises:
        GraphInvalid: When it can't run.
    """
    plan_of(agent.graph)
    certain, rates = costs.estimate(with_sub_graphs(agent.graph))
    return {
        "certain_microdollars": certain,
        "certain_cents": -(-certain // costs.MICRODOLLARS_A_CENT),
        "counted": rates,
    }
