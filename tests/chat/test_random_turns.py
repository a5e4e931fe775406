"""Whatever many turns use, and whoever runs them: cost entries, windows, turns and sessions agree."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from django.db.models import Sum

from apps.chat.models import Session, Turn
from apps.chat.turns import rows
from apps.chat.turns.rows import Write
from apps.chat.turns.start import Started, start_turn
from apps.chat.usage import costs, windows
from apps.chat.usage.costs import ModelCall
from apps.chat.usage.models import CostEntry, UsageWindow
from apps.chat.usage.reconcile import window_differences
from apps.engines.base import Usage
from apps.engines.catalog import UNKNOWN, ModelFacts
from apps.engines.cost import parse_usage
from apps.runtime.leases import Claim, Replaced
from tests.conftest import make_person
from tests.depth import depth

pytestmark = pytest.mark.django_db

#: The short form meets all that can happen, too.
TURNS = depth(quick=150, full=1_000, deep=1_000)
#: Friday evening: the turns go on through two midnights of a week and into the next one.
FRIDAY = datetime(2026, 11, 13, 22, tzinfo=UTC)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
#: Whole dollars a million tokens, so that prices are whole microdollars.
PRICED = ModelFacts(
    input_price=3.0, output_price=15.0, cache_write_5m_price=4.0, cache_write_1h_price=6.0, cache_read_price=1.0
)
TOKENS = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens")
INVALID = [None, "0.5", "NaN", float("nan"), float("inf"), -0.01, True, [], 1e300]


class World:
    """Runs turns as workers do, and keeps books of its own beside the product's."""

    def __init__(self, people: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.chance = random.Random(17)
        self.now = FRIDAY
        self.sessions = [Session.objects.create(user=person.user) for person in people for _ in range(3)]
        self.spent: dict[tuple[UUID, str, datetime], int] = defaultdict(int)
        self.of_turn: dict[UUID, Counter[str]] = defaultdict(Counter)
        self.of_session: dict[UUID, Counter[str]] = defaultdict(Counter)
        self.met: Counter[str] = Counter()
        self.waiting: set[Session] = set()
        monkeypatch.setattr(costs, "timezone", SimpleNamespace(now=lambda: self.now))

    def call(self) -> tuple[ModelCall, int | None]:
        """Return a random model call and what it costs; None where nobody knows."""
        chance, many = self.chance, lambda: self.chance.choice([0, 1, self.chance.randrange(5_000)])
        usage = Usage(**{name: many() for name in TOKENS})
        ttl = chance.choice(["5m", "1h"])
        kind = chance.choice(["told", "free", "table", "estimated", "unpriced", "invalid", "nothing"])
        facts, cost = PRICED, None
        if kind == "told":
            cost = chance.randrange(20_000)
            usage = parse_usage({"prompt_tokens": 9, "completion_tokens": many(), "cost": cost / 1_000_000}) or usage
        elif kind == "free":
            usage, cost = parse_usage({"prompt_tokens": 7, "cost": 0}) or usage, 0
        elif kind == "invalid":
            usage = parse_usage({"prompt_tokens": 5, "completion_tokens": -1, "cost": chance.choice(INVALID)}) or usage
        elif kind == "nothing":
            usage = Usage()
        elif kind == "unpriced":
            facts, usage = UNKNOWN, Usage(prompt_tokens=1 + many())
        if kind not in {"told", "free", "unpriced"}:
            prices = (3, 15, 1, 4 if ttl == "5m" else 6)
            cost = sum(getattr(usage, name) * price for name, price in zip(TOKENS, prices, strict=True))
        self.met[kind] += 1
        is_estimated = kind == "estimated"
        call = ModelCall(provider="p", model="m", usage=usage, facts=facts, cache_ttl=ttl, is_estimated=is_estimated)
        return call, cost

    def calls(self) -> list[tuple[ModelCall, int | None]]:
        return [self.call() for _ in range(self.chance.choice([0, 1, 1, 1]))]

    def take_down(self, turn: Turn, calls: list[tuple[ModelCall, int | None]]) -> None:
        """Write calls that were committed into our own books."""
        for call, cost in calls:
            for kind in windows.KINDS:
                if cost:
                    self.spent[turn.session.user_id, kind, windows.window_start(kind, self.now)] += cost
            facts = {"cost": cost or 0, "calls": 1, **{name: getattr(call.usage, name) for name in TOKENS}}
            self.of_turn[turn.pk].update(facts)
            self.of_session[turn.session_id].update(facts)

    def commit(self, turn: Turn, claim: Claim, number: int, **fields: Any) -> None:
        """Make one write of a runner; now and then its answer is lost, and it is made again, even later."""
        calls = self.calls()
        write = Write(model_calls=[call for call, _ in calls], **fields)
        rows.commit(claim, number, turn.session_id, write)
        self.take_down(turn, calls)
        while self.chance.random() < 0.1:
            self.now += timedelta(seconds=self.chance.randrange(60))
            rows.commit(claim, number, turn.session_id, write)
            self.met["repeated"] += 1

    def claim(self, turn: Turn) -> Claim:
        claim = Turn.objects.claim(turn.pk, runner="r", lease_seconds=15)
        assert claim is not None
        return claim

    def replace(self, turn: Turn, claim: Claim, number: int) -> tuple[Claim, int]:
        """Let a runner lose its turn to another one; what it still has to book is refused."""
        Turn.objects.filter(pk=turn.pk).update(lease_expires_at=FRIDAY - timedelta(days=9_000))
        successor = self.claim(turn)
        late = [call for call, _ in self.calls()]
        with pytest.raises(Replaced):
            rows.commit(claim, number, turn.session_id, Write(model_calls=late, ended="completed"))
        self.met["replaced"] += 1
        return successor, 1

    def run(self, turn: Turn) -> None:
        """Run one turn to its end."""
        claim, number = self.claim(turn), 1
        for step in range(1, self.chance.choice([1, 1, 1, 1, 1, 1, 2, 3])):
            self.commit(turn, claim, number, step=step, resume_after=f"{claim.attempt * 1000 + step}-9")
            number += 1
            fate = self.chance.random()
            if fate < 0.3:
                claim, number = self.replace(turn, claim, number)
            elif fate < 0.5:
                self.commit(turn, claim, number, handed_over=True)
                claim, number = self.claim(turn), 1
                self.met["handed over"] += 1
        ended = self.chance.choice(["completed", "completed", "failed", "cancelled"])
        if self.chance.random() < 0.1:
            start_turn(session=turn.session, message="One more thing")
            self.met["queued"] += 1
            self.waiting.add(turn.session)
        self.commit(turn, claim, number, ended=ended)
        self.met[ended] += 1
        if self.chance.random() < 0.9:
            return
        late = [call for call, _ in self.calls()]
        with pytest.raises(Replaced):  # a turn that is over books nothing more
            rows.commit(claim, number + 1, turn.session_id, Write(model_calls=late))

    def next_turn(self) -> Turn:
        session = self.chance.choice(self.sessions)
        if session in self.waiting:
            self.waiting.discard(session)
            found = Turn.objects.in_flight().filter(session=session).first()
            if found is not None:  # it answers what waited
                self.met["auto-continued"] += 1
                return Turn(id=found.pk, session=session)
        started = start_turn(session=session, message="Go on")
        assert isinstance(started, Started)
        return Turn(id=started.turn_id, session=session)


@pytest.fixture
def world(settings, monkeypatch, owner, teammate) -> World:
    settings.CHAT_DAILY_LIMIT_MICRODOLLARS = settings.CHAT_WEEKLY_LIMIT_MICRODOLLARS = 0
    return World([owner, teammate, make_person("third@example.com")], monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(300)  # some 35 000 statements: seconds on a machine at rest, minutes on one that is shared
def test_the_books_agree_after_random_turns(world):
    for _ in range(TURNS):
        world.now += timedelta(seconds=world.chance.randrange(480_000 // TURNS))
        world.run(world.next_turn())

    assert Turn.objects.exclude(status__in=Turn.IN_FLIGHT).count() == TURNS
    check_windows(world)
    check_turns_and_sessions(world)
    met = {"told", "free", "table", "estimated", "unpriced", "invalid", "nothing", "repeated", "replaced"}
    assert {*met, "handed over", "queued", "auto-continued", "completed", "failed", "cancelled"} == set(world.met)


def check_windows(world: World) -> None:
    """Fail unless windows equal our books, and the sums of the cost entries that lie in them."""
    rows_ = list(UsageWindow.objects.all())
    assert {(row.user_id, row.kind, row.starts_at): row.used_microdollars for row in rows_} == world.spent
    for row in rows_:
        end = row.starts_at + windows.LENGTH[UsageWindow.Kind(row.kind)]
        entries = CostEntry.objects.filter(user=row.user_id, created_at__gte=row.starts_at, created_at__lt=end)
        assert entries.aggregate(total=Sum("microdollars"))["total"] == row.used_microdollars
    assert window_differences(FRIDAY - timedelta(weeks=2)) == []
    weeks = {row.starts_at for row in rows_ if row.kind == "weekly"}
    assert weeks == {MONDAY - timedelta(weeks=1), MONDAY}
    assert len({row.starts_at for row in rows_ if row.kind == "daily"}) >= 4


def check_turns_and_sessions(world: World) -> None:
    """Fail unless each turn and each session is the sum of its calls, and of its cost entries."""
    sums = {name: Sum(name) for name in (*TOKENS, "microdollars")}
    by_turn = {each.pop("turn"): each for each in CostEntry.objects.values("turn").annotate(**sums).order_by()}
    for turn in Turn.objects.all():
        ours, booked = world.of_turn[turn.pk], by_turn.get(turn.pk, Counter())
        assert turn.cost_microdollars == ours["cost"] == booked["microdollars"]
        told = (turn.prompt_tokens, turn.completion_tokens, turn.cache_read_tokens, turn.cache_creation_tokens)
        assert told == tuple(ours[name] for name in TOKENS) == tuple(booked[name] for name in TOKENS)
    for session in Session.objects.all():
        ours = world.of_session[session.pk]
        for name in ("prompt_tokens", "completion_tokens"):
            assert getattr(session, name) == ours[name]
    assert CostEntry.objects.count() == sum(ours["calls"] for ours in world.of_turn.values())
    assert CostEntry.objects.filter(is_unpriced=True).count() <= world.met["unpriced"]
    assert CostEntry.objects.filter(is_estimated=True, is_unpriced=False).exists()
