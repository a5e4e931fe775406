"""The model server in a thread of this process, with a handle to script it: for tests of any app."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import uvicorn

from apps.engines.demo.server import create_app

_START_SECONDS = 10.0
_CALL_SECONDS = 10.0
_POLL_SECONDS = 0.01


class DemoHandle:
    """A running model server as its tester sees it. Its methods block for a moment; they need no event loop."""

    def __init__(self, url: str) -> None:
        """Keep the server's address, such as `http://127.0.0.1:8123`."""
        self.url = url
        self._opener = build_opener(ProxyHandler({}))  # a proxy from the environment can't reach this machine

    @property
    def base_url(self) -> str:
        """The address for an OpenAI client."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The address for an Anthropic client."""
        return self.url

    def script(
        self, name: str, *steps: list[dict[str, Any]], repeat_last: bool = False, context: int | None = None
    ) -> str:
        """Register a script and return the marker that a user message needs to follow it.

        Args:
            name: Letters, digits, dots, dashes, underscores.
            steps: The actions of each model step; see `script.parse_action`.
            repeat_last: Whether the last step goes on for ever, instead of "Done.".
            context: Characters of a request's messages above which it is refused as too long.
        """
        script = {"name": name, "steps": list(steps), "repeat_last": repeat_last, "context": context}
        self._call("POST", "/script", script)
        return f"[script:{name}]"

    def requests(self, script: str | None = None) -> list[dict[str, Any]]:
        """Return the recorded requests (see `records.Record`), oldest first."""
        query = "" if script is None else f"?script={quote(script)}"
        found: list[dict[str, Any]] = self._call("GET", f"/requests{query}")["requests"]
        return found

    def clear(self) -> None:
        """Forget the recorded requests."""
        self._call("DELETE", "/requests")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data=data, method=method)  # noqa: S310 -- always our own http address
        with self._opener.open(request, timeout=_CALL_SECONDS) as response:
            answer: dict[str, Any] = json.load(response)
        return answer


@contextmanager
def running_demo(*, words_per_second: float = 0.0) -> Iterator[DemoHandle]:
    """Run a model server on a free port for a block.

    Args:
        words_per_second: The demo model's pace; 0 for no waiting.

    Raises:
        TimeoutError: It didn't start.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(words_per_second=words_per_second),
        log_level="critical",  # scripted disconnects are no news
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="demo-model", daemon=True)
    thread.start()
    try:
        _wait_until_started(server)
        yield DemoHandle(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
        listener.close()


def _wait_until_started(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the demo model server didn't start")
        time.sleep(_POLL_SECONDS)
