"""One log line a request, and an id that ties its lines together."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, cast

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

logger = structlog.get_logger(__name__)


class RequestLogMiddleware:
    """Binds `request_id` and writes method, route, status and duration; never the query, the address or the person."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        """Keep the next layer, and stand in the same colour (sync or async) as it does."""
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request and log it."""
        if iscoroutinefunction(self):
            return cast("Any", self).answer_async(request)
        started = self.begin()
        return self.end(request, self.get_response(request), started)

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request on the event loop and log it."""
        started = self.begin()
        return self.end(request, await self.get_response(request), started)  # type: ignore[misc]

    def begin(self) -> float:
        """Bind a new request id; returns the monotonic time in seconds."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=str(uuid.uuid4()))
        return time.monotonic()

    def end(self, request: HttpRequest, response: HttpResponseBase, started: float) -> HttpResponseBase:
        """Log the request by its route's pattern, which holds no ids."""
        match = request.resolver_match
        # Files of pages are answered before any route is looked for; there are dozens a page.
        level = logging.INFO if match or response.status_code >= 400 else logging.DEBUG
        logger.log(
            level,
            "request",
            method=request.method,
            route=match.route if match else "-",
            status=response.status_code,
            duration_ms=round((time.monotonic() - started) * 1000),
        )
        response["X-Request-ID"] = structlog.contextvars.get_contextvars().get("request_id", "")
        return response
