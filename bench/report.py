"""What a row found, as a line of the table and as raw samples in a file."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
HEADINGS = ("name", "what", "ours", "compared with", "ratio", "goal", "reached?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table; `reached` is None where there is no goal."""

    name: str
    what: str
    ours: str
    other: str = "–"
    ratio: str = "–"
    goal: str = "–"
    reached: bool | None = None


@dataclass(slots=True)
class Result:
    """All that a row found."""

    figures: list[Figure] = field(default_factory=list)
    samples: list[Any] = field(default_factory=list)
    database: str = ""


def table(figures: Iterable[Figure]) -> str:
    """Return figures as a markdown table."""
    words = {True: "yes", False: "**no**", None: "–"}
    rows = [(f.name, f.what, f.ours, f.other, f.ratio, f.goal, words[f.reached]) for f in figures]
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(row: str, result: Result, *, quick: bool) -> Path:
    """Write a row's raw samples with what they were taken on."""
    RESULTS.mkdir(exist_ok=True)
    now = time.gmtime()
    path = RESULTS / f"{row}-{time.strftime('%Y%m%d-%H%M%S', now)}.json"
    machine = {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}
    content = {
        "row": row,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        "quick": quick,
        "machine": machine | {"load": os.getloadavg()},
        "database": result.database,
        "figures": [{name: getattr(figure, name) for name in Figure.__slots__} for figure in result.figures],
        "samples": result.samples,
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of any number of values; 0 of none."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def number(value: float) -> str:
    """Return a number with three digits or all of its whole ones."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return the median of rounds with their range, as the table shows it."""
    return f"{number(median(values))}{unit} ({number(min(values))}–{number(max(values))})"
