"""`manage.py settings_table`: the table of environment variables, as it stands in docs/settings.md."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from config.env import BASE_DIR, VARIABLES, Variable

PAGE = BASE_DIR / "docs" / "settings.md"
INTRODUCTION = """\
# Settings

Everything is set by environment variables, or by lines `NAME=value` in a file `.env` beside `manage.py`. Each may also
be given as `NAME_FILE`, the path of a file that holds the value. A value that can't be used stops the start with one
line that names the variable. `manage.py doctor` says how an installation stands. What is called live may also be
set in the admin, under live settings, and counts at once.

This page is made by `manage.py settings_table` from `config/env.py`.

| variable | unset means | what it does |
| --- | --- | --- |
"""


def page() -> str:
    """Return the whole page."""
    return INTRODUCTION + "".join(_row(name, variable) for name, variable in VARIABLES.items())


def _row(name: str, variable: Variable) -> str:
    default = f"`{variable.default}`" if variable.default else ""
    meaning = variable.meaning.replace("|", "\\|")
    return f"| `{name}` | {default} | {meaning} |\n"


class Command(BaseCommand):
    """Write docs/settings.md."""

    help = "Write docs/settings.md from the table in config/env.py."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the page."""
        PAGE.write_text(page(), encoding="utf-8")
        self.stdout.write(f"Wrote {PAGE.relative_to(BASE_DIR)}.")
