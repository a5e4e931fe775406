"""Credentials over REST: what can be stored, that nobody sees it again, and who uses it."""

from __future__ import annotations

import io
import json
import logging
import uuid

import pytest
from rest_framework.test import APIClient

from apps.library.credentials.services import opened
from apps.library.models import Credential, Graph, LibraryAgent, Node, Preset, Schedule

URL = "/api/library/credentials"
SECRET = "sk-very-secret-4711"
KEY = {"provider": "openai", "type": "api_key", "title": "Mine", "api_key": SECRET}
LOGIN = {"provider": "smtp", "type": "user_password", "username": SECRET + "-name", "password": " " + SECRET + " "}
HEADERS = {"provider": "http", "type": "host_scoped", "host": "API.Example.com:8443", "headers": {"X-Key": SECRET}}


def store(person, body=KEY, **more):
    answer = person.client.post(URL, {**body, **more}, format="json")
    assert answer.status_code == 201, answer.json()
    return answer.json()


def make_agent(person, name):
    graph = Graph.objects.create(user=person.user, name=name)
    return LibraryAgent.objects.create(user=person.user, graph=graph, graph_id_shared=graph.graph_id)


def test_strangers_get_401(db):
    nobody = APIClient()
    assert nobody.get(URL).status_code == nobody.post(URL, KEY, format="json").status_code == 401
    assert nobody.delete(f"{URL}/{uuid.uuid4()}").status_code == 401
    assert nobody.post(f"{URL}/connect", {"provider": "github"}, format="json").status_code == 401


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (KEY, {"api_key": SECRET}),
        (LOGIN, {"username": SECRET + "-name", "password": " " + SECRET + " "}),
        (HEADERS, {"headers": {"X-Key": SECRET}}),
    ],
)
def test_a_key_is_stored_encrypted_and_shown_without_what_it_holds(owner, body, values):
    shown = store(owner, body)
    assert set(shown) == {
        "id", "provider", "type", "title", "host", "scopes", "expires_at", "last_used_at", "created_at",
    }  # fmt: skip
    assert shown["title"] == body.get("title", body["provider"])
    assert shown["host"] == ("api.example.com:8443" if body is HEADERS else "")
    row = Credential.objects.get(pk=shown["id"])
    assert opened(row.secret) == values
    assert SECRET.encode() not in bytes(row.secret)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**KEY, "api_key": ""}, "api_key"),
        ({key: KEY[key] for key in ("provider", "type")}, "api_key"),
        ({**KEY, "password": "x"}, "password"),
        ({**KEY, "provider": "Open AI"}, "provider"),
        ({**KEY, "provider": "_openai"}, "provider"),
        ({**KEY, "type": "oauth2"}, "type"),
        ({**KEY, "colour": "red"}, "colour"),
        ({**LOGIN, "username": ""}, "username"),
        ({**HEADERS, "headers": "x"}, "headers"),
        ({key: HEADERS[key] for key in ("provider", "type", "headers")}, "host"),
    ],
)
def test_what_is_no_key_is_400_and_names_the_field(owner, body, field):
    answer = owner.client.post(URL, body, format="json")
    assert answer.status_code == 400
    assert set(answer.json()) == {field}
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {}},
        {"headers": {"Host": "evil"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"X Key": "v"}},
        {"headers": {"X-Key": "a\r\nX-Other: b"}},
        {"headers": {f"X-{number}": "v" for number in range(21)}},
        {"host": "https://api.example.com"},
        {"host": "api.example.com/path"},
        {"host": "me@api.example.com"},
        {"host": "*"},
        {"host": "*.com"},
        {"host": "a b"},
        {"host": "[::1"},
        {"host": "h:99999"},
    ],
)
def test_headers_and_hosts_that_could_lead_elsewhere_are_400(owner, change):
    answer = owner.client.post(URL, {**HEADERS, **change}, format="json")
    assert answer.status_code == 400
    assert answer.json()["code"] == "credential_invalid"
    assert not Credential.objects.exists()


def test_everybody_sees_and_changes_their_own_only(owner, teammate):
    mine = store(owner)
    store(teammate, LOGIN)
    missing = teammate.client.delete(f"{URL}/{uuid.uuid4()}")
    assert [row["id"] for row in owner.client.get(URL).json()["credentials"]] == [mine["id"]]
    for answer in (
        teammate.client.delete(f"{URL}/{mine['id']}"),
        teammate.client.delete(f"{URL}/{mine['id']}?force=true"),
        teammate.client.patch(f"{URL}/{mine['id']}", {"title": "x"}, format="json"),
        owner.client.patch(f"{URL}/{uuid.uuid4()}", {"title": "x"}, format="json"),
    ):
        assert (answer.status_code, answer.json()) == (404, missing.json())
    assert Credential.objects.get(pk=mine["id"]).title == "Mine"


def test_a_credential_is_renamed(owner):
    mine = store(owner)
    assert owner.client.patch(f"{URL}/{mine['id']}", {"title": "Work"}, format="json").status_code == 204
    assert owner.client.get(URL).json()["credentials"][0]["title"] == "Work"
    for bad in ({"title": ""}, {}, {"title": "x", "api_key": "y"}):
        assert owner.client.patch(f"{URL}/{mine['id']}", bad, format="json").status_code == 400
    assert opened(Credential.objects.get().secret) == {"api_key": SECRET}


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_costs_the_same_however_long(owner, rows, django_assert_num_queries):
    for number in range(rows):
        store(owner, title=f"number {number}")
    owner.client.get(URL)  # notes the token's first use
    with django_assert_num_queries(3):  # the token, the page, how many
        body = owner.client.get(URL).json()
    assert (len(body["credentials"]), body["total"]) == (rows, rows)


def test_pages_and_services(owner):
    for number in range(3):
        store(owner, title=f"number {number}")
    store(owner, LOGIN)
    assert owner.client.get(URL, {"provider": "smtp"}).json()["total"] == 1
    pages = [owner.client.get(URL, {"limit": 2, "offset": offset}).json() for offset in (0, 2)]
    assert len({row["id"] for page in pages for row in page["credentials"]}) == pages[0]["total"] == 4
    assert owner.client.get(URL, {"limit": 0}).status_code == 400


# Who uses it ----------------------------------------------------------------------------------------------------


def test_deleting_names_the_agents_that_use_it(owner, teammate):
    mine = store(owner)
    other = store(owner, LOGIN)
    by_node, by_preset, by_schedule, unused = (make_agent(owner, name) for name in ("node", "preset", "plan", "free"))
    Node.objects.create(
        graph=by_node.graph, position=0, block_id="x", input_default={"credentials": {"id": mine["id"]}}
    )
    Node.objects.create(
        graph=unused.graph, position=0, block_id="x", input_default={"credentials": {"id": other["id"]}}
    )
    Preset.objects.create(user=owner.user, agent=by_preset, name="p", credential_inputs={"k": mine["id"]})
    Schedule.objects.create(
        user=owner.user, agent=by_schedule, name="s", cron="* * * * *", credential_inputs={"k": mine["id"]}
    )
    foreign = make_agent(teammate, "foreign")
    Preset.objects.create(user=teammate.user, agent=foreign, name="p", credential_inputs={"k": mine["id"]})

    answer = owner.client.delete(f"{URL}/{mine['id']}")
    assert answer.status_code == 409
    assert answer.json()["code"] == "credential_in_use"
    assert [agent["name"] for agent in answer.json()["agents"]] == ["node", "plan", "preset"]
    assert answer.json()["agents"][0]["id"] == str(by_node.pk)
    assert Credential.objects.filter(pk=mine["id"]).exists()

    assert owner.client.delete(f"{URL}/{mine['id']}?force=true").status_code == 204
    assert not Credential.objects.filter(pk=mine["id"]).exists()
    assert owner.client.delete(f"{URL}/{mine['id']}").status_code == 404


def test_an_unused_credential_is_deleted_at_once(owner):
    mine = store(owner)
    make_agent(owner, "other")
    assert owner.client.delete(f"{URL}/{mine['id']}").status_code == 204
    assert owner.client.get(URL).json() == {"credentials": [], "total": 0}


# Nobody sees it -------------------------------------------------------------------------------------------------


def test_no_answer_and_no_log_line_holds_a_secret(owner, teammate, client, caplog):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG):
            made = [store(owner, body) for body in (KEY, LOGIN, HEADERS)]
            answers = [json.dumps(made)]
            owner.client.raise_request_exception = False
            for body in (KEY, LOGIN, HEADERS):
                for bad in (
                    {**body, "type": SECRET[:3]},
                    {**body, "extra": 1},
                    {**body, "host": "http://x"},
                    {**body, "headers": {"X-Key": SECRET + "\n"}},
                ):
                    answers.append(owner.client.post(URL, bad, format="json").content.decode())
            answers.append(owner.client.get(URL).content.decode())
            for row in made:
                address = f"{URL}/{row['id']}"
                answers += [
                    call.content.decode()
                    for call in (
                        owner.client.patch(address, {"title": "x"}, format="json"),
                        owner.client.patch(address, {"title": ""}, format="json"),
                        owner.client.get(address),
                        teammate.client.delete(address),
                        owner.client.delete(address),
                    )
                ]
            for row in Credential.objects.all():
                answers += [str(row), repr(row)]
    finally:
        root.removeHandler(handler)
    assert len(answers) > 20
    for text in (*answers, lines.getvalue(), caplog.text):
        assert SECRET not in text


def test_services_that_can_be_connected_are_listed(owner, settings):
    settings.OAUTH_CLIENTS = {"github": {"client_id": "our-client", "client_secret": "our-client-secret"}}
    body = owner.client.get(f"{URL}/providers").json()
    assert body["total"] == 6
    known = {row["provider"]: row["is_configured"] for row in body["providers"]}
    assert known == {
        "discord": False, "github": True, "google": False, "linear": False, "notion": False, "slack": False,
    }  # fmt: skip
    assert "our-client" not in json.dumps(body)
    assert len(owner.client.get(f"{URL}/providers", {"limit": 2, "offset": 5}).json()["providers"]) == 1
