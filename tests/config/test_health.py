"""Health, error shapes, request ids."""

import pytest
from django.db import OperationalError
from django.test import Client

SESSIONS = "/api/chat/sessions"


def test_a_living_process_says_so(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_ready_process_names_what_it_reached(client, db):
    answer = client.get("/readyz")
    assert answer.json() == {"status": "ok", "database": "ok", "redis": "ok", "broker": "ok"}
    assert answer.status_code == 200


def test_an_unready_process_names_what_is_away(client, db, settings):
    settings.REDIS_URL = "redis://:pass-word@127.0.0.1:1/0"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "database": "ok", "redis": "ConnectionError", "broker": "ok"}
    assert b"pass-word" not in answer.content


def test_a_database_that_is_away_is_told(client, db, monkeypatch):
    def cursor():
        raise OperationalError("host=secret-host")

    with monkeypatch.context() as patch:  # undone before the database is
        patch.setattr("config.health.connection.cursor", cursor)
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["database"]) == (503, "OperationalError")
    assert b"secret-host" not in answer.content


@pytest.mark.parametrize("address", ["/api/nowhere", "/api/chat/nowhere", "/api/chat/sessions/"])
def test_unknown_addresses_of_the_api_are_404_in_json(client, db, address):
    answer = client.get(address)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


def test_unknown_pages_are_404_pages(client, db):
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def away(*args, **kwargs):
    raise OperationalError("server closed the connection: password=hunter2")


@pytest.mark.parametrize(
    "tail", ["", "/00000000-0000-0000-0000-000000000000", "/00000000-0000-0000-0000-000000000000/cancel"]
)
def test_a_database_that_is_away_is_503(owner, monkeypatch, tail):
    monkeypatch.setattr("apps.chat.queries.list_sessions", away)
    monkeypatch.setattr("apps.chat.queries.access_session", away)
    answer = owner.client.post(SESSIONS + tail) if tail.endswith("cancel") else owner.client.get(SESSIONS + tail)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["code"] == "unavailable"
    assert b"hunter2" not in answer.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broken", ["apps.chat.queries.access_session", "apps.accounts.services.user_for_key"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_database_that_is_away_is_503_for_streams(owner, monkeypatch, broken, method):
    monkeypatch.setattr(broken, away)
    address = f"{SESSIONS}/00000000-0000-0000-0000-000000000000/stream"
    answer = getattr(owner.client, method)(address, {"message": "x"} if method == "post" else None, format="json")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["code"] == "unavailable"


def test_a_defect_is_a_500_that_tells_nothing(owner, monkeypatch):
    def broken(**kwargs):
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("apps.chat.queries.list_sessions", broken)
    browser = Client(raise_request_exception=False, headers={"Authorization": f"Token {owner.key}"})
    answer = browser.get(SESSIONS)
    assert answer.status_code == 500
    assert b"secret" not in answer.content


def test_every_answer_has_a_request_id_of_its_own(client, db):
    answers = [client.get("/healthz", headers={"X-Request-ID": "forged"}) for _ in range(2)]
    ids = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(ids) == 2
    assert "forged" not in ids
