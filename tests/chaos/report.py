"""The report: one table for people, raw figures for whoever looks closer."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.chaos.cluster import NoPostgreSQL, postgres_programs
from tests.chaos.processes import ROOT
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.verdict import Verdict

COLUMNS = (
    "Scenario", "Faults", "Turns", "Hit", "Completed as scripted", "Lost messages", "Tools twice", "Gaps", "Repeats",
    "Disorder", "Screens that differ", "Late turns", "Interrupted (wrongly)", "Recovery p50 / p95 / max (s)", "Verdict",
)  # fmt: skip

INTRODUCTION = """# Chaos: what survives

This page is written by `make chaos` (`python -m tests.chaos full --report docs/chaos.md`). It starts the real product
(database, Redis, model server, web processes, Celery workers), lets conversations with tools flow, and breaks things at
random moments. A websocket reader and a reader on server-sent events come back as their users' clients would, to
another web process each time, and note everything they see.

- **Hit**: turns whose runner was killed or frozen, or that were in flight when another process was.
- **Lost messages**: accepted messages that aren't in exactly one row.
- **Tools twice**: calls of tools that aren't idempotent that began twice, by a file outside that tools write to; and
  idempotent ones that began again after their result was stored, or without a blow to their runner.
- **Gaps, repeats, disorder**: event ids that don't follow one another, that came again, and what a strict parser of the
  stream would refuse.
- **Screens that differ**: readers whose screen at the end isn't what a reload shows.
- **Late turns**: not running again, and not over, 30 s after the fault.
- **Interrupted**: calls whose result is the error `interrupted`; wrongly, when no such call was in flight at a fault.
- **Recovery**: from the fault to the next event at a reader; for web processes from the lost connection.
"""


def row(verdict: Verdict) -> tuple[str, ...]:
    """Return a scenario's line of the table."""
    share = f"{100 * verdict.hit_completed / verdict.hit_turns:.1f} %" if verdict.hit_turns else "–"
    times = (verdict.recovery_p50, verdict.recovery_p95, verdict.recovery_max)
    return (
        f"{verdict.scenario} ({verdict.database}, lease {verdict.lease_seconds:g} s)",
        ", ".join(f"{count} × {kind}" for kind, count in verdict.faults.items()),
        str(verdict.turns),
        str(verdict.hit_turns),
        f"{verdict.hit_completed} ({share})",
        str(verdict.lost_messages),
        str(verdict.tools_twice),
        str(verdict.gaps),
        str(verdict.repeats),
        str(verdict.disorder),
        str(verdict.differing_screens),
        str(verdict.late_turns),
        f"{verdict.interrupted} ({verdict.interrupted_wrongly})",
        " / ".join("–" if time is None else f"{time:.2f}" for time in times),
        "FAILED" if verdict.failures else "passed",
    )


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the table in Markdown."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *(row(verdict) for verdict in verdicts)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def markdown(verdicts: Sequence[Verdict], *, command: str, seed: int, seconds: float) -> str:
    """Return the whole report."""
    parts = [INTRODUCTION, "## Result\n", table(verdicts), "\n### Further figures\n"]
    for verdict in verdicts:
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(verdict.statuses.items()))
        errors = ", ".join(f"{count} × {status}" for status, count in sorted(verdict.server_errors.items())) or "none"
        meaning = SCENARIOS[verdict.scenario].meaning
        parts.append(
            f"- **{verdict.scenario}**: {meaning}. {verdict.seconds:.0f} s; turns: {statuses}; "
            f"{verdict.tools_started} tool runs, {verdict.tools_again} of them a rightful second one; "
            f"{verdict.reloads} reloads of rows by readers, {verdict.torn_reads} torn ones read again; "
            f"answers with a server error: {errors}."
        )
    failures = [f"- {verdict.scenario}: {failure}" for verdict in verdicts for failure in verdict.failures]
    if failures:
        parts += ["\n### What failed\n", *failures[:200]]
    parts += ["\n## How it was run\n", *facts(command, seed, seconds)]
    return "\n".join(parts) + "\n"


def facts(command: str, seed: int, seconds: float) -> list[str]:
    """Return what the figures depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Django", "celery", "uvicorn", "redis", "psycopg"))
    try:
        postgres = output(str(postgres_programs() / "postgres"), "--version")
    except NoPostgreSQL:
        postgres = "no PostgreSQL"
    commit = output("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return [
        f"- `{command}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, seed {seed}, {seconds / 60:.1f} minutes",
        f"- commit {commit}",
        f"- {platform.system()}, {_cores()} cores; Python {platform.python_version()}; {packages}",
        f"- {postgres}; {output('redis-server', '--version').split(' sha')[0]}",
    ]


def output(*command: str) -> str:
    """Return what a program says, or that it isn't there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"no {command[0]}"


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1)


def write_raw(verdicts: Sequence[Verdict]) -> Path:
    """Write the raw figures, which aren't committed."""
    folder = ROOT / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / f"chaos-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    raw.write_text(json.dumps([verdict.as_json() for verdict in verdicts], indent=1), encoding="utf-8")
    return raw
