"""Server-sent events as the AI SDK's UI message stream wants them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from django.http import StreamingHttpResponse

from apps.runtime.loop import end_tasks

KEEP_ALIVE_SECONDS = 10.0
KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "x-vercel-ai-ui-message-stream": "v1",
}


def frame(event_id: str, data: bytes) -> bytes:
    """Return one event; `data` is a line of JSON, and an empty id is left out."""
    place = f"id: {event_id}\n" if event_id else ""
    return b"%sdata: %s\n\n" % (place.encode(), data)


def response(frames: AsyncGenerator[bytes]) -> StreamingHttpResponse:
    """Return a streaming answer that keeps its connection alive and ends with `[DONE]`."""
    return StreamingHttpResponse(_alive(frames), content_type="text/event-stream", headers=HEADERS)


async def _alive(frames: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """Pass frames on, with a comment line at every `KEEP_ALIVE_SECONDS` of silence."""
    async with aclosing(frames):
        pending: asyncio.Task[bytes] | None = None
        try:
            yield KEEP_ALIVE  # at once, so that proxies and clients see that the answer has begun
            while True:
                pending = pending or asyncio.ensure_future(anext(frames))  # type: ignore[arg-type]
                done, _ = await asyncio.wait({pending}, timeout=KEEP_ALIVE_SECONDS)
                if not done:
                    yield KEEP_ALIVE
                    continue
                task, pending = pending, None
                try:
                    item = task.result()
                except StopAsyncIteration:
                    break
                yield item
            yield DONE
        finally:
            await end_tasks(pending)
