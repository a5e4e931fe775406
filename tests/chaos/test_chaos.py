"""The short form for CI: five worker kills on each database. In full: `make chaos`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.chaos.cluster import NoPostgreSQL, postgres_programs
from tests.chaos.processes import ROOT

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


@pytest.mark.parametrize("command", [["tests.chaos", "quick"], ["tests.chaos.graphs", "--kills", "5"]])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_five_worker_kills_lose_nothing(database: str, command: list[str]) -> None:
    if database == "postgresql":
        try:
            postgres_programs()
        except NoPostgreSQL as missing:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"chaos on PostgreSQL not run: {missing}")
    done = subprocess.run(
        [sys.executable, "-m", *command, "--database", database],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
