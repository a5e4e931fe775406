"""What is due is started: once, in time or not at all, whatever else is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.utils import timezone

from apps.library.errors import CapReached, GraphInvalid, InputsInvalid, NotEnoughCredits
from apps.library.models import Execution, Graph, Node, Schedule
from apps.library.schedules import fire
from apps.library.schedules.fire import fire_due_schedules
from apps.library.tasks import fire_due_schedules as task
from tests.billing.crowds import at_once
from tests.depth import depth
from tests.library.schedules.rows import STORE_VALUE, at, make_agent, make_schedule

DAILY = "0 9 * * *"
DUE_TIMES = depth(quick=50, full=200, deep=200)


@pytest.fixture
def agent(owner):
    return make_agent(owner)


def refuse(monkeypatch, error, only=None):
    """Have runs refused; of one schedule only when it is named."""
    from apps.library.schedules import runs

    real = runs.start_execution

    def start_execution(**wanted):
        if only is None or wanted["schedule"] == only:
            raise error
        return real(**wanted)

    monkeypatch.setattr(runs, "start_execution", start_execution)


# In time ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_due_time_makes_one_run_and_the_next_time_is_set(agent):
    schedule = make_schedule(agent, at(9), DAILY, inputs={"topic": "news"}, credential_inputs={"github": "abc"})

    assert fire_due_schedules(now=at(8, 59, 59)) == 0
    assert fire_due_schedules(now=at(9)) == 1
    assert fire_due_schedules(now=at(9, 0, 5)) == 0

    run = Execution.objects.get()
    assert (run.user_id, run.agent_id, run.graph_id) == (agent.user_id, agent.pk, agent.graph_id)
    assert (run.schedule_id, run.due_at, run.trigger) == (schedule.pk, at(9), "schedule")
    assert (run.inputs, run.credential_inputs, run.status) == ({"topic": "news"}, {"github": "abc"}, "QUEUED")
    schedule.refresh_from_db()
    assert (schedule.next_run_at, schedule.last_run_at) == (at(9, day=21), at(9))
    assert (schedule.skipped_at, schedule.disabled_reason) == (None, "")


@pytest.mark.django_db
def test_a_single_run_is_the_last(agent):
    schedule = make_schedule(agent, at(9))
    assert fire_due_schedules(now=at(9, 0, 3)) == 1
    schedule.refresh_from_db()
    assert (schedule.next_run_at, schedule.is_enabled) == (None, True)
    assert Execution.objects.get().due_at == at(9)


@pytest.mark.django_db
def test_the_version_is_the_one_that_counts_then(agent):
    old, new = agent.graph, None
    Graph.objects.filter(pk=old.pk).update(is_active=False)
    new = Graph.objects.create(user=agent.user, graph_id=old.graph_id, version=2, name="Digest")
    Node.objects.create(graph=new, position=0, block_id=STORE_VALUE, input_default={"input": 2})
    agent.graph = new
    agent.save()
    make_schedule(agent, at(9))
    make_schedule(agent, at(9), graph_version=1)

    assert fire_due_schedules(now=at(9)) == 2

    assert {(run.schedule.graph_version, run.graph_id) for run in Execution.objects.all()} == {
        (None, new.pk),
        (1, old.pk),
    }


@pytest.mark.django_db
def test_what_is_off_or_whose_owner_is_locked_out_waits(agent, teammate):
    make_schedule(agent, at(9), DAILY, is_enabled=False)
    make_schedule(make_agent(teammate), at(9), DAILY)
    teammate.user.is_active = False
    teammate.user.save()
    assert fire_due_schedules(now=at(9)) == 0
    assert not Execution.objects.exists()


@pytest.mark.django_db
def test_the_task_counts_by_the_clock_of_the_database(agent):
    make_schedule(agent, timezone.now() - timedelta(seconds=1))
    make_schedule(agent, timezone.now() + timedelta(minutes=1))
    task()
    assert Execution.objects.count() == 1


@pytest.mark.django_db
def test_a_tick_takes_the_oldest_first_and_the_next_one_goes_on(agent, monkeypatch):
    monkeypatch.setattr(fire, "BATCH", 2)
    for minute in (3, 1, 2):
        make_schedule(agent, at(9, minute))
    assert fire_due_schedules(now=at(9, 10)) == 2
    assert set(Execution.objects.values_list("due_at", flat=True)) == {at(9, 1), at(9, 2)}
    assert fire_due_schedules(now=at(9, 10)) == 1


# Too late ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("cron", [DAILY, ""])
def test_less_than_an_hour_late_is_caught_up_with(agent, cron):
    schedule = make_schedule(agent, at(9), cron)
    assert fire_due_schedules(now=at(9, 59, 59)) == 1
    schedule.refresh_from_db()
    assert (Execution.objects.get().due_at, schedule.skipped_at) == (at(9), None)


@pytest.mark.django_db
@pytest.mark.parametrize(("cron", "following"), [(DAILY, at(9, day=21)), ("", None)])
def test_an_hour_late_is_passed_over_and_shown(agent, cron, following):
    schedule = make_schedule(agent, at(9), cron)
    assert fire_due_schedules(now=at(10)) == 0
    schedule.refresh_from_db()
    assert not Execution.objects.exists()
    assert (schedule.next_run_at, schedule.skipped_at, schedule.last_run_at) == (following, at(9), None)
    assert "passed over" in schedule.disabled_reason
    assert schedule.is_enabled


@pytest.mark.django_db
def test_of_many_missed_times_the_latest_is_caught_up_with_alone(agent):
    schedule = make_schedule(agent, at(9), "*/10 * * * *")
    assert fire_due_schedules(now=at(12, 34)) == 1
    schedule.refresh_from_db()
    assert Execution.objects.get().due_at == at(12, 30)
    assert (schedule.next_run_at, schedule.skipped_at) == (at(12, 40), at(12, 20))


@pytest.mark.django_db
def test_after_days_away_the_latest_missed_time_is_shown(agent):
    schedule = make_schedule(agent, at(9, day=1), DAILY)
    assert fire_due_schedules(now=at(15)) == 0
    schedule.refresh_from_db()
    assert (schedule.next_run_at, schedule.skipped_at) == (at(9, day=21), at(9))


# Refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (GraphInvalid([{"message": "Block gone is missing."}]), "Block gone is missing."),
        (InputsInvalid({"topic": "Is required."}), "topic: Is required."),
    ],
)
def test_what_can_not_run_is_switched_off_and_its_owner_told(agent, owner, monkeypatch, error, says):
    schedule = make_schedule(agent, at(9), DAILY)
    refuse(monkeypatch, error)
    assert fire_due_schedules(now=at(9)) == 0
    schedule.refresh_from_db()
    assert (schedule.is_enabled, schedule.next_run_at, schedule.skipped_at) == (False, None, at(9))
    told = owner.client.get(f"/api/library/schedules/{schedule.pk}").json()
    assert says in told["problem"]
    assert (told["is_enabled"], told["next_runs"]) == (False, [])
    assert not Execution.objects.exists()


@pytest.mark.django_db
def test_a_version_that_is_gone_switches_it_off(agent):
    schedule = make_schedule(agent, at(9), DAILY, graph_version=7)
    assert fire_due_schedules(now=at(9)) == 0
    schedule.refresh_from_db()
    assert not schedule.is_enabled
    assert "no version 7" in schedule.disabled_reason


@pytest.mark.django_db
@pytest.mark.parametrize("error", [NotEnoughCredits(), CapReached()])
def test_without_credits_a_time_is_passed_over_and_the_schedule_kept(agent, monkeypatch, error):
    schedule = make_schedule(agent, at(9), DAILY)
    with monkeypatch.context() as patch:
        refuse(patch, error)
        assert fire_due_schedules(now=at(9)) == 0
    schedule.refresh_from_db()
    assert (schedule.is_enabled, schedule.next_run_at, schedule.skipped_at) == (True, at(9, day=21), at(9))
    assert schedule.disabled_reason == error.detail

    assert fire_due_schedules(now=at(9, day=21)) == 1
    schedule.refresh_from_db()
    assert schedule.disabled_reason == ""


@pytest.mark.django_db
def test_one_broken_schedule_does_not_stop_the_others(agent, monkeypatch, caplog):
    unreadable = make_schedule(agent, at(8, 57), "nonsense")
    nowhere = make_schedule(agent, at(8, 58), DAILY, time_zone="Mars/Olympus")
    broken = make_schedule(agent, at(8, 59), "59 8 * * *")
    whole = make_schedule(agent, at(9), DAILY)
    refuse(monkeypatch, ZeroDivisionError(), only=broken)

    assert fire_due_schedules(now=at(9)) == 1

    assert Execution.objects.get().schedule_id == whole.pk
    for schedule in (unreadable, nowhere, broken):
        schedule.refresh_from_db()
    assert (unreadable.is_enabled, nowhere.is_enabled, broken.is_enabled) == (False, False, True)
    assert "understood" in unreadable.disabled_reason
    assert "internal error" in broken.disabled_reason
    assert (broken.next_run_at, broken.skipped_at) == (at(8, 59, day=21), at(8, 59))


@pytest.mark.django_db
def test_a_database_that_goes_away_costs_no_due_time(agent, monkeypatch):
    schedule = make_schedule(agent, at(9), DAILY)
    with monkeypatch.context() as patch:
        refuse(patch, OperationalError())
        assert fire_due_schedules(now=at(9)) == 0
    schedule.refresh_from_db()
    assert (schedule.next_run_at, schedule.skipped_at, schedule.last_run_at) == (at(9), None, None)
    assert fire_due_schedules(now=at(9, 0, 5)) == 1


# Once -------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_due_time_that_is_planned_anew_has_its_run_already(agent):
    schedule = make_schedule(agent, at(9), DAILY)
    assert fire_due_schedules(now=at(9)) == 1
    Schedule.objects.filter(pk=schedule.pk).update(next_run_at=at(9))

    assert fire_due_schedules(now=at(9, 0, 2)) == 0

    assert Execution.objects.count() == 1
    schedule.refresh_from_db()
    assert (schedule.next_run_at, schedule.disabled_reason, schedule.skipped_at) == (at(9, day=21), "", None)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"cron": "0 9 1 * *"}, {"is_enabled": False}, {"next_run_at": at(9, 30)}])
def test_what_its_owner_changes_meanwhile_wins(agent, change):
    schedule = make_schedule(agent, at(9), DAILY)
    read = fire.Read(schedule.pk, agent.user_id, agent.pk, at(9), DAILY, "UTC")
    Schedule.objects.filter(pk=schedule.pk).update(**change)

    assert not fire.fire(read, at(9))

    assert not Execution.objects.exists()
    schedule.refresh_from_db()
    assert {name: getattr(schedule, name) for name in change} == change


def database_url():
    """Return the test database as a URL for other processes."""
    facts = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{facts['NAME']}"
    login = f"{facts['USER']}:{facts['PASSWORD']}@" if facts["PASSWORD"] else f"{facts['USER']}@"
    return f"postgres://{login}{facts['HOST']}:{facts['PORT']}/{facts['NAME']}"


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
@pytest.mark.processes
def test_two_beats_and_two_workers_start_each_due_time_once(agent):
    now = timezone.now()
    for number in range(DUE_TIMES):
        due = now - timedelta(seconds=number % 50)
        make_schedule(agent, due, "* * * * *" if number % 2 else "", time_zone="Europe/Berlin")
    # A minute that begins during the test would make more of them due, rightly.
    Schedule.objects.exclude(cron="").update(cron="0 0 29 2 *")
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "config.settings.test"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.library.schedules.firer", "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=settings.BASE_DIR,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()

    said = [worker.communicate(timeout=90)[0].split() for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0]
    counts = [int(count) for line in said for count in line]
    assert len(counts) == 4
    assert sum(counts) == DUE_TIMES
    runs = Counter(Execution.objects.values_list("schedule_id", flat=True))
    assert runs == Counter(dict.fromkeys(Schedule.objects.values_list("pk", flat=True), 1))
    assert not Schedule.objects.filter(next_run_at__lte=timezone.now()).exists()
    assert not Schedule.objects.exclude(disabled_reason="", skipped_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_eight_at_once_take_one_due_time_once(agent):
    schedule = make_schedule(agent, at(9), DAILY)
    read = fire.Read(schedule.pk, agent.user_id, agent.pk, at(9), DAILY, "UTC")

    outcomes = at_once([lambda: fire.fire(read, at(9))] * 8)

    assert sorted(outcomes, key=str) == [False] * 7 + [True]
    assert Execution.objects.count() == 1
