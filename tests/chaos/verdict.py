"""What a scenario proved: counts that must be zero, and how fast things went on."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import quantiles
from typing import Any

from tests.chaos.database import CallFact, TurnFact
from tests.chaos.faults import ALLOWED_SECONDS, Chaos, Fault
from tests.chaos.world import Sent, World

LEAST_COMPLETED = 0.95


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The figures of one scenario; `failures` says in words what is wrong."""

    scenario: str
    database: str
    lease_seconds: float
    seconds: float
    faults: dict[str, int]
    turns: int
    messages: int
    statuses: dict[str, int]
    lost_messages: int = 0
    tools_started: int = 0
    tools_twice: int = 0
    tools_again: int = 0  # idempotent ones that rightly ran again
    gaps: int = 0
    repeats: int = 0
    disorder: int = 0
    differing_screens: int = 0
    stuck_readers: int = 0
    late_turns: int = 0
    hit_turns: int = 0
    hit_completed: int = 0
    interrupted: int = 0
    interrupted_wrongly: int = 0
    reloads: int = 0
    torn_reads: int = 0  # rows of a turn of which the same answer said that none is in flight
    server_errors: dict[int, int] = field(default_factory=dict)
    recovery_p50: float | None = None
    recovery_p95: float | None = None
    recovery_max: float | None = None
    failures: list[str] = field(default_factory=list)
    samples: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as raw data."""
        return asdict(self)


async def judge(scenario: str, world: World, chaos: Chaos, seconds: float, *, must_complete: bool) -> Verdict:
    """Look at everything that was sent, shown, run and stored.

    Args:
        scenario: Its name.
        world: The conversations, which have ended.
        chaos: The faults.
        seconds: How long it took.
        must_complete: Whether every turn must be completed, not only most of those that were hit.
    """
    database = world.cluster.database
    facts = await database.read(database.turns, [sent.turn_id for sent in world.ledger if sent.turn_id])
    verdict = Verdict(
        scenario=scenario,
        database=world.cluster.shape.database,
        lease_seconds=world.cluster.shape.lease_seconds,
        seconds=round(seconds, 1),
        faults=dict(Counter(fault.kind.split(" of ")[0] for fault in chaos.faults)),
        turns=len(facts),
        messages=sum(sent.is_accepted for sent in world.ledger),
        statuses=dict(Counter(fact.status for fact in facts.values())),
        server_errors=world.errors,
    )
    _judge_messages(verdict, world.ledger, await database.read(database.user_rows))
    _judge_screens(verdict, world.ledger)
    _judge_tools(verdict, world, chaos.faults, await database.read(database.calls))
    _judge_turns(verdict, world.ledger, chaos.faults, facts)
    _judge_recovery(verdict, world, chaos.faults)
    completed = verdict.statuses.get("completed", 0)
    if must_complete and completed < verdict.turns:
        verdict.failures.append(f"{verdict.turns - completed} turns of {verdict.turns} are not completed")
    return verdict


def _judge_messages(verdict: Verdict, ledger: list[Sent], rows: dict[str, list[str]]) -> None:
    for sent in ledger:
        found = rows.get(sent.client_message_id, [])
        if (sent.is_accepted and found != [sent.plan.message]) or len(found) > 1:
            verdict.lost_messages += 1
            verdict.failures.append(f"message {sent.client_message_id} is in {len(found)} rows")


def _judge_screens(verdict: Verdict, ledger: list[Sent]) -> None:
    for sent in ledger:
        for screen in sent.screens:
            verdict.gaps += len(screen.gaps)
            verdict.repeats += len(screen.repeats)
            verdict.disorder += len(screen.disorder)
            verdict.reloads += screen.reloads
            verdict.torn_reads += screen.torn_reads
            for kind in ("gaps", "repeats", "disorder"):
                where = f"{kind} in {sent.turn_id} on the {screen.reader}"
                asked = "; ".join(screen.asked)
                verdict.failures += [f"{where}: {problem} (asked: {asked})" for problem in getattr(screen, kind)]
        verdict.differing_screens += len(sent.differences)
        verdict.stuck_readers += len(sent.stuck)
        verdict.failures += sent.differences
        verdict.failures += [f"stuck: {problem}" for problem in sent.stuck]


class ToolLog:
    """The outside file that tools write to."""

    def __init__(self, text: str) -> None:
        """Read it."""
        self.starts: dict[str, list[tuple[int, float]]] = {}
        self._ends: set[tuple[str, int]] = set()
        for line in text.splitlines():
            what, key, pid, at = line.split(" ")
            if what == "start":
                self.starts.setdefault(key, []).append((int(pid), float(at)))
            else:
                self._ends.add((key, int(pid)))

    def was_cut(self, key: str, faults: list[Fault]) -> bool:
        """Whether a call began in a process that was hit, and didn't end there."""
        unended = [(pid, at) for pid, at in self.starts.get(key, ()) if (key, pid) not in self._ends]
        return any(fault.may_have_cut(pid, at, math.inf) for pid, at in unended for fault in faults)


def _judge_tools(verdict: Verdict, world: World, faults: list[Fault], calls: list[CallFact]) -> None:
    """Read the outside file: what isn't idempotent starts once; the rest again only after a blow to its runner."""
    is_idempotent = {key: fine for sent in world.ledger for key, fine in sent.plan.keys.items()}
    key_of = {call.id: json.loads(call.arguments)["key"] for call in calls}
    done_at = {key_of[call.id]: call.done_at for call in calls if call.state == "done"}
    log = ToolLog(world.cluster.tool_log.read_text())
    verdict.tools_started = sum(len(times) for times in log.starts.values())
    for key, times in log.starts.items():
        for (pid, at), (_, again) in pairwise(times):
            hit = any(fault.may_have_cut(pid, at, again) for fault in faults)
            stored = done_at.get(key)
            if is_idempotent[key] and hit and (stored is None or stored >= again):
                verdict.tools_again += 1
            else:
                verdict.tools_twice += 1
                verdict.failures.append(f"tool {key} ran twice (idempotent: {is_idempotent[key]}, runner hit: {hit})")
    risky = {call for fault in faults for call in fault.cut_off}
    for call in (call for sent in world.ledger for call in sent.interrupted):
        verdict.interrupted += 1
        key = key_of[call]
        if is_idempotent[key] or not (call in risky or log.was_cut(key, faults)):
            verdict.interrupted_wrongly += 1
            verdict.failures.append(f"call {call} ({key}) is interrupted, but wasn't in flight at a fault")


def _judge_turns(verdict: Verdict, ledger: list[Sent], faults: list[Fault], facts: dict[str, TurnFact]) -> None:
    by_turn = {sent.turn_id: sent for sent in ledger}
    hit = {turn for fault in faults for turn in fault.turns if turn in by_turn}
    for fault in faults:
        for turn in fault.turns:
            if fault.settled.get(turn, ALLOWED_SECONDS + 1) > ALLOWED_SECONDS:
                verdict.late_turns += 1
                verdict.failures.append(
                    f"{turn} was not running again or over {ALLOWED_SECONDS:g} s after: {fault.kind}"
                )
    verdict.hit_turns = len(hit)
    for turn in hit:
        sent = by_turn[turn]
        if facts[turn].status == "completed" and sent.texts == sent.plan.texts:
            verdict.hit_completed += 1
    for sent in ledger:
        if sent.turn_id in facts and facts[sent.turn_id].status == "completed" and sent.texts != sent.plan.texts:
            verdict.failures.append(f"{sent.turn_id} is completed with other texts: {sent.texts} for {sent.plan.texts}")
    for turn_id, fact in facts.items():
        if turn_id not in hit and fact.status != "completed":
            verdict.failures.append(f"{turn_id} ended {fact.status} although no fault hit it")
    if verdict.hit_turns and verdict.hit_completed < LEAST_COMPLETED * verdict.hit_turns:
        verdict.failures.append(
            f"only {verdict.hit_completed} of {verdict.hit_turns} hit turns are completed as scripted"
        )


def _judge_recovery(verdict: Verdict, world: World, faults: list[Fault]) -> None:
    """Measure from each blow to the next event at each reader of each turn that it hit."""
    by_turn = {sent.turn_id: sent for sent in world.ledger}
    samples = []
    if set(verdict.faults) == {"web kill"}:
        samples = [waited for _, waited in world.resumed]
    else:
        for fault in faults:
            for turn, attempt in fault.turns.items():
                for screen in by_turn[turn].screens if turn in by_turn else ():
                    came = screen.first_event_after(fault.at, attempt if fault.takes_runners else -1)
                    samples += [came - fault.at] if came is not None else []
    verdict.samples = sorted(round(sample, 3) for sample in samples)
    if len(verdict.samples) > 1:
        cuts = quantiles(verdict.samples, n=20, method="inclusive")
        verdict.recovery_p50, verdict.recovery_p95 = round(cuts[9], 2), round(cuts[18], 2)
        verdict.recovery_max = round(verdict.samples[-1], 2)
