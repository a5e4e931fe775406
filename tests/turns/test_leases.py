"""Exactly one runner: claims, leases, fences, across real processes, on whichever database the suite runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from apps.chat.models import Message, Session, Turn
from apps.chat.stream.fold import Row
from apps.chat.turns.rows import Write, commit
from apps.chat.turns.stop import cancel_turn
from apps.runtime.leases import Replaced
from tests.depth import depth

TURNS = depth(quick=80, full=500, deep=500)

pytestmark = pytest.mark.django_db(transaction=True)


def database_url() -> str:
    """Return the test database as a URL for other processes."""
    facts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{facts['NAME']}"
    login = f"{facts['USER']}:{facts['PASSWORD']}@" if facts["PASSWORD"] else f"{facts['USER']}@"
    return f"postgres://{login}{facts['HOST']}:{facts['PORT']}/{facts['NAME']}"


def claimer(mode: str, runner: str, ids: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.settings.test"}
    command = [sys.executable, "-m", "tests.turns.claimer", mode, runner, str(ids)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=settings.BASE_DIR
    )


def make_turns(user, count: int) -> list[Turn]:
    sessions = Session.objects.bulk_create(Session(user=user) for _ in range(count))
    return Turn.objects.bulk_create(Turn(session=session) for session in sessions)


@pytest.mark.long
def test_four_claimers_and_many_turns_make_one_runner_each(owner, tmp_path):
    ids = tmp_path / "ids"
    turns = make_turns(owner.user, TURNS)
    ids.write_text("\n".join(str(turn.pk) for turn in turns))

    claimers = [claimer("claim", f"runner {number}", ids) for number in range(4)]
    claims = [line.split() for process in claimers for line in process.communicate(timeout=300)[0].splitlines()]

    assert all(process.returncode == 0 for process in claimers)
    assert Counter(run_id for run_id, _ in claims) == Counter({str(turn.pk): 1 for turn in turns})
    assert {attempt for _, attempt in claims} == {"1"}
    assert Turn.objects.filter(status=Turn.RUNNING, attempt=1).count() == TURNS


def test_an_expired_lease_changes_hands_once(owner):
    turn = make_turns(owner.user, 1)[0]
    first = Turn.objects.claim(turn.pk, runner="first", lease_seconds=60)
    assert Turn.objects.claim(turn.pk, runner="second", lease_seconds=60) is None
    Turn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    won = []
    threads = [
        threading.Thread(
            target=lambda name=name: (
                won.append(Turn.objects.claim(turn.pk, runner=name, lease_seconds=60)),
                connection.close(),
            )
        )
        for name in "abcdefgh"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    taken = [claim for claim in won if claim is not None]
    assert [claim.attempt for claim in taken] == [2]
    turn.refresh_from_db()
    assert turn.lost_leases == 1
    with pytest.raises(Replaced):
        commit(first, 1, turn.session_id, Write(ended="completed"))


def test_a_runner_frozen_past_its_lease_writes_nothing(owner, tmp_path):
    turn = make_turns(owner.user, 1)[0]
    ids = tmp_path / "ids"
    ids.write_text(str(turn.pk))
    frozen = claimer("freeze", "frozen", ids)
    assert frozen.stdout.readline() == "claimed\n"
    frozen.send_signal(signal.SIGSTOP)
    Turn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    second = Turn.objects.claim(turn.pk, runner="second", lease_seconds=60)
    assert second is not None

    frozen.send_signal(signal.SIGCONT)
    said, _ = frozen.communicate("go\n", timeout=30)

    assert said.splitlines() == ["replaced", "replaced", "replaced", "not renewed"]
    assert not Message.objects.exists()
    turn.refresh_from_db()
    assert (turn.status, turn.attempt, turn.step) == (Turn.RUNNING, 2, 0)


def test_a_runner_that_writes_before_it_is_replaced_keeps_its_run(owner):
    turn = make_turns(owner.user, 1)[0]
    claim = Turn.objects.claim(turn.pk, runner="one", lease_seconds=60)
    Turn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))  # as while the database was away

    commit(claim, 1, turn.session_id, Write(rows=[Row(role="assistant", step=1, content="Here again")]))

    assert Turn.objects.claim(turn.pk, runner="two", lease_seconds=60) is None
    turn.refresh_from_db()
    assert turn.lease_expires_at > timezone.now() + timedelta(seconds=30)


def test_a_write_whose_answer_was_lost_is_done_once(owner):
    turn = make_turns(owner.user, 1)[0]
    claim = Turn.objects.claim(turn.pk, runner="one", lease_seconds=60)
    write = Write(rows=[Row(role="assistant", step=1, content="once")], step=1, resume_after="1001-4")

    commit(claim, 1, turn.session_id, write)
    commit(claim, 1, turn.session_id, write)

    assert Message.objects.filter(session=turn.session_id).count() == 1


def test_finishing_twice_changes_nothing(owner):
    turn = make_turns(owner.user, 1)[0]
    claim = Turn.objects.claim(turn.pk, runner="one", lease_seconds=60)
    commit(claim, 1, turn.session_id, Write(ended="completed"))

    commit(claim, 1, turn.session_id, Write(ended="failed"))
    with pytest.raises(Replaced):
        commit(claim, 2, turn.session_id, Write(rows=[Row(role="assistant", step=1, content="late")]))

    turn.refresh_from_db()
    assert turn.status == Turn.Status.COMPLETED
    assert not Message.objects.exists()


def test_the_next_turn_may_start_as_soon_as_one_has_ended(owner):
    turn = make_turns(owner.user, 1)[0]
    claim = Turn.objects.claim(turn.pk, runner="one", lease_seconds=60)
    commit(claim, 1, turn.session_id, Write(ended="completed"))

    assert Turn.objects.create(session=turn.session).status == Turn.QUEUED


def test_a_queued_turn_is_cancelled_at_once(owner):
    turn = make_turns(owner.user, 1)[0]

    answer = cancel_turn(session=turn.session)

    turn.refresh_from_db()
    assert (answer.cancelled, turn.status) == (True, Turn.Status.CANCELLED)
    assert Turn.objects.claim(turn.pk, runner="late", lease_seconds=60) is None
    assert Message.objects.get(turn=turn).kind == "stopped"


def test_a_run_that_is_deaf_to_a_stop_is_taken_from_its_runner(owner):
    turn = make_turns(owner.user, 1)[0]
    Turn.objects.claim(turn.pk, runner="deaf", lease_seconds=600)
    Turn.objects.update(cancel_requested_at=timezone.now() - timedelta(seconds=11))

    assert Turn.objects.claim(turn.pk, runner="second", lease_seconds=60) is not None


def test_a_lost_wake_up_is_found_by_the_sweep(owner):
    turn = make_turns(owner.user, 1)[0]
    assert list(Turn.objects.forgotten()) == []

    Turn.objects.update(queued_at=timezone.now() - timedelta(seconds=6))

    assert list(Turn.objects.forgotten()) == [turn]
