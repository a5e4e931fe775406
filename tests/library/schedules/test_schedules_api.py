"""Schedules over REST, for three people."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.library.errors import GraphInvalid, InputsInvalid, NotEnoughCredits
from apps.library.models import Execution, Schedule
from apps.library.schedules import runs
from tests.library.schedules.rows import at, make_agent, make_schedule

pytestmark = pytest.mark.django_db
SCHEDULES = "/api/library/schedules"


@pytest.fixture
def agent(owner):
    return make_agent(owner)


def create(person, agent, **fields):
    body = {"agent_id": str(agent.pk), "name": "Daily digest", "cron": "0 9 * * 1-5", **fields}
    return person.client.post(
        SCHEDULES, {key: value for key, value in body.items() if value is not None}, format="json"
    )


def change(person, schedule_id, **fields):
    return person.client.patch(f"{SCHEDULES}/{schedule_id}", fields, format="json")


def refuse(monkeypatch, error):
    def start_execution(**wanted):
        raise error

    monkeypatch.setattr(runs, "start_execution", start_execution)


def test_a_schedule_is_made_and_shown_in_words(owner, agent):
    owner.user.time_zone = "Europe/Berlin"
    owner.user.save()
    answer = create(owner, agent, inputs={"topic": "news"}, credential_inputs={"github": str(uuid.UUID(int=7))})
    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert body["words"] == "At 09:00, Monday through Friday (Europe/Berlin)"
    assert (body["agent_id"], body["agent_name"], body["cron"]) == (str(agent.pk), "Digest", "0 9 * * 1-5")
    assert (body["inputs"], body["credential_inputs"]) == ({"topic": "news"}, {"github": str(uuid.UUID(int=7))})
    assert len(body["next_runs"]) == 3
    assert all("T09:00:00+0" in moment for moment in body["next_runs"])
    assert (body["is_enabled"], body["problem"], body["skipped_at"], body["last_run_at"]) == (True, "", None, None)
    assert not Execution.objects.exists()  # what checked the inputs is taken back
    assert owner.client.get(f"{SCHEDULES}/{body['id']}").json() == body
    assert owner.client.get(SCHEDULES).json() == {"schedules": [body], "total": 1}


def test_a_single_run(owner, agent):
    moment = timezone.now() + timedelta(days=2)
    body = create(owner, agent, cron=None, run_at=moment.isoformat(), time_zone="Asia/Kolkata").json()
    assert body["words"].startswith("Once, on ")
    assert body["words"].endswith("(Asia/Kolkata)")
    assert len(body["next_runs"]) == 1
    assert body["next_runs"][0].endswith("+05:30")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"cron": "0 9 * *"}, "cron"),
        ({"cron": "0 9 30 2 *"}, "cron"),
        ({"cron": None}, "cron"),
        ({"run_at": "2030-01-01T00:00:00Z"}, "cron"),  # both
        ({"cron": None, "run_at": "2020-01-01T00:00:00Z"}, "run_at"),
        ({"cron": None, "run_at": "9999-12-31T23:59:59Z"}, "run_at"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"name": ""}, "name"),
        ({"inputs": [1]}, "inputs"),
        ({"credential_inputs": {"github": "no id"}}, "credential_inputs"),
        ({"graph_version": 0}, "graph_version"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_what_can_not_be_kept_is_400(owner, agent, fields, wrong):
    answer = create(owner, agent, **fields)
    assert answer.status_code == 400
    assert set(answer.json()) == {wrong}
    assert not Schedule.objects.exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GraphInvalid([{"message": "Block gone is missing."}]), "graph_invalid"),
        (InputsInvalid({"topic": "Is required."}), "inputs_invalid"),
    ],
)
def test_an_agent_that_could_not_run_gets_no_schedule(owner, agent, monkeypatch, error, code):
    schedule = create(owner, agent).json()["id"]
    refuse(monkeypatch, error)
    for answer in (create(owner, agent), change(owner, schedule, inputs={"topic": ""})):
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert answer.json()["problems"]
    assert Schedule.objects.get().inputs == {}


def test_an_unknown_version_is_400(owner, agent):
    answer = create(owner, agent, graph_version=3)
    assert (answer.status_code, answer.json()["code"]) == (400, "graph_invalid")


def test_missing_credits_refuse_no_schedule(owner, agent, monkeypatch):
    refuse(monkeypatch, NotEnoughCredits())
    assert create(owner, agent).status_code == 201


def test_what_says_when_is_changed(owner, agent):
    first = create(owner, agent, time_zone="UTC").json()
    moment = (timezone.now() + timedelta(hours=3)).replace(microsecond=0)

    once = change(owner, first["id"], run_at=moment.isoformat()).json()
    assert (once["cron"], once["run_at"], len(once["next_runs"])) == ("", moment.isoformat().replace("+00:00", "Z"), 1)
    again = change(owner, first["id"], cron="0 * * * *", time_zone="Asia/Kathmandu").json()
    assert (again["run_at"], again["time_zone"]) == (None, "Asia/Kathmandu")
    assert all(run.endswith(":00:00+05:45") for run in again["next_runs"])

    renamed = change(owner, first["id"], name="Hourly").json()
    assert renamed == {**again, "name": "Hourly"}


def test_it_is_switched_off_and_on(owner, agent):
    schedule = make_schedule(agent, at(9, day=1), "0 9 * * *", disabled_reason="No credits.")
    off = change(owner, schedule.pk, is_enabled=False).json()
    assert (off["is_enabled"], off["next_run_at"], off["next_runs"]) == (False, None, [])
    moved = change(owner, schedule.pk, cron="0 10 * * *").json()
    assert (moved["is_enabled"], moved["next_run_at"]) == (False, None)
    on = change(owner, schedule.pk, is_enabled=True).json()
    assert (on["is_enabled"], on["problem"], len(on["next_runs"])) == (True, "", 3)
    assert on["next_run_at"] > timezone.now().isoformat()


def test_a_single_run_of_the_past_can_not_be_switched_on(owner, agent):
    schedule = make_schedule(agent, at(9, day=1) - timedelta(days=365), is_enabled=False)
    answer = change(owner, schedule.pk, is_enabled=True)
    assert (answer.status_code, set(answer.json())) == (400, {"run_at"})
    schedule.refresh_from_db()
    assert not schedule.is_enabled


def test_it_is_deleted_and_its_runs_stay(owner, agent):
    schedule = make_schedule(agent, at(9))
    run = runs.start_run(schedule, at(9))
    assert owner.client.delete(f"{SCHEDULES}/{schedule.pk}").status_code == 204
    assert owner.client.delete(f"{SCHEDULES}/{schedule.pk}").status_code == 404
    run.refresh_from_db()
    assert run.schedule_id is None


def test_a_deleted_agent_or_graph_takes_its_schedules_with_it(owner, agent):
    make_schedule(agent, at(9))
    agent.graph.delete()
    assert not Schedule.objects.exists()


def test_schedules_of_other_people_are_unknown(owner, teammate, agent):
    mine = create(owner, agent).json()
    unknown = {"detail": "Not found."}
    for schedule_id in (mine["id"], uuid.uuid4()):
        address = f"{SCHEDULES}/{schedule_id}"
        for answer in (
            teammate.client.get(address),
            teammate.client.patch(address, {"cron": "bad"}, format="json"),
            teammate.client.delete(address),
        ):
            assert (answer.status_code, answer.json()) == (404, unknown)
    assert teammate.client.get(SCHEDULES).json() == {"schedules": [], "total": 0}
    for agent_id in (agent.pk, uuid.uuid4()):
        answer = teammate.client.post(
            SCHEDULES, {"agent_id": str(agent_id), "name": "x", "cron": "0 9 * * *"}, format="json"
        )
        assert (answer.status_code, answer.json()) == (404, unknown)
    assert owner.client.get(f"{SCHEDULES}/{mine['id']}").json() == mine


def test_strangers_get_401():
    for method, address in (("get", SCHEDULES), ("post", SCHEDULES), ("delete", f"{SCHEDULES}/{uuid.uuid4()}")):
        assert getattr(APIClient(), method)(address).status_code == 401


def test_what_is_due_next_comes_first_and_one_agent_may_be_asked_for(owner, agent):
    other = make_agent(owner, "Other")
    late, soon = make_schedule(agent, at(9, day=22)), make_schedule(agent, at(9, day=21))
    over = make_schedule(agent, at(9, day=19))
    Schedule.objects.filter(pk=over.pk).update(next_run_at=None)
    make_schedule(other, at(9, day=23))

    body = owner.client.get(SCHEDULES, {"agent_id": str(agent.pk)}).json()
    assert [row["id"] for row in body["schedules"]] == [str(row.pk) for row in (soon, late, over)]
    assert body["total"] == 3
    second = owner.client.get(SCHEDULES, {"limit": 1, "offset": 3}).json()
    assert ([row["id"] for row in second["schedules"]], second["total"]) == ([str(over.pk)], 4)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"agent_id": "x"}])
def test_a_query_that_can_not_be_used_is_400(owner, query):
    answer = owner.client.get(SCHEDULES, query)
    assert (answer.status_code, set(answer.json())) == (400, set(query))


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_costs_the_same_however_long(owner, rows, django_assert_num_queries):
    for number in range(rows):
        make_schedule(make_agent(owner, f"Agent {number}"), at(9), "0 9 * * *")
    owner.client.get(SCHEDULES)  # notes the token's first use
    with django_assert_num_queries(3):  # the token, the page, how many
        assert len(owner.client.get(SCHEDULES).json()["schedules"]) == rows
