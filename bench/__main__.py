"""`python -m bench [quick|all|ROW…]`: measures, prints one table, and writes raw samples to bench/results."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import resource
import sys
import time

from bench.report import Figure, Result, save, table
from bench.stack import BenchError

ROWS = ("ttft", "stream", "turns", "idle", "replay", "cost", "graph", "pages", "recovery", "cold")
SLOW_ROWS = ("turns", "pages", "recovery", "cold")  # left out of `quick`


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", default=["all"], metavar="quick|all|ROW", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="small loads for the rows that are named")
    options = parser.parse_args()
    quick = options.quick or "quick" in options.rows
    names = [name for name in options.rows if name not in {"quick", "all"}]
    if unknown := set(names) - set(ROWS):
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}")
    names = names or [name for name in ROWS if not (quick and name in SLOW_ROWS)]
    allow_many_files()
    print(f"# {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {'quick' if quick else 'all'}", file=sys.stderr)
    figures: list[Figure] = []
    failed = False
    for name in names:
        began = time.monotonic()
        try:
            result = asyncio.run(measure(name, quick=quick))
        except (BenchError, TimeoutError) as error:
            print(f"# {name}: {error}", file=sys.stderr)
            figures.append(Figure(name=name, what="could not be measured; see above", ours="–", reached=False))
            failed = True
            continue
        figures += result.figures
        path = save(name, result, quick=quick)
        print(f"# {name}: {time.monotonic() - began:.0f} s, {path.name}", file=sys.stderr)
    print(table(figures))
    sys.exit(failed)


async def measure(name: str, *, quick: bool) -> Result:
    """Measure a row."""
    result: Result = await importlib.import_module(f"bench.rows.{name}").measure(quick=quick)
    return result


def allow_many_files() -> None:
    """Raise the limit of open files for us and what we start: each socket is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
