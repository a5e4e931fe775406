"""Decisions of people over REST: each counts once, and the last lets the run go on."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from rest_framework.test import APIClient

from apps.library.executor import announce
from apps.library.executor.resume import resume_execution
from apps.library.models import AutoApproval, Execution, NodeExecution, Review
from tests.billing.crowds import at_once
from tests.library.schedules.rows import STORE_VALUE, make_agent

pytestmark = pytest.mark.django_db
REVIEWS = "/api/library/reviews"
ACTIONS = f"{REVIEWS}/actions"
HUMAN_IN_THE_LOOP = "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d"
FIRST = datetime(2026, 11, 20, 9, tzinfo=UTC)


def make_run(person, questions=1, block_id=HUMAN_IN_THE_LOOP, status="REVIEW", **columns):
    """Return a run one node of which has asked its person some questions."""
    agent = make_agent(person, "Careful", blocks=((block_id, {}),))
    run = Execution.objects.create(
        user=person.user, graph=agent.graph, agent=agent, status=status, root_id=uuid.uuid4()
    )
    ask(run, questions, **columns)
    return run


def ask(run, questions=1, **columns):
    """Add questions of a run's only node; returns the new ones."""
    node = run.graph.nodes.get()
    before = run.node_executions.count()
    rows = []
    for number in range(before, before + questions):
        asked = NodeExecution.objects.create(execution=run, node=node, number=number, status="REVIEW")
        rows.append(
            Review.objects.create(
                node_execution=asked,
                execution=run,
                user=run.user,
                **{"payload": {"draft": number}, "instructions": "Look at this.", **columns},
            )
        )
        Review.objects.filter(pk=asked.pk).update(created_at=FIRST + timedelta(minutes=number))
    return rows


def reviews_of(run):
    return list(run.reviews.order_by("created_at"))


def decision(review, approved=True, **fields):
    return {"node_execution_id": str(getattr(review, "pk", review)), "approved": approved, **fields}


def decide(person, *decisions):
    return person.client.post(ACTIONS, {"reviews": list(decisions)}, format="json")


def counts(answer):
    assert answer.status_code == 200, answer.content
    body = answer.json()
    return body["approved_count"], body["rejected_count"], body["failed_count"]


@pytest.fixture
def woken(monkeypatch):
    """The runs for which a worker was woken."""
    ids = []
    monkeypatch.setattr(announce, "wake_worker", ids.append)
    return ids


# Deciding ---------------------------------------------------------------------------------------------------------


def test_an_approval_lets_the_run_go_on(owner, woken, django_capture_on_commit_callbacks):
    run = make_run(owner)
    (review,) = reviews_of(run)
    with django_capture_on_commit_callbacks(execute=True):
        answer = decide(owner, decision(review, message="Fine."))

    assert answer.json() == {"approved_count": 1, "rejected_count": 0, "failed_count": 0, "error": ""}
    run.refresh_from_db()
    review.refresh_from_db()
    assert (run.status, woken) == ("QUEUED", [run.pk])
    assert (review.status, review.message, review.reviewed_data) == ("APPROVED", "Fine.", {"draft": 0})
    assert review.reviewed_at is not None


def test_a_rejection_lets_it_go_on_too(owner):
    run = make_run(owner)
    (review,) = reviews_of(run)
    assert counts(decide(owner, decision(review, approved=False, message="No."))) == (0, 1, 0)
    run.refresh_from_db()
    review.refresh_from_db()
    assert (run.status, review.status, review.reviewed_data) == ("QUEUED", "REJECTED", None)


@pytest.mark.parametrize("data", [{"draft": "better"}, "better", [1, 2], 0, False])
def test_data_is_edited_before_it_is_approved(owner, data):
    run = make_run(owner)
    (review,) = reviews_of(run)
    assert counts(decide(owner, decision(review, reviewed_data=data))) == (1, 0, 0)
    review.refresh_from_db()
    assert review.reviewed_data == data
    assert review.payload == {"draft": 0}


def test_null_stands_for_what_was_asked_about(owner):
    run = make_run(owner, is_editable=False)
    (review,) = reviews_of(run)
    assert counts(decide(owner, decision(review, reviewed_data=None))) == (1, 0, 0)
    review.refresh_from_db()
    assert review.reviewed_data == {"draft": 0}


def test_the_run_waits_for_the_last_answer(owner, woken, django_capture_on_commit_callbacks):
    run = make_run(owner, questions=3)
    first, second, third = reviews_of(run)
    with django_capture_on_commit_callbacks(execute=True):
        assert counts(decide(owner, decision(first), decision(second, approved=False))) == (1, 1, 0)
        run.refresh_from_db()
        assert (run.status, woken) == ("REVIEW", [])
    with django_capture_on_commit_callbacks(execute=True):
        assert counts(decide(owner, decision(third))) == (1, 0, 0)
    run.refresh_from_db()
    assert (run.status, woken) == ("QUEUED", [run.pk])


def test_a_run_that_still_works_is_left_to_its_runner(owner, woken, django_capture_on_commit_callbacks):
    run = make_run(owner, status="RUNNING")
    with django_capture_on_commit_callbacks(execute=True):
        assert counts(decide(owner, decision(reviews_of(run)[0]))) == (1, 0, 0)
    run.refresh_from_db()
    assert (run.status, woken) == ("RUNNING", [])


def test_all_further_questions_of_a_node_are_approved(owner):
    run = make_run(owner, questions=2)
    first, second = reviews_of(run)
    assert counts(decide(owner, decision(first, auto_approve_future=True))) == (2, 0, 0)
    approval = AutoApproval.objects.get()
    assert (approval.execution_id, approval.node_id) == (run.pk, run.graph.nodes.get().pk)
    second.refresh_from_db()
    run.refresh_from_db()
    assert (second.status, second.reviewed_data, run.status) == ("APPROVED", {"draft": 1}, "QUEUED")


def test_saying_so_twice_and_rejecting_another_beside_it(owner):
    run = make_run(owner, questions=3)
    first, second, third = reviews_of(run)
    answer = decide(
        owner,
        decision(first, auto_approve_future=True),
        decision(second, approved=False),
        decision(third, auto_approve_future=True),
    )
    assert counts(answer) == (2, 1, 0)
    second.refresh_from_db()
    assert second.status == "REJECTED"
    assert AutoApproval.objects.count() == 1


# Refusals ---------------------------------------------------------------------------------------------------------


def test_nothing_to_decide_is_400(owner):
    review = reviews_of(make_run(owner))[0]
    for body in (
        {"reviews": []},
        {},
        {"reviews": [decision(review), decision(review)]},
        {"reviews": [{"approved": True}]},
    ):
        assert owner.client.post(ACTIONS, body, format="json").status_code == 400
    review.refresh_from_db()
    assert review.status == "WAITING"


@pytest.mark.parametrize(
    ("asked", "fields", "says"),
    [
        ({}, {"reviewed_data": {"a": 1}, "auto_approve_future": True}, "for the future"),
        ({"is_editable": False}, {"reviewed_data": {"a": 1}}, "can't be changed"),
        ({"block_id": STORE_VALUE}, {"reviewed_data": "text"}, "object"),
        ({"block_id": "a block that nobody knows"}, {"reviewed_data": [1]}, "object"),
        ({}, {"approved": False, "reviewed_data": {"a": 1}}, "rejected"),
        ({}, {"approved": False, "auto_approve_future": True}, "rejected"),
    ],
)
def test_decisions_that_contradict_are_400_and_take_nothing(owner, asked, fields, says):
    run = make_run(owner, questions=2, **asked)
    first, second = reviews_of(run)
    answer = decide(owner, decision(first), {**decision(second), **fields})
    assert (answer.status_code, answer.json()["code"]) == (400, "decision_invalid")
    assert answer.json()["node_execution_id"] == str(second.pk)
    assert says in answer.json()["detail"]
    assert set(run.reviews.values_list("status", flat=True)) == {"WAITING"}


def test_sensitive_inputs_may_become_another_object(owner):
    run = make_run(owner, block_id=STORE_VALUE)
    assert counts(decide(owner, decision(reviews_of(run)[0], reviewed_data={"input": 2}))) == (1, 0, 0)


def test_unknown_and_foreign_reviews_are_the_same_404(owner, teammate):
    mine, theirs = reviews_of(make_run(owner))[0], reviews_of(make_run(teammate))[0]
    for other in (theirs, uuid.uuid4()):
        answer = decide(owner, decision(mine), decision(other))
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    for review in (mine, theirs):
        review.refresh_from_db()
        assert review.status == "WAITING"


def test_reviews_of_several_runs_are_409(owner):
    one, other = reviews_of(make_run(owner))[0], reviews_of(make_run(owner))[0]
    answer = decide(owner, decision(one), decision(other))
    assert (answer.status_code, answer.json()["code"]) == (409, "several_runs")


@pytest.mark.parametrize("status", ["QUEUED", "COMPLETED", "FAILED", "TERMINATED"])
def test_a_run_that_does_not_wait_is_409(owner, status):
    run = make_run(owner, status=status)
    answer = decide(owner, decision(reviews_of(run)[0]))
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert reviews_of(run)[0].status == "WAITING"


def test_an_answer_stays(owner):
    run = make_run(owner, questions=2)
    first, second = reviews_of(run)
    decide(owner, decision(first, approved=False))
    answer = decide(owner, decision(first), decision(second))
    assert counts(answer) == (1, 0, 1)
    assert "decided already" in answer.json()["error"]
    first.refresh_from_db()
    assert first.status == "REJECTED"


def test_strangers_get_401():
    assert APIClient().get(REVIEWS).status_code == 401
    assert APIClient().post(ACTIONS, {}, format="json").status_code == 401
    assert APIClient().get(f"/api/library/executions/{uuid.uuid4()}/reviews").status_code == 401


# At once ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_in_eight_tabs_at_once_one_answer_counts_and_the_run_goes_on_once(owner, woken):
    run = make_run(owner)
    (review,) = reviews_of(run)

    def answer(number):
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {owner.key}")
        body = {"reviews": [decision(review, approved=bool(number % 2), message=f"Tab {number}")]}
        return client.post(ACTIONS, body, format="json")

    answers = at_once([lambda number=number: answer(number) for number in range(8)])

    won = [
        number for number, each in enumerate(answers) if each.status_code == 200 and each.json()["failed_count"] == 0
    ]
    assert len(won) == 1
    assert {each.status_code for each in answers} <= {200, 409}
    review.refresh_from_db()
    run.refresh_from_db()
    assert (review.message, review.status) == (f"Tab {won[0]}", "APPROVED" if won[0] % 2 else "REJECTED")
    assert (run.status, woken) == ("QUEUED", [run.pk])


@pytest.mark.django_db(transaction=True)
def test_the_last_two_answers_at_once_let_the_run_go_on_once(owner, woken):
    from apps.library.reviews.services import Decision
    from apps.library.reviews.services import decide as take

    for _ in range(5):
        run = make_run(owner, questions=4)
        outcomes = at_once(
            [
                lambda review=review: take(
                    user_id=owner.user.pk, decisions=[Decision(node_execution_id=review.pk, approved=True)]
                )
                for review in reviews_of(run)
            ]
        )
        assert [outcome.approved_count for outcome in outcomes] == [1] * 4
        run.refresh_from_db()
        assert run.status == "QUEUED"
        assert woken.count(run.pk) == 1


def test_only_a_run_without_open_questions_is_resumed(owner, woken, django_capture_on_commit_callbacks):
    run = make_run(owner)
    with django_capture_on_commit_callbacks(execute=True):
        assert not resume_execution(run.pk)
        Review.objects.update(status="APPROVED")
        assert resume_execution(run.pk)
        assert not resume_execution(run.pk)
        assert not resume_execution(uuid.uuid4())
    assert woken == [run.pk]


# Looking ----------------------------------------------------------------------------------------------------------


def test_what_waits_is_listed_newest_first(owner, teammate):
    run = make_run(owner, questions=3)
    first, second, third = reviews_of(run)
    decide(owner, decision(second))
    make_run(teammate)
    make_run(owner, status="FAILED")  # nobody can decide there any more

    body = owner.client.get(REVIEWS).json()

    assert [row["node_execution_id"] for row in body["reviews"]] == [str(third.pk), str(first.pk)]
    assert body["total"] == 2
    assert body["reviews"][1] == {
        "node_execution_id": str(first.pk),
        "execution_id": str(run.pk),
        "agent_id": str(run.agent_id),
        "agent_name": "Careful",
        "node_id": str(run.graph.nodes.get().pk),
        "payload": {"draft": 0},
        "instructions": "Look at this.",
        "is_editable": True,
        "is_sensitive": False,
        "status": "WAITING",
        "message": "",
        "reviewed_data": None,
        "reviewed_at": None,
        "created_at": "2026-11-20T09:00:00Z",
    }
    page = owner.client.get(REVIEWS, {"limit": 1, "offset": 1}).json()
    assert ([row["node_execution_id"] for row in page["reviews"]], page["total"]) == ([str(first.pk)], 2)


def test_what_a_run_asked_is_listed_oldest_first(owner, teammate):
    run = make_run(owner, questions=3, block_id=STORE_VALUE)
    asked = reviews_of(run)
    decide(owner, decision(asked[1]))
    address = f"/api/library/executions/{run.pk}/reviews"

    body = owner.client.get(address).json()

    assert [(row["node_execution_id"], row["status"]) for row in body["reviews"]] == [
        (str(asked[0].pk), "WAITING"), (str(asked[1].pk), "APPROVED"), (str(asked[2].pk), "WAITING"),
    ]  # fmt: skip
    assert body["reviews"][0]["is_sensitive"]
    for answer in (teammate.client.get(address), owner.client.get(f"/api/library/executions/{uuid.uuid4()}/reviews")):
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


@pytest.mark.parametrize("rows", [1, 3])
def test_the_lists_cost_the_same_however_long(owner, rows, django_assert_num_queries):
    runs = [make_run(owner, questions=rows) for _ in range(rows)]
    owner.client.get(REVIEWS)  # notes the token's first use
    with django_assert_num_queries(3):  # the token, the page, how many
        assert len(owner.client.get(REVIEWS).json()["reviews"]) == rows * rows
    with django_assert_num_queries(4):  # the run as well
        assert len(owner.client.get(f"/api/library/executions/{runs[0].pk}/reviews").json()["reviews"]) == rows
