"""A real HTTP server on a thread, which plays the API of some other service."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit


class Service:
    """Notes what it is asked and answers by method and path.

    An answer is `(status, body)` or `(status, body, headers)`, or a function of the request that returns one. A body
    that isn't bytes goes out as JSON. A list of answers is gone through, and its last one stays.
    """

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.requests: list[SimpleNamespace] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    def on(self, method: str, path: str, *answers: object) -> None:
        self.answers[f"{method} {path}"] = list(answers)

    def asked(self, method: str, path: str) -> list[SimpleNamespace]:
        return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def answer(self, request: SimpleNamespace) -> tuple:
        found = self.answers.get(f"{request.method} {request.path}")
        if found is None:
            return 404, {"message": "Not Found"}
        answer = found.pop(0) if len(found) > 1 else found[0]
        return answer(request) if callable(answer) else answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = SimpleNamespace(
                    method=self.command,
                    path=parts.path,
                    query={name: values[0] for name, values in parse_qs(parts.query).items()},
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=body,
                )
                request.json = lambda: json.loads(body)
                request.form = lambda: {name: values[0] for name, values in parse_qs(body.decode()).items()}
                service.requests.append(request)
                status, content, *more = service.answer(request)
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                if not isinstance(content, bytes):
                    self.send_header("Content-Type", "application/json")
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815 -- http.server's names

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def running_service(make: Callable[[], Service] = Service) -> Iterator[Service]:
    """Run a service while the block lasts."""
    service = make()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()
        thread.join(5)
