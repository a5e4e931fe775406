"""Asks for pages over one connection, as a browser does, and takes the time of each."""

from __future__ import annotations

import asyncio
import http.client
import time
from typing import Any


async def do_pages(job: dict[str, Any]) -> dict[str, Any]:
    """Ask for each path so often, by turns; returns the seconds of each until its whole body was there."""
    return await asyncio.to_thread(ask, job)


def ask(job: dict[str, Any]) -> dict[str, Any]:
    """Do the same in a thread of its own.

    Raises:
        ValueError: When an answer isn't a page.
    """
    connection = http.client.HTTPConnection("127.0.0.1", job["port"], timeout=120)
    seconds: dict[str, list[float]] = {path: [] for path in job["paths"]}
    for _ in range(job["times"]):
        for path in job["paths"]:
            began = time.perf_counter()
            connection.request("GET", path, headers={"Cookie": job["cookie"], "Accept-Encoding": "identity"})
            answer = connection.getresponse()
            answer.read()
            seconds[path].append(time.perf_counter() - began)
            if answer.status != 200:
                raise ValueError(f"{path} answered {answer.status}")
    connection.close()
    return {"seconds": seconds}
