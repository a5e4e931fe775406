"""Whatever people and runners do: a text that was taken is in one user row, in the order typed, or still waits."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from apps.chat import announce, queries, services
from apps.chat.errors import PendingFull
from apps.chat.models import MOST_PENDING, Message, Session, Turn
from apps.chat.turns import pending
from apps.chat.turns.rows import Write, commit
from apps.chat.turns.start import Queued
from apps.runtime.errors import NotFound
from apps.runtime.leases import Claim, Replaced
from apps.runtime.redis import sync_client
from tests.depth import depth

RUNS = depth(quick=30, full=300, deep=5_000)
PLACE = st.integers(0, MOST_PENDING)


class Conversation(RuleBasedStateMachine):
    """A person, a session, and the runners of its turns."""

    user: Any

    def __init__(self) -> None:
        super().__init__()
        self.session = Session.objects.create(user=self.user)
        self.entered: list[str] = []  # texts that must be user rows, in this order
        self.waiting: list[str] = []  # texts that must wait, in this order
        self.sent: dict[str, uuid.UUID] = {}
        self.turn: uuid.UUID | None = None
        self.claim: Claim | None = None
        self.dead: list[Claim] = []
        self.writes = 0
        self.step = 0
        self.last: tuple[int, Write] | None = None
        self.count = 0

    # People -----------------------------------------------------------------------------------------------------

    @rule()
    def send(self) -> None:
        self.count += 1
        self.post(f"text {self.count}", uuid.uuid4())

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        text = data.draw(st.sampled_from(sorted(self.sent)))
        if text in self.entered or text in self.waiting:
            self.ask(text, self.sent[text])

    def post(self, text: str, client_id: uuid.UUID) -> None:
        full = self.turn is not None and len(self.waiting) >= MOST_PENDING
        try:
            taken = self.ask(text, client_id)
        except PendingFull:
            assert full
            return
        assert not full
        self.sent[text] = client_id
        if isinstance(taken, Queued):
            assert self.turn is not None
            self.waiting.append(text)
            assert taken.buffer_length == len(self.waiting)
        else:
            assert self.turn is None
            self.entered += [*self.waiting, text]
            self.waiting = []
            self.begin(taken.turn_id)

    def ask(self, text: str, client_id: uuid.UUID) -> Any:
        data = {"message": text, "client_message_id": client_id}
        return services.send_message(user=self.user, session_id=self.session.pk, data=data)

    @precondition(lambda self: self.waiting)
    @rule(place=PLACE, to=PLACE)
    def move(self, place: int, to: int) -> None:
        place %= len(self.waiting)
        services.change_pending(user=self.user, session_id=self.session.pk, item_id=self.item(place)["id"], position=to)
        self.waiting.insert(to, self.waiting.pop(place))

    @precondition(lambda self: self.waiting)
    @rule(place=PLACE)
    def edit(self, place: int) -> None:
        place %= len(self.waiting)
        self.count += 1
        text = f"text {self.count}"
        services.change_pending(
            user=self.user, session_id=self.session.pk, item_id=self.item(place)["id"], content=text
        )
        self.sent[text] = self.sent.pop(self.waiting[place])
        self.waiting[place] = text

    @precondition(lambda self: self.waiting)
    @rule(place=PLACE)
    def delete(self, place: int) -> None:
        place %= len(self.waiting)
        item = self.item(place)["id"]
        services.delete_pending(user=self.user, session_id=self.session.pk, item_id=item)
        self.waiting.pop(place)
        try:
            services.delete_pending(user=self.user, session_id=self.session.pk, item_id=item)
        except NotFound:
            return
        raise AssertionError("it was deleted already")

    def item(self, place: int) -> dict[str, Any]:
        return queries.waiting(self.session.pk)["items"][place]

    @rule()
    def stop(self) -> None:
        services.stop(user=self.user, session_id=self.session.pk)
        if self.turn is not None and Turn.objects.get(pk=self.turn).is_over:  # it never ran
            self.end_of_turn()

    # Runners ----------------------------------------------------------------------------------------------------

    def begin(self, turn_id: uuid.UUID | None) -> None:
        self.turn, self.claim, self.last, self.step = turn_id, None, None, 0

    def end_of_turn(self) -> None:
        if self.claim is not None:
            self.dead.append(self.claim)
        self.begin(None)

    @precondition(lambda self: self.turn is not None and self.claim is None)
    @rule()
    def take(self) -> None:
        self.claim = Turn.objects.claim(self.turn, runner=str(uuid.uuid4()), lease_seconds=60)
        assert self.claim is not None
        self.writes, self.last = 0, None

    def write(self, write: Write) -> list[Any]:
        self.writes += 1
        self.last = (self.writes, write)
        return commit(self.claim, self.writes, self.session.pk, write)

    @precondition(lambda self: self.claim is not None)
    @rule()
    def finish_a_step(self) -> None:
        self.step += 1
        place = f"{self.claim.attempt * 1000 + self.step}"
        drained = self.write(Write(step=self.step, resume_after=f"{place}-5", drained_until=f"{place}-6"))
        assert [row.content for row in drained] == self.waiting
        assert Turn.objects.get(pk=self.turn).resume_after == f"{place}-{6 if drained else 5}"
        self.entered += self.waiting
        self.waiting = []

    @precondition(lambda self: self.last is not None and self.claim is not None)
    @rule()
    def a_write_whose_answer_was_lost_is_repeated(self) -> None:
        number, write = self.last
        waited = [row.content for row in commit(self.claim, number, self.session.pk, write)]
        assert waited == self.entered[len(self.entered) - len(waited) :] or set(waited) <= set(self.entered)

    @precondition(lambda self: self.claim is not None)
    @rule(status=st.sampled_from(["completed", "completed", "failed", "cancelled"]))
    def end(self, status: str) -> None:
        self.write(Write(ended=status))
        ended = self.turn
        self.end_of_turn()
        following = Turn.objects.in_flight().filter(session=self.session).first()
        if status == "completed" and self.waiting:
            assert following is not None
            assert following.origin == Turn.Origin.AUTO_CONTINUE
            assert following.pk != ended
            self.entered += self.waiting
            self.waiting = []
            self.begin(following.pk)
        else:
            assert following is None

    @precondition(lambda self: self.claim is not None)
    @rule()
    def the_runner_dies(self) -> None:
        Turn.objects.filter(pk=self.turn).update(lease_expires_at=timezone.now() - timedelta(seconds=60))
        self.dead.append(self.claim)
        self.claim = None

    @precondition(lambda self: self.dead)
    @rule(data=st.data(), status=st.sampled_from(["", "completed"]))
    def a_replaced_runner_wakes_up(self, data: st.DataObject, status: str) -> None:
        ghost = data.draw(st.sampled_from(self.dead))
        if self.claim is None and self.turn == ghost.run_id:
            return  # its lease has run out, but nobody has replaced it: it may go on
        try:
            commit(ghost, 99, self.session.pk, Write(step=9, resume_after="9-9", drained_until="9-10", ended=status))
        except Replaced:
            return
        raise AssertionError("a replaced runner wrote")

    @rule()
    def redis_is_emptied(self) -> None:
        sync_client().flushdb()

    # What must hold ---------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Look when a run is over: what went wrong on the way stays wrong, and a look a step takes most of the time."""
        self.every_text_is_in_its_place()
        Session.objects.filter(pk=self.session.pk).delete()

    def every_text_is_in_its_place(self) -> None:
        rows = list(Message.objects.filter(session=self.session, role="user").order_by("sequence"))
        assert [row.content for row in rows] == self.entered
        assert all(row.turn_id is not None for row in rows)
        assert queries.waiting(self.session.pk)["messages"] == self.waiting
        sequences = list(Message.objects.filter(session=self.session).values_list("sequence", flat=True))
        assert sorted(sequences) == list(range(1, len(sequences) + 1))
        active = queries.active_turn(self.session.pk)
        assert (active.pk if active else None) == self.turn


@pytest.mark.long
def test_every_accepted_text_is_in_one_row_in_the_order_typed(transactional_db, owner, monkeypatch):
    monkeypatch.setattr(pending, "MOST_QUEUED_A_MINUTE", 10**9)
    monkeypatch.setattr(announce, "wake_worker", lambda turn_id: None)  # the machine's own runners need no waking
    monkeypatch.setattr(Conversation, "user", owner.user, raising=False)

    run_state_machine_as_test(Conversation, settings=settings(max_examples=RUNS, stateful_step_count=10, deadline=None))
