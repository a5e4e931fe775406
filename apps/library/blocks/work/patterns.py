"""Regular expressions that people wrote."""

from __future__ import annotations

import re
from itertools import islice
from typing import TypedDict

#: More matches than this are refused: each is a value of its own for the rest of the graph.
MAX_MATCHES = 1_000


def matches(pattern: str, text: str, case_sensitive: bool, dot_all: bool) -> bool:
    """Say whether a text has a pattern in it.

    Raises:
        ValueError: The pattern is malformed.
    """
    return _compiled(pattern, case_sensitive, dot_all).search(text) is not None


class Search(TypedDict):
    """What is looked for."""

    pattern: str
    group: int
    case_sensitive: bool
    dot_all: bool
    find_all: bool


def extract(search: Search, text: str) -> list[str]:
    """Return what a group of a pattern is in a text: in the first match or in all; unused groups are empty.

    Raises:
        ValueError: The pattern is malformed, has fewer groups, or there are too many matches.
    """
    compiled = _compiled(search["pattern"], search["case_sensitive"], search["dot_all"])
    group = search["group"]
    if group > compiled.groups:
        raise ValueError(f"The pattern has no group {group}: it has {compiled.groups}.")
    found = islice(compiled.finditer(text), MAX_MATCHES + 1 if search["find_all"] else 1)
    results = [match[group] or "" for match in found]
    if len(results) > MAX_MATCHES:
        raise ValueError(f"The pattern matches more than {MAX_MATCHES} times.")
    return results


def _compiled(pattern: str, case_sensitive: bool, dot_all: bool) -> re.Pattern[str]:
    flags = (re.NOFLAG if case_sensitive else re.IGNORECASE) | (re.DOTALL if dot_all else re.NOFLAG)
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError) as error:
        raise ValueError(f"The pattern is malformed: {error}.") from None
