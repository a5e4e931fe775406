"""Which credentials a node uses, decrypted for as long as its block runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from apps.library.blocks.base import Secret
from apps.library.credentials.resolve import resolve_secret
from apps.library.errors import BlockError, CredentialUnusable
from apps.library.executor.plan import PlanNode, field_of
from apps.runtime.errors import Unavailable


def credentials_input(facts: Mapping[str, Any]) -> str:
    """Return the name of the agent's input that fills the credentials inputs with these facts."""
    providers, types = sorted(facts["credentials_provider"]), sorted(facts["credentials_types"])
    return "_".join([*providers, *types, "credentials"])


def choose(credential_inputs: Mapping[str, Any], node: PlanNode, values: Mapping[str, Any]) -> dict[str, UUID] | None:
    """Return the ids of a node's credentials by input; None when it is to be skipped for want of an optional one.

    The run's own choice comes before the one that the graph was saved with.

    Raises:
        BlockError: When one is missing.
    """
    chosen: dict[str, UUID] = {}
    for name, wanted in node.block.credentials_inputs().items():
        given = credential_inputs.get(credentials_input(wanted)) or values.get(name)
        credential_id = _id_of(given)
        if credential_id is not None:
            chosen[name] = credential_id
        elif field_of(node.block, name).is_required():
            if node.metadata.get("credentials_optional") is True:
                return None
            raise BlockError(f"It needs a credential for {' or '.join(wanted['credentials_provider'])}.")
    return chosen


def _id_of(given: Any) -> UUID | None:
    named = given.get("id") if isinstance(given, Mapping) else given
    if not named:
        return None
    try:
        return UUID(str(named))
    except ValueError:
        raise BlockError("It names a credential that isn't one.") from None


async def open_secrets(user_id: UUID, node: PlanNode, chosen: Mapping[str, UUID]) -> dict[str, Secret]:
    """Return a node's credentials by input.

    Raises:
        BlockError: When one can't be used.
    """
    found: dict[str, Secret] = {}
    for name, wanted in node.block.credentials_inputs().items():
        if name not in chosen:
            continue
        try:
            found[name] = await resolve_secret(
                user_id,
                chosen[name],
                provider=wanted["credentials_provider"],
                types=wanted["credentials_types"],
                scopes=wanted["credentials_scopes"],
            )
        except (CredentialUnusable, Unavailable) as error:
            raise BlockError(error.detail) from error
    return found
