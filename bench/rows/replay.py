"""replay: how soon a client is up to date that joins after 10 000 events, against reading the stream itself."""

from __future__ import annotations

from statistics import median
from typing import Any

import redis

from bench.model_server import prompt
from bench.report import Figure, Result, spread
from bench.stack import Stack, patiently

EVENTS = 10_000
FILL_SECONDS = 120.0
#: Each chunk becomes an event of its own: with the usual 25 ms it would take minutes to make so many.
ENV = {"CHAT_DELTA_WINDOW_SECONDS": "0.0001"}
GAP_SECONDS = 0.001


async def measure(*, quick: bool) -> Result:
    """Have a turn say much and then pause; then join it again and again."""
    rounds = 5 if quick else 15
    result = Result()
    async with Stack(people=1, env=ENV) as stack:
        result.database = stack.database.kind
        who = stack.readers(1)[0]
        chunks = EVENTS * 3 // 2  # because two that come close together still travel as one
        wanted = prompt(first=0, chunks=chunks, gap=GAP_SECONDS, hold=600)
        told = await stack.client.do("send", port=stack.web_port, prompt=wanted, **who)
        key = f"chat:stream:{told['turn_id']}"
        last = await filled(stack.redis_url, key, chunks)
        found: dict[str, list[dict[str, Any]]] = {"product": [], "redis": []}
        for number in range(rounds + 1):
            ours = await stack.client.do("replay", port=stack.web_port, last=last, **who)
            theirs = await stack.client.do("read_stream", redis=stack.redis_url, key=key, last=last)
            if number:  # the first has to import and to connect
                found["product"].append(ours)
                found["redis"].append(theirs)
        result.samples = [found]
    ours, theirs = ([one["seconds"] * 1000 for one in found[target]] for target in ("product", "redis"))
    ratio = median(ours) / median(theirs)
    result.figures = [
        Figure(
            name="replay",
            what=f"a client that joins after {found['product'][0]['events']} events is up to date",
            ours=spread(ours, " ms"),
            other=f"XREAD of the stream, decoded: {spread(theirs, ' ms')}",
            ratio=f"{ratio:.2f}×",
            goal="≤ 2×",
            reached=ratio <= 2,
        )
    ]
    return result


async def filled(url: str, key: str, chunks: int) -> str:
    """Wait until the turn has said all and pauses; returns the newest id of its stream."""
    client = redis.Redis.from_url(url)
    newest: list[Any] = []

    def has_said_all() -> bool:
        newest[:] = client.xrevrange(key, count=1)  # type: ignore[call-overload]
        return bool(newest) and f"{chunks - 1:06d}".encode() in newest[0][1][b"d"][-60:]

    await patiently(has_said_all, FILL_SECONDS, "a long stream")
    client.close()
    last: str = newest[0][0].decode()
    return last
