"""The one conversation that belongs to a graph of a person's library."""

from functools import partial
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.chat.models import Session
from apps.library.models import LibraryAgent
from tests.billing.crowds import at_once
from tests.chat.agents import AGENTS, new_agent
from tests.library.graphs.graphs import echo

SESSIONS = "/api/chat/sessions"


def bind(person, graph_id, **more):
    return person.client.post(SESSIONS, {"builder_graph_id": graph_id, **more}, format="json")


def pointer(agent_id):
    return LibraryAgent.objects.get(pk=agent_id).settings.get("builder_chat_session_id")


@pytest.mark.django_db
def test_a_graph_has_one_session_that_is_made_once(owner):
    agent_id, graph_id = new_agent(owner)

    made = bind(owner, graph_id)
    assert made.status_code == 201
    body = made.json()
    assert body["metadata"] == {"dry_run": False, "builder_graph_id": graph_id}
    assert set(body) == {"id", "title", "created_at", "updated_at", "is_processing", "metadata"}
    assert pointer(agent_id) == body["id"]

    found = bind(owner, graph_id)
    assert (found.status_code, found.json()) == (200, body)
    assert bind(owner, graph_id.upper()).json() == body, "the same id, written otherwise"
    assert owner.client.get(f"{SESSIONS}/{body['id']}").json()["metadata"] == body["metadata"]
    assert Session.objects.count() == 1


@pytest.mark.django_db
def test_graphs_and_plain_sessions_are_apart(owner):
    first, second = (new_agent(owner)[1] for _ in range(2))
    answers = [bind(owner, first), bind(owner, second), owner.client.post(SESSIONS, {}, format="json")]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json()["id"] for answer in answers}) == 3


@pytest.mark.django_db
def test_a_graph_that_is_not_in_ones_library_is_unknown(owner, teammate, stranger):
    agent_id, graph_id = new_agent(owner)
    for wanted in (graph_id, str(agent_id), str(uuid4()), "g", "../x", "g" * 128):
        answer = bind(teammate, wanted)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."}), wanted
    assert bind(stranger, graph_id).status_code == 401
    assert bind(owner, str(agent_id)).status_code == 404, "agents are no graphs"
    assert (pointer(agent_id), Session.objects.count()) == (None, 0)

    assert owner.client.delete(f"{AGENTS}/{agent_id}").status_code == 204
    assert bind(owner, graph_id).status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("body", [{"dry_run": True}, {"builder_graph_id": "g" * 129}, {"builder_graph_id": ""}])
def test_bad_input_binds_nothing(owner, body):
    agent_id, graph_id = new_agent(owner)
    answer = owner.client.post(SESSIONS, {"builder_graph_id": graph_id, **body}, format="json")
    assert (answer.status_code, list(answer.json())) == (400, ["builder_graph_id"])
    assert pointer(agent_id) is None


@pytest.mark.django_db
def test_a_session_outlives_versions_of_its_graph_and_other_settings(owner):
    agent_id, graph_id = new_agent(owner)
    session = bind(owner, graph_id).json()["id"]

    assert owner.client.put(f"{AGENTS}/{agent_id}/graph", echo(name="Second"), format="json").status_code == 200
    changed = owner.client.patch(f"{AGENTS}/{agent_id}", {"settings": {"theirs": 1}}, format="json").json()
    assert changed["settings"] == {"theirs": 1, "builder_chat_session_id": session}
    assert owner.client.post(f"{AGENTS}/{agent_id}/versions/1/activate").status_code == 200

    found = bind(owner, graph_id)
    assert (found.status_code, found.json()["id"]) == (200, session)


@pytest.mark.django_db(transaction=True)
def test_a_deleted_session_is_replaced(owner):
    agent_id, graph_id = new_agent(owner)
    gone = bind(owner, graph_id).json()["id"]
    assert owner.client.delete(f"{SESSIONS}/{gone}").status_code == 204

    again = bind(owner, graph_id)

    assert again.status_code == 201
    assert again.json()["id"] != gone
    assert pointer(agent_id) == again.json()["id"]
    assert bind(owner, graph_id).json()["id"] == again.json()["id"]


@pytest.mark.django_db
def test_a_pointer_that_leads_elsewhere_is_replaced(owner, teammate):
    agent_id, graph_id = new_agent(owner)
    elsewhere = [
        owner.client.post(SESSIONS, {}, format="json").json()["id"],
        bind(owner, new_agent(owner)[1]).json()["id"],
        teammate.client.post(SESSIONS, {}, format="json").json()["id"],
        "x", 7, None, ["x"],
    ]  # fmt: skip
    for value in elsewhere:
        settings = {"builder_chat_session_id": value}
        assert owner.client.patch(f"{AGENTS}/{agent_id}", {"settings": settings}, format="json").status_code == 200
        answer = bind(owner, graph_id)
        assert (answer.status_code, answer.json()["metadata"]["builder_graph_id"]) == (201, graph_id), value
        assert answer.json()["id"] not in elsewhere


@pytest.mark.django_db(transaction=True)
def test_tabs_that_ask_at_once_get_the_same_session(owner):
    agent_id, graph_id = new_agent(owner)
    for _ in range(3):
        answers = at_once(partial(bind, owner, graph_id) for _ in range(8))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        (session,) = {answer.json()["id"] for answer in answers}
        assert Session.objects.filter(builder_graph_id=graph_id).count() == 1
        assert pointer(agent_id) == session
        assert owner.client.delete(f"{SESSIONS}/{session}").status_code == 204


@pytest.mark.django_db(transaction=True)
def test_a_session_is_kept_while_versions_and_settings_change_at_once(owner):
    agent_id, graph_id = new_agent(owner)
    save = partial(owner.client.put, f"{AGENTS}/{agent_id}/graph", echo(), format="json")
    change = partial(owner.client.patch, f"{AGENTS}/{agent_id}", {"settings": {"theirs": 1}}, format="json")
    answers = at_once([save, change, *(partial(bind, owner, graph_id) for _ in range(4)), save, change])
    (session,) = {answer.json()["id"] for answer in answers[2:6]}
    assert LibraryAgent.objects.get(pk=agent_id).settings == {"theirs": 1, "builder_chat_session_id": session}


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_finding_it_costs_the_same_however_many_there_are(owner, count):
    graphs = [new_agent(owner)[1] for _ in range(count)]
    for graph_id in graphs:
        bind(owner, graph_id)
    with CaptureQueriesContext(connection) as asked:
        assert bind(owner, graphs[0]).status_code == 200
    assert len([query for query in asked if "SAVEPOINT" not in query["sql"]]) == 4, "who asks, lock, agent, session"
