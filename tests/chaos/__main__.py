"""`python -m tests.chaos full|quick|<scenario> …`: break the real product and see what survives."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import secrets
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.chaos import report
from tests.chaos.scenarios import FULL, SCENARIOS, Scenario, run
from tests.chaos.verdict import Verdict

QUICK_KILLS = 5
QUICK_CONVERSATIONS = 4


def read_options() -> argparse.Namespace:
    """Read the command line."""
    listed = "\n".join(f"  {scenario.name:20} {scenario.meaning}" for scenario in SCENARIOS.values())
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        epilog=f"scenarios:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["full", "quick", *SCENARIOS], nargs="+", help="`quick`: 5 worker kills")
    parser.add_argument("--count", type=int, help="faults of each scenario, instead of its own number")
    parser.add_argument("--conversations", type=int, help="how many go on at the same time")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], help="instead of the scenario's own")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of scripts and moments")
    parser.add_argument("--report", type=Path, help="write the report here, e.g. docs/chaos.md")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios that were asked for, with the numbers that were."""
    return [adapted(scenario, options) for what in options.what for scenario in named(what, options.database)]


def named(what: str, database: str | None) -> list[Scenario]:
    """Return the scenarios of a name; `quick` is one on each database, unless one is named."""
    if what == "full":
        return [SCENARIOS[name] for name in FULL]
    if what == "quick":
        both = [quick(SCENARIOS[name]) for name in ("worker-kill", "sqlite-worker-kill")]
        return [scenario for scenario in both if database in {None, scenario.shape.database}]
    return [SCENARIOS[what]]


def quick(scenario: Scenario) -> Scenario:
    """Return a small form of a scenario."""
    shape = dataclasses.replace(scenario.shape, webs=2, workers=2, people=QUICK_CONVERSATIONS)
    return dataclasses.replace(scenario, count=QUICK_KILLS, conversations=QUICK_CONVERSATIONS, shape=shape)


def adapted(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    """Return a scenario with what the command line says otherwise."""
    changes: dict[str, Any] = {"count": options.count, "conversations": options.conversations}
    if options.database:
        changes["shape"] = dataclasses.replace(scenario.shape, database=options.database)
    return dataclasses.replace(scenario, **{name: value for name, value in changes.items() if value})


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def run_one(scenario: Scenario, seed: int) -> Verdict:
    """Run a scenario; one that breaks the harness itself is a failure, and the others still run."""
    began = time.monotonic()
    try:
        return await run(
            scenario,
            count=scenario.count,
            shape=scenario.shape,
            conversations=scenario.conversations,
            seed=seed,
        )
    except Exception as error:  # noqa: BLE001 -- whatever it was, it is reported
        traceback.print_exc()
        return Verdict(
            scenario=scenario.name,
            database=scenario.shape.database,
            lease_seconds=scenario.shape.lease_seconds,
            seconds=round(time.monotonic() - began, 1),
            faults={},
            turns=0,
            messages=0,
            statuses={},
            failures=[f"it broke off: {type(error).__name__}: {error}"],
        )


def show(verdict: Verdict) -> None:
    """Print a scenario's figures."""
    for name, value in zip(report.COLUMNS, report.row(verdict), strict=True):
        say(f"    {name}: {value}")
    for failure in verdict.failures[:20]:
        say(f"    ! {failure}")


def main() -> int:
    """Run what was asked for, one after another; 1 when something didn't survive."""
    options = read_options()
    began = time.monotonic()
    verdicts: list[Verdict] = []
    for number, scenario in enumerate(chosen(options)):
        say(f"{scenario.name} on {scenario.shape.database}: {scenario.count} × {scenario.meaning}")
        verdicts.append(asyncio.run(run_one(scenario, options.seed + 10 * number)))
        show(verdicts[-1])
        if options.report:  # after each, so that a run that is broken off has told what it saw
            text = report.markdown(
                verdicts,
                command=f"python -m tests.chaos {' '.join(options.what)}",
                seed=options.seed,
                seconds=time.monotonic() - began,
            )
            options.report.parent.mkdir(parents=True, exist_ok=True)
            options.report.write_text(text, encoding="utf-8")
    say(f"raw figures: {report.write_raw(verdicts)}")
    failed = [verdict.scenario for verdict in verdicts if verdict.failures]
    say(f"FAILED: {', '.join(failed)}" if failed else "Everything survived.")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
