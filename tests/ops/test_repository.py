"""What must stay in step with the code."""

from __future__ import annotations

import re

import pytest

from config.env import BASE_DIR, VARIABLES
from config.management.commands.settings_table import PAGE, page

PIN = re.compile(r"^([a-z0-9._-]+(?:\[[a-z,-]+\])?)==([^ \\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((BASE_DIR / "requirements" / f"{name}.txt").read_text()))


def test_the_page_of_settings_is_current():
    assert PAGE.read_text() == page(), "run `manage.py settings_table`"


def test_the_example_of_settings_names_only_real_ones():
    lines = (BASE_DIR / ".env.example").read_text().splitlines()
    named = {line.removeprefix("#").partition("=")[0] for line in lines if "=" in line and " " not in line}

    assert named
    assert named <= VARIABLES.keys()


@pytest.mark.parametrize("name", ["dev", "production"])
def test_every_list_installs_the_same_versions_as_the_shortest(name):
    base = pins("base")

    assert base
    assert base.items() <= pins(name).items()
