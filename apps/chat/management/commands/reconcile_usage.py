"""`manage.py reconcile_usage`: whether usage windows, cost entries and a provider's export tell the same."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.chat.usage import reconcile
from apps.chat.usage.windows import WEEKLY, window_start


class Command(BaseCommand):
    """Compare, and say what differs; nothing is changed."""

    help = "Compare usage windows with their cost entries, and those with a provider's usage export."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the span and the export."""
        parser.add_argument("--weeks", type=int, default=5, help="Whole weeks to look at, the present one included.")
        parser.add_argument("--export", type=Path, help="A provider's CSV with date, model and cost in US dollars.")
        parser.add_argument("--tolerance", type=int, default=1000, help="Microdollars a day and model may differ.")

    def handle(self, *args: Any, weeks: int, export: Path | None, tolerance: int, **options: Any) -> None:
        """Write a line for each difference.

        Raises:
            CommandError: When there is one, so that a timer notices.
        """
        since = window_start(WEEKLY, timezone.now()) - timedelta(weeks=max(weeks, 1) - 1)
        found = 0
        for window in reconcile.window_differences(since):
            found += 1
            self.stdout.write(
                f"window {window.kind} {window.starts_at:%Y-%m-%d} user {window.user_id}: "
                f"booked {window.booked}, counted {window.counted}"
            )
        if export is not None:
            found += self._compare_export(export, tolerance)
        if found:
            raise CommandError(f"{found} differences.")
        self.stdout.write("Everything agrees.")

    def _compare_export(self, export: Path, tolerance: int) -> int:
        found = 0
        try:
            with export.open(encoding="utf-8-sig", newline="") as lines:
                for day in reconcile.export_differences(lines, tolerance=tolerance):
                    found += 1
                    self.stdout.write(
                        f"export {day.day} {day.model}: booked {day.booked}, the provider says {day.exported}"
                    )
        except (OSError, ValueError) as error:
            raise CommandError(f"The export can't be read: {error}") from error
        return found
