"""API tokens: made, shown once, used, revoked; over the API and on the page."""

import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.accounts.models import ApiToken

TOKENS = "/api/accounts/tokens"
PAGE = "/settings/tokens"


def client_with(key):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {key}")
    return client


def browser_of(person, **options):
    browser = Client(**options)
    browser.force_login(person.user)
    return browser


def make(person, name="laptop"):
    answer = person.client.post(TOKENS, {"name": name}, format="json")
    assert answer.status_code == 201
    return answer.json()


def test_a_new_token_opens_the_door(owner):
    made = make(owner)
    assert set(made) == {"id", "name", "prefix", "created_at", "last_used_at", "key"}
    assert made["key"].startswith("fd_")
    assert len(made["key"]) >= 43
    assert made["prefix"] == made["key"][:9]
    assert client_with(made["key"]).get(TOKENS).status_code == 200


def test_a_key_is_shown_once(owner):
    made = make(owner)
    listed = owner.client.get(TOKENS)
    assert made["key"] not in listed.content.decode()
    assert [row["name"] for row in listed.json()["tokens"]] == ["laptop", "tests"]
    assert all("key" not in row for row in listed.json()["tokens"])


def test_only_a_hash_is_stored(owner):
    key = make(owner)["key"]
    for row in ApiToken.objects.values():
        assert key not in str(row)
        assert key[10:] not in str(row)


def test_two_tokens_are_never_alike(owner):
    assert make(owner)["key"] != make(owner)["key"]


def test_a_revoked_token_is_401_at_once(owner):
    made = make(owner)
    program = client_with(made["key"])
    assert program.delete(f"{TOKENS}/{made['id']}").status_code == 204
    answer = program.get(TOKENS)
    assert (answer.status_code, answer.json()) == (401, {"detail": "This token is unknown or revoked."})
    assert answer.headers["WWW-Authenticate"] == "Token"
    assert made["id"] not in [row["id"] for row in owner.client.get(TOKENS).json()["tokens"]]


def test_revoking_twice_is_no_error(owner):
    made = make(owner)
    assert [owner.client.delete(f"{TOKENS}/{made['id']}").status_code for _ in range(2)] == [204, 204]


def test_a_foreign_token_is_as_unknown_as_no_token(owner, teammate):
    theirs = make(teammate)
    answers = [owner.client.delete(f"{TOKENS}/{identifier}") for identifier in (theirs["id"], uuid.uuid4())]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, b'{"detail":"Not found."}')}
    assert client_with(theirs["key"]).get(TOKENS).status_code == 200


def test_a_token_of_a_deactivated_person_is_401(owner):
    owner.user.is_active = False
    owner.user.save()
    assert owner.client.get(TOKENS).status_code == 401


def test_a_wrong_token_is_not_saved_by_a_signed_in_browser(owner):
    browser = browser_of(owner)
    assert browser.get(TOKENS).status_code == 200
    assert browser.get(TOKENS, headers={"Authorization": "Token wrong"}).status_code == 401


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x00b", None, [], {}])
def test_a_bad_name_is_refused(owner, name):
    assert owner.client.post(TOKENS, {"name": name}, format="json").status_code == 400
    assert ApiToken.objects.filter(user=owner.user).count() == 1


def test_names_are_trimmed_and_may_be_long(owner):
    assert make(owner, "  spaced ")["name"] == "spaced"
    assert make(owner, "é" * 100)["name"] == "é" * 100


def test_lists_come_newest_first_in_pages(owner):
    for number in range(3):
        make(owner, f"token {number}")
    page = owner.client.get(TOKENS, {"limit": 2, "offset": 1}).json()
    assert [row["name"] for row in page["tokens"]] == ["token 1", "token 0"]
    assert page["total"] == 4


def test_the_last_use_is_kept_to_the_minute(owner, django_assert_num_queries):
    made = make(owner)
    program = client_with(made["key"])
    program.get(TOKENS)
    token = ApiToken.objects.get(pk=made["id"])
    assert token.last_used_at > timezone.now() - timedelta(seconds=10)
    with django_assert_num_queries(3):  # the token, the page, the total; no write
        program.get(TOKENS)
    ApiToken.objects.filter(pk=made["id"]).update(last_used_at=timezone.now() - timedelta(minutes=2))
    with django_assert_num_queries(4):
        program.get(TOKENS)


# The page -------------------------------------------------------------------------------------------------------


def test_the_page_shows_a_new_key_once(owner):
    browser = browser_of(owner)
    made = browser.post(PAGE, {"name": "phone <b>"})
    key = re.search(r"fd_[\w-]{40,}", made.content.decode())[0]
    assert client_with(key).get(TOKENS).status_code == 200
    again = browser.get(PAGE).content.decode()
    assert key not in again
    assert "phone &lt;b&gt;" in again
    assert "no-store" in made.headers["Cache-Control"]


def test_the_page_refuses_a_token_without_a_name(owner):
    answer = browser_of(owner).post(PAGE, {"name": " "})
    assert "Give the token a name" in answer.content.decode()
    assert ApiToken.objects.count() == 1


def test_the_page_revokes(owner):
    token = ApiToken.objects.get(user=owner.user)
    answer = browser_of(owner).post(f"{PAGE}/{token.pk}/revoke", follow=True)
    assert "The token is revoked" in answer.content.decode()
    assert owner.client.get(TOKENS).status_code == 401


def test_the_page_knows_no_foreign_token(owner, teammate):
    theirs = ApiToken.objects.get(user=teammate.user)
    browser = browser_of(owner)
    answers = [browser.post(f"{PAGE}/{identifier}/revoke") for identifier in (theirs.pk, uuid.uuid4())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert teammate.client.get(TOKENS).status_code == 200


def test_the_page_needs_the_csrf_token(owner):
    token = ApiToken.objects.get(user=owner.user)
    browser = browser_of(owner, enforce_csrf_checks=True)
    assert browser.post(PAGE, {"name": "x"}).status_code == 403
    assert browser.post(f"{PAGE}/{token.pk}/revoke").status_code == 403
    assert browser.get(f"{PAGE}/{token.pk}/revoke").status_code == 405
    assert owner.client.get(TOKENS).json()["total"] == 1
