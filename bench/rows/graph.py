"""graph: node executions a second of a chain and a fan-out of trivial blocks, durable, against LangGraph on SQLite."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from bench.graph_blocks import ONCE, STEP
from bench.report import Figure, Result, spread
from bench.stack import BenchError, Process, free_port, redis_command

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "bench" / ".venv-langgraph"
PINNED = ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2")
SIZE = 1000
GOALS = {"chain": 3.0, "fan-out": 1.5}
ANSWER_SECONDS = 300.0


class Program:
    """A program that answers a JSON line with a JSON line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *command: str, env: Mapping[str, str] | None = None) -> Program:
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe))

    async def seconds(self, **job: Any) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await self._process.stdout.readline()
        if not answer:
            raise BenchError("a program that runs graphs ended early")
        found: float = json.loads(answer)["seconds"]
        return found

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def measure(*, quick: bool) -> Result:
    """Run the same graphs by turns: ours, LangGraph, the plain loop."""
    rounds, size = (3, SIZE // 5) if quick else (7, SIZE)
    python = await asyncio.to_thread(langgraph_python)
    result = Result(database="sqlite")
    folder = Path(tempfile.mkdtemp(prefix="bench-graph-"))
    port = free_port()
    redis = Process("redis", redis_command(port), env=os.environ, log=folder / "redis.log", port=port)
    programs: list[Program] = []
    try:
        redis.start()
        await redis.ready()
        env = environment(folder, port)
        migrate = await asyncio.create_subprocess_exec(
            sys.executable, "manage.py", "migrate", "--verbosity", "0", cwd=ROOT, env=env
        )
        if await migrate.wait():
            raise BenchError("the database could not be made")
        ours = await Program.start(sys.executable, "-m", "bench.graph_ours", env=env)
        theirs = await Program.start(str(python), str(ROOT / "bench" / "graph_langgraph.py"))
        programs = [ours, theirs]
        for shape in GOALS:
            result.figures.append(await compare(result, ours, theirs, shape=shape, size=size, rounds=rounds))
    finally:
        for program in programs:
            await program.stop()
        redis.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return result


async def compare(result: Result, ours: Program, theirs: Program, *, shape: str, size: int, rounds: int) -> Figure:
    """Measure one shape of graph."""
    found: dict[str, list[float]] = {"ours": [], "once": [], "langgraph": [], "plain": []}
    for number in range(rounds + 1):
        job = {"shape": shape, "size": size}
        seconds = {
            "ours": await ours.seconds(block=STEP, **job),
            "langgraph": await theirs.seconds(**job),
            "once": await ours.seconds(block=ONCE, **job),
            "plain": await ours.seconds(block="plain", **job),
        }
        if number:  # the first has to import
            for name, value in seconds.items():
                found[name].append(size / value)
    result.samples.append({"shape": shape, "size": size, "nodes_per_second": found})
    ratio = median(found["ours"]) / median(found["langgraph"])
    once = median(found["once"]) / median(found["langgraph"])
    return Figure(
        name="graph",
        what=f"{shape} of {size} nodes",
        ours=f"{spread(found['ours'], ' nodes/s')}; of blocks that must not run twice {spread(found['once'])}",
        other=f"LangGraph {spread(found['langgraph'], ' nodes/s')}; plain loop {spread(found['plain'])}",
        ratio=f"{ratio:.2f}× (must not run twice: {once:.2f}×)",
        goal=f"≥ {GOALS[shape]:g}×",
        reached=ratio >= GOALS[shape],
    )


def environment(folder: Path, redis_port: int) -> dict[str, str]:
    """Return the product's environment, with its own settings of a database on disk."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings.local",
        "FLIGHTDECK_READ_DOTENV": "false",
        "VAR_DIR": str(folder),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "DATABASE_URL": f"sqlite:///{folder / 'bench.sqlite3'}",
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "LIBRARY_BLOCK_MODULES": "bench.graph_blocks",
        "LOG_LEVEL": "WARNING",
    }


def langgraph_python() -> Path:
    """Return the interpreter of LangGraph's virtualenv, which is made when it is first needed."""
    import subprocess

    python = VENV / "bin" / "python"
    if not (VENV / "installed").exists():
        venv.create(VENV, with_pip=True, clear=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "-q", *PINNED], check=False)
        if done.returncode:
            raise BenchError("LangGraph could not be installed")
        (VENV / "installed").touch()
    return python
