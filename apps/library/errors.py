"""What can go wrong in the library."""

from __future__ import annotations

from typing import Any, ClassVar

from apps.runtime.errors import Conflict, Invalid, PaymentRequired


class GraphInvalid(Invalid):
    """The graph can't be used as it is."""

    code = "graph_invalid"

    def __init__(self, problems: list[dict[str, Any]]) -> None:
        """Keep what is wrong.

        Args:
            problems: Each with `message` and, where they are known, `node_id`, `pin` and `remedy`.
        """
        super().__init__(problems=problems)


class InputsInvalid(Invalid):
    """The agent can't run with these inputs."""

    code = "inputs_invalid"

    def __init__(self, problems: dict[str, str]) -> None:
        """Keep what is wrong, by input."""
        super().__init__(problems=problems)


class NotEnoughCredits(PaymentRequired):
    """This agent costs credits, and you have too few: ask whoever runs this installation. Dry runs are free."""

    code = "insufficient_balance"


class CapReached(PaymentRequired):
    """This agent has spent what it may today."""

    code = "spend_cap_reached"


class NotRunning(Conflict):
    """The run isn't in a state for that."""

    code = "wrong_state"


class CredentialInvalid(Invalid):
    """These can't be credentials."""

    code = "credential_invalid"


class CredentialInUse(Conflict):
    """Agents use this credential; they stop working without it."""

    code = "credential_in_use"

    def __init__(self, agents: list[dict[str, Any]]) -> None:
        """Keep which agents, each with `id` and `name`."""
        super().__init__(agents=agents)


class CredentialUnusable(Conflict):
    """The credential can't be used any more; connect the service again."""

    code = "credential_unusable"


class ConnectionRefused(Invalid):
    """The service wasn't connected."""

    code = "connection_refused"


class BlockError(Exception):
    """A block can't do what it was asked; the message is shown to people and put out on the pin `error`."""

    code: ClassVar[str] = "block_error"


class FolderNameTaken(Conflict):
    """There is a folder of that name there already."""

    code = "folder_name_taken"


class FolderMisplaced(Invalid):
    """A folder can't lie within itself."""

    code = "folder_misplaced"


class UnknownCredential(Invalid):
    """You have no such credential."""

    code = "unknown_credential"
