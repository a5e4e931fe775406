"""cold: from a clean checkout to the first answered message, and the same when all is installed already."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.report import Figure, Result
from bench.stack import PLAIN_ENV, ROOT, BenchError, free_port

START_SECONDS = 600.0
STOP_SECONDS = 40.0
#: The demo model speaks at a reading pace, which is no cost of ours.
ENV = PLAIN_ENV | {"FLIGHTDECK_DEMO_PACE": "0"}


async def measure(*, quick: bool) -> Result:
    """Clone, `make run`, ask; stop; `make run` again, ask."""
    result = Result(database="SQLite")
    if quick:
        return result
    with tempfile.TemporaryDirectory(prefix="bench-cold-") as folder:
        checkout = Path(folder) / "flightdeck"
        clone = ["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(checkout)]
        await asyncio.to_thread(subprocess.run, clone, check=True)
        cold = await asyncio.to_thread(start_and_ask, checkout)
        warm = [await asyncio.to_thread(start_and_ask, checkout) for _ in range(3)]
    result.samples = [cold, *warm]
    seconds = sorted(one["answered"] for one in warm)
    result.figures = [
        Figure(
            name="cold",
            what="clean checkout → `make run` → first answered message",
            ours=f"{cold['answered']:.0f} s (ready after {cold['ready']:.0f} s)",
            goal="≤ 180 s",
            reached=cold["answered"] <= 180,
        ),
        Figure(
            name="cold: warm",
            what="`make run` again → first answered message, median of 3",
            ours=f"{seconds[1]:.1f} s ({seconds[0]:.1f}–{seconds[-1]:.1f})",
            goal="≤ 10 s",
            reached=seconds[1] <= 10,
        ),
    ]
    return result


def start_and_ask(checkout: Path) -> dict[str, float]:
    """Start the product, have a message answered, stop it; returns the seconds since its start.

    Raises:
        BenchError: When it doesn't start or doesn't answer.
    """
    began = time.monotonic()
    log = checkout.parent / "run.log"
    with log.open("ab") as output:
        run = subprocess.Popen(
            ["make", "run", f"PORT={free_port()}"],
            cwd=checkout,
            env=ENV,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        told = checkout / "var" / "run.json"
        while not told.exists():
            if run.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise BenchError(f"make run did not start:\n{log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.02)
        url = json.loads(told.read_text(encoding="utf-8"))["url"].rstrip("/")
        ready = time.monotonic() - began
        key = json.loads((checkout / "var" / "demo.json").read_text(encoding="utf-8"))["token"]
        session = ask(f"{url}/api/chat/sessions", key, {})
        answer = ask(f"{url}/api/chat/sessions/{json.loads(session)['id']}/stream", key, {"message": "hello"})
        if b'"text-delta"' not in answer or b'"finish"' not in answer:
            raise BenchError(f"no answer: {answer[-500:]!r}")
        return {"ready": ready, "answered": time.monotonic() - began}
    finally:
        stop(run)


def ask(url: str, key: str, body: dict[str, Any]) -> bytes:
    """Return the whole answer to a POST."""
    headers = {"Authorization": f"Token {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 -- our own
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 -- our own
        content: bytes = answer.read()
    return content


def stop(run: subprocess.Popen[bytes]) -> None:
    """Stop the product, in order if it can."""
    if run.poll() is None:
        run.send_signal(signal.SIGTERM)
    try:
        run.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
