"""`python -m tests.chaos.graphs`: kill workers while agents run, and see that no step is lost or done twice."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx2

from tests.chaos.blocks import SAFE_STEP, STEP
from tests.chaos.cluster import Cluster, Shape
from tests.chaos.processes import Process

STEPS = 8
LANES = 3
AT_ONCE = 6
#: After the last kill everything must be over, or running again, within this.
SETTLE_SECONDS = 30.0
LEAST_COMPLETED = 0.95
INTERRUPTED = "It was interrupted"
AGENT_INPUT, AGENT_OUTPUT = "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b", "363ae599-353e-4804-937e-b2ee3cef3da4"


@dataclass(slots=True)
class Verdict:
    """What was seen."""

    kills: int = 0
    runs: int = 0
    completed: int = 0
    steps: int = 0
    done_again: int = 0  # idempotent ones, rightfully
    interrupted: int = 0
    failures: list[str] = field(default_factory=list)


def agent_graph(rng: random.Random) -> dict[str, Any]:
    """Return an agent of some lanes of steps, in which a step goes on also after one that was interrupted."""
    nodes = [{"id": "in", "block_id": AGENT_INPUT, "input_default": {"name": "in"}, "metadata": {}}]
    links: list[dict[str, Any]] = []
    for lane in range(LANES):
        last = ["in.result"]
        for step in range(STEPS):
            name = f"{lane}-{step}"
            kind = STEP if rng.random() < 0.5 else SAFE_STEP
            defaults = {"seconds": round(rng.uniform(0.05, 0.4), 2)}
            nodes.append({"id": name, "block_id": kind, "input_default": defaults, "metadata": {}})
            links += [link(source, f"{name}.value") for source in last]
            last = [f"{name}.out", f"{name}.error"]
        out = {"name": f"lane {lane}"}
        nodes.append({"id": f"out-{lane}", "block_id": AGENT_OUTPUT, "input_default": out, "metadata": {}})
        links += [link(source, f"out-{lane}.value") for source in last]
    return {"name": "Chaos", "description": "", "nodes": nodes, "links": links}


def link(source: str, sink: str) -> dict[str, Any]:
    """Return a link in the file format."""
    (source_id, source_name), (sink_id, sink_name) = source.split("."), sink.split(".")
    ends = {"source_id": source_id, "source_name": source_name, "sink_id": sink_id, "sink_name": sink_name}
    return {"id": str(uuid4()), **ends, "is_static": False}


class Agents:
    """People who run agents all the time."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        """Prepare."""
        self.cluster = cluster
        self.rng = rng
        self.run_ids: list[str] = []
        self.is_closing = False
        headers = {"Authorization": f"Token {cluster.people[0].token}"}
        url = f"http://127.0.0.1:{cluster.webs[0].port}/api/library"
        self.http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API; a server that is away for a moment is asked again."""
        while True:
            try:
                answer = await self.http.request(method, path, json=body)
            except httpx2.TransportError:
                if method != "GET":
                    raise
                await asyncio.sleep(0.3)  # a connection that was kept open and closed as we wrote
                continue
            if answer.status_code not in {429, 503}:
                assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
                return answer.json()
            await asyncio.sleep(0.3)

    async def one(self) -> None:
        """Run one agent again and again."""
        agent = (await self.ask("POST", "/agents/import", agent_graph(self.rng)))["agent"]
        while not self.is_closing:
            run = await self.ask("POST", f"/agents/{agent['id']}/run", {"inputs": {"in": str(uuid4())}})
            self.run_ids.append(run["id"])
            while (await self.ask("GET", f"/executions/{run['id']}?limit=1"))["status"] in {"QUEUED", "RUNNING"}:
                await asyncio.sleep(0.3)

    async def details(self) -> list[dict[str, Any]]:
        """Return every run with all its node runs."""
        return [await self.ask("GET", f"/executions/{run_id}?limit=100") for run_id in self.run_ids]


async def run(*, kills: int, database: str, seed: int) -> Verdict:
    """Kill workers while agents run, and judge what is left."""
    rng = random.Random(seed)
    verdict = Verdict()
    async with Cluster(Shape(database=database, webs=1, workers=0, people=1)) as cluster:
        workers = await graph_workers(cluster, 2)
        agents = Agents(cluster, rng)
        tasks = [asyncio.create_task(agents.one()) for _ in range(AT_ONCE)]
        try:
            for _ in range(kills):
                await asyncio.sleep(rng.uniform(1.5, 3.5))
                broken = [task for task in tasks if task.done()]
                if broken:
                    broken[0].result()
                worker = rng.choice(workers)
                await worker.kill()
                verdict.kills += 1
                worker.start()
                await worker.ready()
            agents.is_closing = True
            try:
                async with asyncio.timeout(SETTLE_SECONDS):
                    await asyncio.gather(*tasks)
            except TimeoutError:
                verdict.failures.append(f"runs weren't over {SETTLE_SECONDS:g} s after the last kill")
            judge(verdict, await agents.details(), cluster.tool_log.read_text())
            if verdict.failures:
                verdict.failures.append(f"logs are kept in {cluster.keep_logs('graphs')}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(worker.kill() for worker in workers))
            await agents.http.aclose()
    return verdict


async def graph_workers(cluster: Cluster, count: int) -> list[Process]:
    """Start workers of the queue `graphs` that know the blocks beside this module."""
    env = cluster.env | {"LIBRARY_BLOCK_MODULES": "tests.chaos.blocks"}
    web = cluster.webs[0]
    await web.kill()
    cluster.webs[0] = Process("web", web._command, env=env, log=web.log, port=web.port)
    workers = []
    for number in range(count):
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "worker",
            "-Q",
            "graphs",
            "--pool=threads",
            "-c",
            "8",
        ]
        command += ["-n", f"g{number}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        log = cluster.folder / f"graphs{number}.log"
        workers.append(Process(f"graphs{number}", command, env=env, log=log, tells=True))
    for process in (cluster.webs[0], *workers):
        process.start()
    await asyncio.gather(*(process.ready() for process in (cluster.webs[0], *workers)))
    return workers


def judge(verdict: Verdict, runs: list[dict[str, Any]], log: str) -> None:
    """Compare the rows with what blocks noted outside."""
    starts: dict[str, list[float]] = {}
    ends: dict[str, int] = {}
    for line in log.splitlines():
        what, key, _, at = line.split()
        if what == "start":
            starts.setdefault(key, []).append(float(at))
        else:
            ends[key] = ends.get(key, 0) + 1
    verdict.runs = len(runs)
    verdict.completed = sum(run["status"] == "COMPLETED" for run in runs)
    for run in runs:
        if run["status"] in {"QUEUED", "RUNNING"}:
            verdict.failures.append(f"the run {run['id']} is {run['status']}")
        for node in run["nodes"]:
            if node["block_id"] in {STEP, SAFE_STEP}:
                judge_step(verdict, run, node, starts.get(node["id"], []), ends.get(node["id"], 0))
    if verdict.completed < LEAST_COMPLETED * verdict.runs:
        verdict.failures.append(f"only {verdict.completed} of {verdict.runs} runs completed")


def judge_step(verdict: Verdict, run: dict[str, Any], node: dict[str, Any], starts: list[float], ends: int) -> None:
    """Judge one node run."""
    verdict.steps += 1
    where = f"the step {node['id']} of {run['id']} ({node['status']})"
    was_interrupted = node["status"] == "FAILED" and node["error"].startswith(INTERRUPTED)
    verdict.interrupted += was_interrupted
    if len(starts) > 1:
        if node["block_id"] == STEP:
            verdict.failures.append(f"{where} began {len(starts)} times")
        verdict.done_again += 1
        ended_at = datetime.fromisoformat(node["ended_at"]).timestamp() if node["ended_at"] else float("inf")
        if starts[-1] > ended_at + 0.01:
            verdict.failures.append(f"{where} began again after it was over")
    if node["status"] == "COMPLETED" and not ends:
        verdict.failures.append(f"{where} never ended outside")
    if starts and run["status"] == "COMPLETED" and node["status"] != "COMPLETED" and not was_interrupted:
        verdict.failures.append(f"{where} was begun and is neither done nor reported")


def main() -> int:
    """Run it; 1 when something was lost or done twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.graphs")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="sqlite")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    began = time.monotonic()
    verdict = asyncio.run(run(kills=options.kills, database=options.database, seed=options.seed))
    figures = {"seed": options.seed, "seconds": round(time.monotonic() - began), "cores": os.cpu_count()}
    sys.stdout.write(f"{json.dumps({**asdict(verdict), **figures}, indent=1)}\n")
    return 1 if verdict.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
