"""`manage.py remove_old_executions --days 180`: for operators who don't keep runs for ever."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.library.executor.retention import SHORTEST_DAYS, remove_old


class Command(BaseCommand):
    """Remove runs of agents that are long over."""

    help = (
        "Remove runs of agents that ended so many days ago, with all that they put out, and the notes of webhook "
        "deliveries of that age, while everything runs. Charges and files stay."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the options."""
        parser.add_argument("--days", type=int, required=True, help=f"how old, at least {SHORTEST_DAYS}")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and say how many there were.

        Raises:
            CommandError: When more must be kept.
        """
        try:
            removed = remove_old(days=options["days"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{removed.executions} runs and {removed.deliveries} deliveries are removed.")
