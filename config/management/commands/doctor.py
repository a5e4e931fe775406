"""`manage.py doctor`: what is configured, what is wrong, and how to mend it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.diagnosis import Finding, State, diagnose

SUBJECT_WIDTH = 12  # of the longest subject, `Model server`
STYLES = {State.FINE: "SUCCESS", State.NOTE: "WARNING", State.WRONG: "ERROR"}


class Command(BaseCommand):
    """Say how this installation is doing."""

    help = "Look at everything that Flightdeck needs; one line each. Ends with 1 when something is wrong."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the options."""
        parser.add_argument("--online", action="store_true", help="also ask whether the model's server can be reached")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the report."""
        wrong = 0
        for finding in diagnose(online=options["online"]):
            self.stdout.write(self._line(finding))
            wrong += finding.state is State.WRONG
        if wrong:
            self.stdout.write(f"\n{wrong} wrong.")
            sys.exit(1)
        self.stdout.write("\nNothing is wrong.")

    def _line(self, finding: Finding) -> str:
        style = getattr(self.style, STYLES[finding.state])
        remedy = f". {finding.remedy}" if finding.remedy else ""
        return f"{style(finding.state.value.ljust(5))}  {finding.subject.ljust(SUBJECT_WIDTH)}  {finding.text}{remedy}"
