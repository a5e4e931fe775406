"""The briefing: the right rows, and the money of the right month, wherever its person lives."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.library.briefing import briefing, dollars, month
from apps.library.models import Execution
from apps.library.schedules.fire import fire_due_schedules
from tests.library.reviews.test_reviews_api import make_run as make_asking_run
from tests.library.schedules.rows import make_agent, make_schedule

pytestmark = pytest.mark.django_db
BRIEFING = "/api/library/briefing"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def make_run(person, status="COMPLETED", **columns):
    agent = make_agent(person)
    return Execution.objects.create(
        user=person.user, graph=agent.graph, agent=agent, status=status, root_id=uuid.uuid4(), **columns
    )


def spent(person, zone, now):
    return briefing(user_id=person.user.pk, time_zone=zone, now=now).spent_cents


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_nothing_at_all(owner):
    body = owner.client.get(BRIEFING).json()
    starts = body.pop("month_starts_at")
    assert body == {
        "running": [], "running_total": 0,
        "reviews": [], "reviews_total": 0,
        "schedules": [], "schedules_total": 0,
        "stopped": [], "stopped_total": 0,
        "failed": [], "failed_total": 0,
        "spent_cents": 0, "spent": "$0.00",
    }  # fmt: skip
    assert starts == timezone.now().strftime("%Y-%m-01T00:00:00Z")


def test_everything(owner, teammate):
    queued, running = make_run(owner, "QUEUED"), make_run(owner, "RUNNING", started_at=timezone.now(), cost_cents=120)
    make_run(owner, "RUNNING", parent=running, started_at=timezone.now(), cost_cents=3)  # its cost counts all the same
    failed = make_run(owner, "FAILED", ended_at=timezone.now() - timedelta(hours=23), error="No credits.")
    make_run(owner, "FAILED", ended_at=timezone.now() - timedelta(hours=25))
    make_run(owner, "COMPLETED", ended_at=timezone.now())
    asking = make_asking_run(owner)
    soon = make_schedule(make_agent(owner), timezone.now() + timedelta(hours=1))
    later = make_schedule(make_agent(owner), timezone.now() + timedelta(hours=2), "0 9 * * *")
    make_schedule(make_agent(owner), timezone.now(), is_enabled=False)
    for make in (lambda person: make_run(person, "RUNNING", started_at=timezone.now(), cost_cents=9), make_asking_run):
        make(teammate)

    body = owner.client.get(BRIEFING).json()

    assert [row["id"] for row in body["running"]] == [str(running.pk), str(queued.pk)]
    assert [(row["id"], row["error"]) for row in body["failed"]] == [(str(failed.pk), "No credits.")]
    assert [row["execution_id"] for row in body["reviews"]] == [str(asking.pk)]
    assert [row["id"] for row in body["schedules"]] == [str(soon.pk), str(later.pk)]
    totals = [body[f"{name}_total"] for name in ("running", "reviews", "schedules", "failed")]
    assert totals == [2, 1, 2, 1]
    assert (body["spent_cents"], body["spent"]) == (123, "$1.23")
    assert teammate.client.get(BRIEFING).json()["spent"] == "$0.09"


def test_five_are_shown_and_all_counted(owner):
    for _ in range(7):
        make_run(owner, "RUNNING")
    body = owner.client.get(BRIEFING).json()
    assert (len(body["running"]), body["running_total"]) == (5, 7)


@pytest.mark.parametrize(
    ("zone", "now", "first", "last"),
    [
        # The first and the last moment whose runs count.
        ("UTC", "2026-11-20T12:00", "2026-11-01T00:00", "2026-11-30T23:59:59.999999"),
        (
            "America/New_York",
            "2026-11-20T12:00",
            "2026-11-01T04:00",
            "2026-12-01T04:59:59.999999",
        ),  # the clock is moved
        ("Pacific/Kiritimati", "2026-11-20T12:00", "2026-10-31T10:00", "2026-11-30T09:59:59.999999"),
        ("Asia/Kolkata", "2026-02-28T18:29", "2026-01-31T18:30", "2026-02-28T18:29:59.999999"),
        ("Asia/Kolkata", "2026-02-28T18:30", "2026-02-28T18:30", "2026-03-31T18:29:59.999999"),
        ("America/Los_Angeles", "2027-01-01T07:59", "2026-12-01T08:00", "2027-01-01T07:59:59.999999"),
        ("America/Los_Angeles", "2027-01-01T08:00", "2027-01-01T08:00", "2027-02-01T07:59:59.999999"),
        ("Nowhere/Else", "2026-11-20T12:00", "2026-11-01T00:00", "2026-11-30T23:59:59.999999"),
    ],
)
def test_the_month_is_that_of_the_persons_calendar(owner, zone, now, first, last):
    for started, cents in (
        (utc(first) - timedelta(microseconds=1), 1),
        (utc(first), 10),
        (utc(last), 100),
        (utc(last) + timedelta(microseconds=1), 1000),
    ):
        make_run(owner, started_at=started, cost_cents=cents)
    make_run(owner, "QUEUED", cost_cents=10000)  # not started yet
    assert spent(owner, zone, utc(now)) == 110


def test_the_zone_of_the_account_counts_over_rest(owner):
    start, _ = month(timezone.now(), "Pacific/Kiritimati")
    make_run(owner, started_at=start, cost_cents=7)
    owner.user.time_zone = "Pacific/Kiritimati"
    owner.user.save()
    body = owner.client.get(BRIEFING).json()
    assert (body["spent"], datetime.fromisoformat(body["month_starts_at"])) == ("$0.07", start)


def test_amounts_as_people_write_them():
    assert [dollars(cents) for cents in (0, 5, 100, 123456789)] == ["$0.00", "$0.05", "$1.00", "$1,234,567.89"]


def test_strangers_get_401():
    assert APIClient().get(BRIEFING).status_code == 401


@pytest.mark.parametrize("rows", [1, 3])
def test_it_costs_the_same_however_much_there_is(owner, rows, django_assert_num_queries):
    for number in range(rows):
        make_run(owner, "RUNNING", started_at=timezone.now(), cost_cents=1)
        make_run(owner, "FAILED", ended_at=timezone.now())
        make_asking_run(owner, questions=rows)
        make_schedule(make_agent(owner), timezone.now() + timedelta(hours=number + 1), "0 9 * * *")
        make_schedule(make_agent(owner), None, "0 9 * * *", is_enabled=False, disabled_reason="It has no trigger.")
    owner.client.get(BRIEFING)  # notes the token's first use
    with django_assert_num_queries(12):  # the token, five lists, how many of each, what was spent
        body = owner.client.get(BRIEFING).json()
    assert [len(body[name]) for name in ("running", "failed", "schedules", "stopped")] == [rows] * 4


def test_a_schedule_that_was_switched_off_is_told_until_its_owner_has_seen_to_it(owner, teammate):
    def told(person):
        body = person.client.get(BRIEFING).json()
        return [(row["id"], row["problem"]) for row in body["stopped"]], body["stopped_total"]

    agent = make_agent(owner)
    paused, gone = (make_schedule(agent, NOW, "0 9 * * *", graph_version=version) for version in (None, 7))
    owner.client.patch(f"/api/library/schedules/{paused.pk}", {"is_enabled": False}, format="json")
    assert fire_due_schedules(now=NOW) == 0

    rows, total = told(owner)
    assert (len(rows), total, rows[0][0]) == (1, 1, str(gone.pk))
    assert "no version 7" in rows[0][1]
    assert told(teammate) == ([], 0)

    owner.client.patch(f"/api/library/schedules/{gone.pk}", {"is_enabled": False}, format="json")
    assert told(owner) == ([], 0)
