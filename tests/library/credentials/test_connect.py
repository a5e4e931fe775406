"""Connecting an account: PKCE, a state that is bound to the person and used once, and what providers may answer."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from apps.library.credentials import providers
from apps.library.credentials.services import create_credential, opened
from apps.library.models import Credential, OAuthAttempt
from apps.runtime import crypto

URL = "/api/library/credentials"
BACK = "/settings/credentials/connected"


def begin(person, **more):
    answer = person.client.post(f"{URL}/connect", {"provider": "github", **more}, format="json")
    assert answer.status_code == 201, answer.json()
    return answer.json()["authorize_url"]


def browser(person):
    client = Client()
    client.force_login(person.user)
    return client


def query_of(address):
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def test_a_person_connects_an_account(owner, provider):
    address = begin(owner, title="My GitHub", scopes=["gist"])
    query = query_of(address)
    assert address.startswith(f"{provider.url}/authorize?")
    assert query["redirect_uri"] == f"http://testserver{BACK}"
    assert query["scope"] == "repo gist"

    page = browser(owner).get(BACK, provider.say_yes(address))

    assert page.status_code == 200
    assert "My GitHub can be used" in page.content.decode()
    row = Credential.objects.get()
    assert (row.user_id, row.provider, row.type, row.title) == (owner.user.pk, "github", "oauth2", "My GitHub")
    assert row.scopes == ["repo", "gist"]
    assert abs(row.expires_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert set(opened(row.secret)) == {"access_token", "refresh_token"}
    assert not OAuthAttempt.objects.exists()


def test_the_code_is_bound_to_the_verifier(owner, provider):
    """A code that somebody else's sign-in got is worth nothing here."""
    other = provider.say_yes(begin(owner))
    mine = provider.say_yes(begin(owner))
    page = browser(owner).get(BACK, {"code": other["code"], "state": mine["state"]})
    assert page.status_code == 400
    assert not Credential.objects.exists()


def test_a_state_works_once(owner, provider):
    back = provider.say_yes(begin(owner))
    client = browser(owner)
    assert client.get(BACK, back).status_code == 200
    provider.codes[back["code"]] = {}
    assert client.get(BACK, back).status_code == 400
    assert len(provider.asked("POST", "/token")) == 1
    assert Credential.objects.count() == 1


def test_a_state_is_of_the_person_who_began(owner, teammate, provider):
    back = provider.say_yes(begin(owner))
    assert browser(teammate).get(BACK, back).status_code == 400
    assert not provider.asked("POST", "/token")
    assert browser(owner).get(BACK, back).status_code == 200
    assert Credential.objects.get().user_id == owner.user.pk


def test_strangers_are_asked_to_sign_in_first(owner, provider):
    page = Client().get(BACK, provider.say_yes(begin(owner)))
    assert page.status_code == 302
    assert page["Location"].startswith("/accounts/login/")


def test_a_state_ends(owner, provider):
    back = provider.say_yes(begin(owner))
    OAuthAttempt.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert browser(owner).get(BACK, back).status_code == 400
    begin(owner)
    assert OAuthAttempt.objects.count() == 1  # the old one was cleared away


@pytest.mark.parametrize("query", [{}, {"state": "x"}, {"state": "x", "code": "y"}, {"error": "access_denied"}])
def test_a_return_that_nobody_began_is_refused(owner, provider, query):
    assert browser(owner).get(BACK, query).status_code == 400
    assert not provider.requests


def test_who_says_no_is_not_connected(owner, provider):
    state = provider.say_yes(begin(owner))["state"]
    page = browser(owner).get(BACK, {"state": state, "error": "access_denied", "error_description": "<b>no</b>"})
    assert page.status_code == 400
    assert b"<b>no" not in page.content
    assert not provider.requests
    assert not Credential.objects.exists()


@pytest.mark.parametrize(
    "failure",
    [
        (200, {"error": "bad_verification_code"}),
        (400, {"error": "invalid_grant"}),
        (200, {"ok": False, "error": "invalid_code"}),
        (500, {"x": 1}),
        (429, {}),
        (200, b"not json"),
        (200, []),
        (200, {"access_token": ""}),
        (200, {"access_token": 5}),
        (302, {}, {"Location": "http://example.com/"}),
    ],
)
def test_whatever_a_provider_answers_nothing_half_is_stored(owner, provider, failure):
    provider.failure = failure
    page = browser(owner).get(BACK, provider.say_yes(begin(owner)))
    assert page.status_code == 400
    assert "begin anew" in page.content.decode()
    assert not Credential.objects.exists()


def test_tokens_without_an_end_and_scopes_that_nobody_named(owner, provider):
    provider.life_seconds = None
    provider.say_yes(address := begin(owner))
    back = provider.say_yes(address)
    provider.codes[back["code"]].pop("scope")
    browser(owner).get(BACK, back)
    row = Credential.objects.get()
    assert (row.expires_at, row.scopes) == (None, ["repo"])


def test_a_credential_is_renewed_in_its_place(owner, teammate, provider):
    old = create_credential(
        user_id=owner.user.pk,
        provider="github",
        type="oauth2",
        title="Old",
        values={"access_token": "a"},
        scopes=("gist",),
    )
    answer = teammate.client.post(f"{URL}/connect", {"provider": "github", "credential_id": str(old.pk)}, format="json")
    assert answer.status_code == 404
    address = begin(owner, credential_id=str(old.pk))
    assert query_of(address)["scope"] == "repo gist"
    assert browser(owner).get(BACK, provider.say_yes(address)).status_code == 200
    row = Credential.objects.get()
    assert (row.pk, row.title) == (old.pk, "Old")
    assert opened(row.secret)["access_token"].startswith("access-")
    assert row.version == 2


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "google"},  # known, but this installation isn't known to it
        {"provider": "nobody"},
        {"provider": "github", "scopes": ["a b"]},
        {"provider": "github", "scopes": ["a,b"]},
        {"provider": "github", "scopes": ['"']},
    ],
)
def test_what_can_not_be_connected_is_400(owner, provider, body):
    answer = owner.client.post(f"{URL}/connect", body, format="json")
    assert answer.status_code == 400
    assert not OAuthAttempt.objects.exists()


def test_the_public_address_is_where_people_come_back(owner, provider, settings):
    settings.PUBLIC_URL = "https://flightdeck.example.org/"
    assert query_of(begin(owner))["redirect_uri"] == f"https://flightdeck.example.org{BACK}"


def test_every_provider_is_asked_over_tls_by_its_own_manner():
    for found in providers.PROVIDERS.values():
        assert found.authorize_url.startswith("https://")
        assert found.token_url.startswith("https://")


def test_a_provider_that_wants_basic_and_json_gets_them(owner, provider, settings, monkeypatch):
    from dataclasses import replace

    from apps.library.credentials import oauth

    service = replace(oauth.PROVIDERS["github"], basic_auth=True, json_body=True)
    monkeypatch.setattr(oauth, "PROVIDERS", {"github": service})
    back = provider.say_yes(begin(owner))
    provider.failure = (200, {"access_token": "t"})
    assert browser(owner).get(BACK, back).status_code == 200
    asked = provider.requests[-1]
    assert asked.headers["authorization"] == "Basic b3VyLWNsaWVudDpvdXItY2xpZW50LXNlY3JldA=="
    assert asked.json()["grant_type"] == "authorization_code"
    assert "client_secret" not in asked.json()


def test_no_token_verifier_or_state_is_in_any_answer_log_or_row(owner, provider):
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    logging.getLogger().addHandler(handler)
    try:
        address = begin(owner)
        attempt = OAuthAttempt.objects.get()
        kept = json.loads(crypto.decrypt(attempt.verifier))
        back = provider.say_yes(address)
        page = browser(owner).get(BACK, back)
        listed = owner.client.get(URL).content.decode()
    finally:
        logging.getLogger().removeHandler(handler)
    tokens = opened(Credential.objects.get().secret)
    assert back["state"] not in attempt.state_hash
    for secret in (kept["verifier"], back["state"], back["code"], "our-client-secret", *tokens.values()):
        for text in (lines.getvalue(), page.content.decode(), listed, repr(attempt)):
            assert secret not in text
    assert kept["verifier"] not in address
