"""`python -m apps.engines.demo --port 8123`: run the model server."""

from __future__ import annotations

import argparse
import os

import uvicorn

from apps.engines.demo.pacing import DEFAULT_WORDS_PER_SECOND
from apps.engines.demo.server import create_app

PACE_VARIABLE = "FLIGHTDECK_DEMO_PACE"
_SHUTDOWN_SECONDS = 1  # answers under way are not waited for any longer: whoever stops this stops the product


def main() -> None:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m apps.engines.demo", description="The offline demo model.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--pace",
        type=float,
        default=float(os.environ.get(PACE_VARIABLE, DEFAULT_WORDS_PER_SECOND)),
        help=f"words per second, 0 for no waiting (default: {PACE_VARIABLE} or {DEFAULT_WORDS_PER_SECOND:g})",
    )
    options = parser.parse_args()
    uvicorn.run(
        create_app(words_per_second=options.pace),
        host=options.host,
        port=options.port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
