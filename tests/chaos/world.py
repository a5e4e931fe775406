"""Conversations that flow while things break, and the ledger of what was sent and seen."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.clients import Door, SseReader, WsReader
from tests.chaos.cluster import Cluster, Person
from tests.chaos.screen import Screen, shown_of_row
from tests.chaos.scripts import Pace, Plan, make_plan

TURNS_A_SESSION = 6
STUCK_SECONDS = 120.0  # then a turn that readers wait for is reported and left
#: So long after the sender the others must have seen the end: they missed an announcement at worst.
ONLOOKER_SECONDS = 15.0


@dataclass(slots=True, kw_only=True)
class Sent:
    """A message and what became of it."""

    plan: Plan
    session_id: str
    client_message_id: str
    way: str
    is_accepted: bool = False
    turn_id: str = ""
    screens: list[Screen] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)  # ids of calls whose result is the error `interrupted`
    is_judged: bool = False


class World:
    """All conversations of a scenario."""

    def __init__(
        self, cluster: Cluster, *, seed: int, conversations: int, pace: Pace, sse_every: int = 1, label: str = "c"
    ) -> None:
        """Prepare; `start` begins.

        Args:
            cluster: What they talk to.
            seed: Of everything random here.
            conversations: How many go on at the same time.
            pace: How slow the model is.
            sse_every: Each so-manieth conversation has a reader on server-sent events besides the websocket.
            label: Begins the names of scripts.
        """
        self.cluster = cluster
        self.rng = random.Random(seed)
        self.pace = pace
        self.ledger: list[Sent] = []
        self.resumed: list[tuple[float, float]] = []
        self.errors: dict[int, int] = {}
        self.is_closing = False
        self._label = label
        self._count = conversations
        self._sse_every = sse_every
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let the conversations begin."""
        for number in range(self._count):
            person = self.cluster.people[number % len(self.cluster.people)]
            with_sse = number % self._sse_every == 0
            talk = Conversation(self, person, f"{self._label}{number}", random.Random(self.rng.random()), with_sse)
            self._tasks.append(asyncio.create_task(talk.run(), name=f"conversation {number}"))

    async def busy(self, share: float = 0.7) -> None:
        """Wait until so many of the conversations show an answer."""
        while len(self.in_flight()) < share * self._count:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Let every conversation end the turn that it is in.

        Raises:
            Exception: What broke a conversation, a fault of the harness or a refusal.
        """
        self.is_closing = True
        await asyncio.gather(*self._tasks)

    def in_flight(self) -> list[Sent]:
        """Return what is being answered before somebody's eyes."""
        return [sent for sent in self.ledger if not sent.is_judged and any(s.arrivals for s in sent.screens)]


class Conversation:
    """A person who asks one thing after another, with a page and perhaps a program looking on."""

    def __init__(self, world: World, person: Person, name: str, rng: random.Random, with_sse: bool) -> None:
        """Prepare."""
        self._world = world
        self._person = person
        self._name = name
        self._rng = rng
        self._with_sse = with_sse
        self._turns = 0

    async def run(self) -> None:
        """Talk until the world closes."""
        await asyncio.sleep(self._rng.random())
        while not self._world.is_closing:
            await self._one_session()

    async def _one_session(self) -> None:
        doors = [Door(self._world.cluster, self._person, self._rng) for _ in range(2)]
        session_id = (await doors[0].ask("POST", "sessions", {}))["id"]
        page = WsReader(doors[0], session_id, self._rng)
        program = SseReader(doors[1], session_id) if self._with_sse else None
        try:
            for _ in range(TURNS_A_SESSION):
                if self._world.is_closing:
                    return
                await self._one_turn(page, program)
                await asyncio.sleep(self._rng.uniform(0, 0.3))
        finally:
            await page.close()
            for reader in (page, program):
                if reader is not None:
                    self._world.resumed += reader.resumed
                    for status, count in reader.door.errors.items():
                        self._world.errors[status] = self._world.errors.get(status, 0) + count

    async def _one_turn(self, page: WsReader, program: SseReader | None) -> None:
        plan = make_plan(self._rng, f"{self._name}-t{self._turns}", self._world.pace)
        self._turns += 1
        await self._world.cluster.script(plan.name, plan.steps)
        by_program = program is not None and self._rng.random() < 0.5
        sent = Sent(
            plan=plan,
            session_id=page.session_id,
            client_message_id=str(uuid.uuid4()),
            way="sse" if by_program else "ws",
        )
        self._world.ledger.append(sent)
        following = await self._send(sent, page, program)
        readers = [page, *([program] if program else [])]
        sent.screens = [reader.screen(sent.turn_id) for reader in readers]
        await self._until_ended(sent, readers, following)
        await self._judge(sent, page.door)

    async def _send(self, sent: Sent, page: WsReader, program: SseReader | None) -> asyncio.Task[None] | None:
        """Send the message one way; returns what follows its turn on the other."""
        if sent.way == "ws" or program is None:
            sent.turn_id = await page.send(sent.plan.message, sent.client_message_id)
            sent.is_accepted = True
            return asyncio.create_task(program.follow(sent.turn_id)) if program else None
        accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        following = asyncio.create_task(program.send(sent.plan.message, sent.client_message_id, accepted))
        both: set[asyncio.Future[Any]] = {accepted, following}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not accepted.done():
            following.result()
        sent.turn_id, sent.is_accepted = accepted.result(), True
        return following

    async def _until_ended(self, sent: Sent, readers: list[Any], following: asyncio.Task[None] | None) -> None:
        """Wait until every reader has seen the end; who doesn't is reported."""
        sender_first = sorted(readers, key=lambda reader: (reader.kind == "sse") != (sent.way == "sse"))
        for place, reader in enumerate(sender_first):
            limit = ONLOOKER_SECONDS if place else STUCK_SECONDS
            try:
                async with asyncio.timeout(limit):
                    await reader.ended(sent.turn_id)
            except TimeoutError:
                screen = reader.screen(sent.turn_id)
                sent.stuck.append(f"{sent.turn_id} at {screen.last} on the {reader.kind}, sent by {sent.way}")
                await reader.load()
        if following is not None:
            following.cancel()
            results = await asyncio.gather(following, return_exceptions=True)
            if isinstance(results[0], Exception):
                raise results[0]

    async def _judge(self, sent: Sent, door: Door) -> None:
        """Compare every screen with the rows of a reload."""
        session = await door.session(sent.session_id)
        rows = [row for row in session["messages"] if row["turn_id"] == sent.turn_id and row["role"] != "user"]
        stored = [shown_of_row(row) for row in rows]
        sent.texts = [row["content"] for row in rows if row["role"] == "assistant" and row["content"]]
        sent.interrupted = [
            row["tool_call_id"]
            for row in rows
            if row["kind"] == "no_result" and row["content"].startswith("interrupted")
        ]
        for screen in sent.screens:
            if not screen.ended:
                sent.differences.append(f"{sent.turn_id}: the {screen.reader} shows no end")
            elif (shown := screen.shows()) != stored:
                first = next(
                    (n for n, pair in enumerate(zip(shown, stored, strict=False)) if pair[0] != pair[1]), "end"
                )
                sent.differences.append(
                    f"{sent.turn_id}: the {screen.reader} ({screen.ended}) differs from row {first}: "
                    f"{len(shown)} shown, {len(stored)} stored; "
                    f"shown {shown[first] if isinstance(first, int) else shown[len(stored) :]}; "
                    f"stored {stored[first] if isinstance(first, int) else stored[len(shown) :]}"
                )
        await self._check_suspects(sent)
        sent.is_judged = True

    async def _check_suspects(self, sent: Sent) -> None:
        """Ask the log whether numbers that a reader didn't see were demands to reload."""
        if not any(screen.suspects for screen in sent.screens):
            return
        import redis.asyncio

        async with redis.asyncio.Redis.from_url(self._world.cluster.redis.url) as client:
            for screen in sent.screens:
                for suspect in screen.suspects:
                    try:
                        rows: Any = await client.xrange(f"chat:stream:{sent.turn_id}", str(suspect), str(suspect))
                    except (redis.RedisError, OSError):
                        rows = []
                    if rows and rows[0][1].get(b"t") != b"reload":
                        screen.gaps.append(f"{suspect} was never shown")
