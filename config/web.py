"""The web process: uvicorn with what the product needs of it, in one place for `make run` and for deployments.

`python -m config.web --host 0.0.0.0 --port 8000`, or `--fd 5` for a socket that somebody else opened.
"""

from __future__ import annotations

import argparse
import socket
import sys

import uvicorn
from django.urls import get_resolver

from apps.runtime.loop import SWITCH_SECONDS
from apps.runtime.memory import settle
from apps.runtime.sockets import BatchingProtocol

# Our own limit is 1 MiB and answered with an error frame; what is far beyond ends the connection (1009).
LARGEST_FRAME_BYTES = 4 * 1024 * 1024
STOP_SECONDS = 5  # sockets are told to reconnect, streams end; whoever doesn't listen is cut off then


def server_config(**where: object) -> uvicorn.Config:
    """Return how the product is served; `where` is uvicorn's host and port, or nothing for sockets that are open."""
    return uvicorn.Config(
        "config.asgi:application",
        ws=BatchingProtocol,
        ws_max_size=LARGEST_FRAME_BYTES,
        ws_per_message_deflate=False,  # each socket would cost a quarter of a megabyte for small frames
        access_log=False,
        server_header=False,
        lifespan="on",
        proxy_headers=False,  # TRUSTED_PROXIES decides about forwarded headers
        timeout_graceful_shutdown=STOP_SECONDS,
        log_config=None,  # the settings set logging up
        **where,  # type: ignore[arg-type]
    )


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m config.web", description="The web process.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="an open listening socket, instead of host and port")
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    where = {"host": options.host, "port": options.port} if options.fd is None else {}
    config = server_config(**where)
    config.load()
    _ = get_resolver().url_patterns  # imports all pages and endpoints: else the first request would wait
    settle()
    uvicorn.Server(config).run(sockets=None if options.fd is None else [socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
