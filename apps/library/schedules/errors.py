"""What can be wrong with a schedule."""

from __future__ import annotations

from typing import Any

from apps.runtime.errors import Invalid


class ScheduleInvalid(Invalid):
    """The schedule can't be kept like this."""

    code = "schedule_invalid"

    def __init__(self, field: str, detail: str) -> None:
        """Keep which field is wrong, and why."""
        self.field = field
        super().__init__(detail)

    def body(self) -> dict[str, Any]:
        """Return it as every refused field is told."""
        return {self.field: [self.detail]}
