"""How blocks call child processes: what goes wrong there is said in words for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from apps.library.errors import BlockError
from apps.runtime.children import (
    ChildAnswerTooLarge,
    ChildCrashed,
    ChildOutOfMemory,
    ChildRaised,
    ChildTimedOut,
    run_in_child,
)

T = TypeVar("T")

#: What patterns and templates may take: honest ones need milliseconds.
QUICK_SECONDS = 5.0
#: What reading a large file may take.
PATIENT_SECONDS = 60.0


async def in_child(function: Callable[..., T], *arguments: Any, timeout_seconds: float = QUICK_SECONDS) -> T:
    """Call a function of `apps.library.blocks.work` in a child process.

    Args:
        function: It raises ValueError with a sentence for people where something is wrong with what it was given.
        arguments: JSON values or bytes.
        timeout_seconds: How long it may take.

    Raises:
        BlockError: It failed.
    """
    try:
        return await run_in_child(function, *arguments, timeout_seconds=timeout_seconds)
    except ChildTimedOut:
        raise BlockError(f"This takes longer than {timeout_seconds:g} seconds.") from None
    except ChildOutOfMemory:
        raise BlockError("This takes more memory than there is for it.") from None
    except ChildAnswerTooLarge:
        raise BlockError("The result is too large.") from None
    except ChildCrashed:
        raise BlockError("This could not be worked out: the process for it broke down.") from None
    except ChildRaised as error:
        raise BlockError(error.detail if error.kind == "ValueError" else f"This failed: {error}") from None
