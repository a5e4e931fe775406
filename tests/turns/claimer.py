"""A process that claims turns as fast as it can: `python -m tests.turns.claimer claim <runner> <ids file>`.

With `freeze` it claims one turn, says so, is frozen by the test, and when it wakes up tries every write of a runner.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from uuid import UUID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from apps.chat.models import Turn  # noqa: E402
from apps.chat.stream.fold import Row  # noqa: E402
from apps.chat.turns.rows import Write, commit  # noqa: E402
from apps.chat.turns.state import load  # noqa: E402
from apps.runtime.leases import Replaced  # noqa: E402


def claim_all(runner: str, ids: list[UUID]) -> None:
    random.Random(runner).shuffle(ids)
    for turn_id in ids:
        claim = Turn.objects.claim(turn_id, runner=runner, lease_seconds=60)
        if claim is not None:
            print(claim.run_id, claim.attempt, flush=True)


def claim_and_freeze(runner: str, turn_id: UUID) -> None:
    claim = Turn.objects.claim(turn_id, runner=runner, lease_seconds=1)
    turn = load(turn_id)
    assert claim is not None
    assert turn is not None
    print("claimed", flush=True)
    time.sleep(0.5)  # frozen here, past the lease, by SIGSTOP
    sys.stdin.readline()
    row = Row(role="assistant", step=1, id=str(turn_id), content="from the grave")
    for write in (
        Write(rows=[row], step=1),
        Write(rows=[row], step=1, resume_after="1001-9"),
        Write(ended="completed"),
    ):
        try:
            commit(claim, 1, turn.session_id, write)
            print("wrote", flush=True)
        except Replaced:
            print("replaced", flush=True)
    kept, _ = Turn.objects.renew([turn_id], runner=runner, lease_seconds=60)
    print("renewed" if kept else "not renewed", flush=True)


if __name__ == "__main__":
    wanted = [UUID(line) for line in Path(sys.argv[3]).read_text(encoding="ascii").split()]
    if sys.argv[1] == "claim":
        claim_all(sys.argv[2], wanted)
    else:
        claim_and_freeze(sys.argv[2], wanted[0])
