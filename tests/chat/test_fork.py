"""Forking a session: over HTTP, and what the model is given afterwards."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.chat.models import Message, Session, Turn
from apps.chat.queries import SHOWN
from tests.chat.clients import detail, new_session, say
from tests.chat.served import broker  # noqa: F401 -- a fixture
from tests.chat.test_rest import SESSIONS, add_messages, make, path

TODOS = [{"content": "Write it", "activeForm": "Writing it", "status": "pending"}]


def fork(person, session, sequence):
    return person.client.post(path(session, "/fork"), {"from_sequence": sequence}, format="json")


def add_turn(session, first, *, status="completed", step=2, results=2):
    """Store a turn of two steps: text with two calls, their results, and a last word."""
    turn = Turn.objects.create(session_id=session, status=status, step=step, prompt_tokens=7, cost_microdollars=9)
    calls = [{"id": str(uuid.uuid4()), "name": "todo_write", "arguments": "{}"} for _ in range(2)]
    rows = [
        Message(role="user", content="Do it", client_message_id=uuid.uuid4(), model_prefix="<env_context>x"),
        Message(role="reasoning", step=1, content="Hm"),
        Message(role="assistant", step=1, content="I do.", tool_calls=calls, provider_blocks=[{"id": calls[0]["id"]}]),
        *(
            Message(role="tool", step=1, content='{"type":"x"}', tool_call_id=call["id"], is_error=True)
            for call in calls[:results]
        ),
        Message(role="assistant", step=2, content="Done."),
    ]
    for place, row in enumerate(rows, start=first):
        row.session_id, row.turn, row.sequence = session, turn, place
    Message.objects.bulk_create(rows)
    return turn


def told(rows):
    """Return rows as they are told, without ids."""
    names = set(SHOWN) - {"id", "turn_id", "sequence", "tool_calls", "tool_call_id", "client_message_id"}
    return [{name: row[name] for name in names} for row in rows]


def test_a_fork_holds_the_history_up_to_a_message(owner):
    session = make(owner, title="Plums", dry_run=True)
    add_turn(session, 1)
    add_messages_after(session, 7)

    answer = fork(owner, session, 6)

    assert answer.status_code == 201
    made = answer.json()
    assert (made["title"], made["metadata"], made["is_processing"]) == ("Plums", {"dry_run": True}, False)
    original = owner.client.get(path(session)).json()["messages"]
    copy = owner.client.get(path(made["id"])).json()
    assert told(copy["messages"]) == told(original[:6])
    assert [row["sequence"] for row in copy["messages"]] == [1, 2, 3, 4, 5, 6]
    assert copy["active_stream"] is None
    assert (copy["total_prompt_tokens"], copy["total_completion_tokens"]) == (0, 0)
    assert owner.client.get(SESSIONS).json()["sessions"][0]["id"] == made["id"]


def add_messages_after(session, sequence):
    Message.objects.create(session_id=session, sequence=sequence, role="user", content="More")


def test_nothing_of_a_fork_points_at_the_original(owner):
    session = make(owner)
    old = add_turn(session, 1)

    made = fork(owner, session, 6).json()["id"]

    rows = list(Message.objects.filter(session=made).order_by("sequence"))
    turn = Turn.objects.get(session=made)
    assert {row.turn_id for row in rows} == {turn.pk} != {old.pk}
    assert (turn.status, turn.step, turn.prompt_tokens, turn.cost_microdollars) == ("completed", 2, 0, 0)
    calls = [call["id"] for call in rows[2].tool_calls]
    assert calls == [str(row.tool_call_id) for row in rows[3:5]]
    assert rows[2].provider_blocks == [{"id": calls[0]}]
    assert rows[0].client_message_id is None
    assert rows[0].model_prefix == "<env_context>x"
    before = Message.objects.filter(session=session)
    assert not {row.pk for row in rows} & {row.pk for row in before}
    assert not set(calls) & {call["id"] for row in before for call in row.tool_calls or ()}
    assert Session.objects.get(pk=made).next_sequence == 7


@pytest.mark.parametrize(
    ("place", "roles", "calls"),
    [
        (1, ["user"], []),
        (2, ["user", "reasoning"], []),
        (3, ["user", "reasoning", "assistant"], 0),
        (4, ["user", "reasoning", "assistant", "tool"], 1),
        (5, ["user", "reasoning", "assistant", "tool", "tool"], 2),
    ],
)
def test_a_fork_within_a_turn_leaves_calls_without_results_out(owner, place, roles, calls):
    session = make(owner)
    add_turn(session, 1)

    rows = owner.client.get(path(fork(owner, session, place).json()["id"])).json()["messages"]

    assert [row["role"] for row in rows] == roles
    if len(rows) > 2:
        assert len(rows[2]["tool_calls"] or []) == calls
        assert [call["id"] for call in rows[2]["tool_calls"] or []] == [row["tool_call_id"] for row in rows[3:]]


def test_an_assistants_row_of_nothing_but_open_calls_is_left_out(owner):
    session = make(owner)
    add_turn(session, 1)
    Message.objects.filter(session=session, sequence=3).update(content="")

    rows = owner.client.get(path(fork(owner, session, 3).json()["id"])).json()["messages"]

    assert [row["role"] for row in rows] == ["user", "reasoning"]


def test_only_finished_steps_of_a_running_turn_are_copied(owner):
    session = make(owner)
    add_turn(session, 1, status="running", step=1)

    made = fork(owner, session, 5)
    assert made.status_code == 201
    assert owner.client.get(path(made.json()["id"])).json()["active_stream"] is None
    refused = fork(owner, session, 6)
    assert (refused.status_code, list(refused.json())) == (400, ["from_sequence"])


@pytest.mark.parametrize("place", [0, 7, 8, 2**31 - 1, -1, 2**31, "x", None, [1]])
def test_a_place_where_nothing_is_shown_is_refused(owner, place):
    session = make(owner)
    add_turn(session, 1)
    Message.objects.create(session_id=session, sequence=7, role="system", kind="summary", content="Earlier")

    answer = fork(owner, session, place)

    assert (answer.status_code, list(answer.json())) == (400, ["from_sequence"])
    assert Session.objects.count() == 1


def test_unknown_and_missing_fields_are_refused(owner):
    session = make(owner)
    assert owner.client.post(path(session, "/fork"), {}, format="json").json() == {
        "from_sequence": ["This field is required."]
    }
    body = {"from_sequence": 1, "title": "x"}
    assert owner.client.post(path(session, "/fork"), body, format="json").json() == {"title": ["Unknown field."]}


def test_nobody_forks_what_is_somebody_elses(owner, teammate, stranger):
    session = make(owner)
    add_messages(session, 2)
    for body in ({"from_sequence": 1}, {"from_sequence": 99}, {}):
        answer = teammate.client.post(path(session, "/fork"), body, format="json")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
        unknown = teammate.client.post(path(uuid.uuid4(), "/fork"), body, format="json")
        assert (unknown.status_code, unknown.json()) == (404, {"detail": "Not found."})
    assert fork(stranger, session, 1).status_code == 401
    assert Session.objects.count() == 1


def test_a_fork_costs_the_same_however_long(owner):
    def statements(turns):
        session = make(owner)
        for number in range(turns):
            add_turn(session, number * 6 + 1)
        with CaptureQueriesContext(connection) as seen:
            answer = fork(owner, session, turns * 6)
        assert Message.objects.filter(session=answer.json()["id"]).count() == turns * 6
        # One INSERT stores them all, but for SQLite, which takes so many values at a time.
        return [query["sql"][:40] for query in seen if not query["sql"].startswith("INSERT")]

    assert len(statements(1)) == len(statements(40)) < 12


def test_two_thousand_rows_are_forked(owner):
    session = make(owner)
    add_messages(session, 2000)
    made = fork(owner, session, 2000).json()["id"]
    page = owner.client.get(path(made), {"limit": 200}).json()
    assert page["messages"][-1]["content"] == "message 2000"
    assert Message.objects.filter(session=made).count() == 2000


def test_the_model_is_given_the_same_history_in_a_fork(live, model):
    marker = model.script("forked", [{"tool": "todo_write", "arguments": {"todos": TODOS}}], [{"text": "There."}])
    session = new_session(live)
    say(live, session, f"Plan {marker}")
    say(live, session, "And then?")
    made = fork(live.owner, session, 6).json()["id"]
    before = len(model.requests("forked"))

    say(live, session, "Go on")
    say(live, made, "Go on")

    original, copy = (request["body"]["messages"] for request in model.requests("forked")[before:])
    assert without_ids(original) == without_ids(copy)
    roles = [message["role"] for message in copy]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]
    assert copy[2]["tool_calls"][0]["id"] == copy[3]["tool_call_id"] != original[3]["tool_call_id"]
    assert [row["role"] for row in detail(live, made)["messages"][-2:]] == ["user", "assistant"]


def without_ids(messages):
    return [
        {
            **{name: value for name, value in message.items() if name != "tool_call_id"},
            "tool_calls": [call["function"] for call in message.get("tool_calls", ())],
        }
        for message in messages
    ]


def test_a_fork_after_open_calls_goes_on(live, model):
    marker = model.script("half", [{"tool": "todo_write", "arguments": {"todos": TODOS}}], [{"text": "There."}])
    session = new_session(live)
    say(live, session, f"Plan {marker}")
    made = fork(live.owner, session, 2).json()["id"]

    say(live, made, "Something else")

    roles = [message["role"] for message in model.requests("half")[2]["body"]["messages"]]
    assert roles == ["system", "user"]
