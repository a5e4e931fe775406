"""What can be wrong with a graph, said so that a person can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from apps.library.errors import GraphInvalid

#: Characters of a name or id that a message quotes; files of strangers may hold names of any length.
QUOTED_LENGTH = 80
#: Problems that an answer lists; more help nobody.
MOST_PROBLEMS = 100


class Stops(StrEnum):
    """What a problem keeps a graph from."""

    SAVE = "save"  # and so from running
    RUN = "run"
    NOTHING = "nothing"  # advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        code: Names the kind of problem to programs.
        message: What is wrong, for a person.
        remedy: What to do about it.
        stops: What it keeps the graph from.
        node_id: The node that it is about, as the file calls it.
        pin: The pin of that node.
        link_id: The link that it is about.
        graph: The name of the sub-agent that it is in; empty for the agent itself.
    """

    code: str
    message: str
    remedy: str
    stops: Stops = Stops.SAVE
    node_id: str = ""
    pin: str = ""
    link_id: str = ""
    graph: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as the API tells it; what isn't known is left out."""
        return {key: str(value) for key, value in asdict(self).items() if value}


def stopping(problems: Iterable[Problem], *, for_run: bool) -> list[Problem]:
    """Return the problems that keep a graph from running, or only those that keep it from being saved."""
    kinds = {Stops.SAVE, Stops.RUN} if for_run else {Stops.SAVE}
    return [problem for problem in problems if problem.stops in kinds]


def refuse(problems: Iterable[Problem]) -> None:
    """Do nothing when there is no problem.

    Raises:
        GraphInvalid: With all of them, when there are some.
    """
    found = list(problems)
    if found:
        raise GraphInvalid([problem.as_json() for problem in found[:MOST_PROBLEMS]])


def quoted(text: Any) -> str:
    """Return a name as a message shows it, cut where it gets long."""
    shown = str(text)
    return f"“{shown if len(shown) <= QUOTED_LENGTH else shown[: QUOTED_LENGTH - 1] + '…'}”"
