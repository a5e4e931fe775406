"""Credits over REST and in the admin."""

from __future__ import annotations

import uuid

import pytest
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.billing.models import CreditTransaction
from apps.billing.services import grant, spend

BALANCE = "/api/credits/balance"
TRANSACTIONS = "/api/credits/transactions"
ADMIN = "/admin/billing/credittransaction/"
PASSWORD = "correct horse battery staple"


def fill(person, count):
    for number in range(count):
        grant(user_id=person.user.pk, amount_cents=number + 1, key=f"{person.user.pk} {number}")


def test_strangers_get_401(db):
    for address in (BALANCE, TRANSACTIONS):
        assert APIClient().get(address).status_code == 401


def test_everybody_sees_their_own_credits_only(owner, teammate):
    grant(user_id=owner.user.pk, amount_cents=500, key="one", metadata={"reason": "secret", "operator_id": "x"})
    spend(user_id=owner.user.pk, amount_cents=120, key="two")

    assert owner.client.get(BALANCE).json() == {"balance_cents": 380}
    assert teammate.client.get(BALANCE).json() == {"balance_cents": 0}
    assert teammate.client.get(TRANSACTIONS).json() == {"transactions": [], "next_cursor": None}
    body = owner.client.get(TRANSACTIONS).json()
    assert [(row["type"], row["amount_cents"], row["running_balance_cents"]) for row in body["transactions"]] == [
        ("USAGE", -120, 380),
        ("GRANT", 500, 500),
    ]
    assert set(body["transactions"][0]) == {
        "id", "type", "amount_cents", "running_balance_cents", "created_at", "is_active",
    }  # fmt: skip
    assert body["next_cursor"] is None


def test_pages_hold_still_while_the_ledger_grows(owner):
    fill(owner, 5)
    first = owner.client.get(TRANSACTIONS, {"limit": 2}).json()
    grant(user_id=owner.user.pk, amount_cents=99, key="later")
    second = owner.client.get(TRANSACTIONS, {"limit": 2, "cursor": first["next_cursor"]}).json()
    third = owner.client.get(TRANSACTIONS, {"limit": 2, "cursor": second["next_cursor"]}).json()

    seen = [row["amount_cents"] for page in (first, second, third) for row in page["transactions"]]
    assert seen == [5, 4, 3, 2, 1]
    assert third["next_cursor"] is None


def test_a_full_last_page_has_no_next(owner):
    fill(owner, 2)
    body = owner.client.get(TRANSACTIONS, {"limit": 2}).json()
    assert (len(body["transactions"]), body["next_cursor"]) == (2, None)


def test_one_type_may_be_asked_for(owner):
    fill(owner, 2)
    spend(user_id=owner.user.pk, amount_cents=1, key="cost")
    body = owner.client.get(TRANSACTIONS, {"type": "USAGE"}).json()
    assert [row["amount_cents"] for row in body["transactions"]] == [-1]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"cursor": 0}, {"cursor": "x"}, {"type": "GIFT"}])
def test_a_query_that_can_not_be_used_is_400(owner, query):
    answer = owner.client.get(TRANSACTIONS, query)
    assert answer.status_code == 400
    assert set(answer.json()) == set(query)


@pytest.mark.parametrize("rows", [1, 3])
def test_reading_credits_costs_the_same_however_long_the_ledger(owner, rows, django_assert_num_queries):
    fill(owner, rows)
    owner.client.get(BALANCE)  # notes the token's first use
    with django_assert_num_queries(2):  # the token, the page
        assert len(owner.client.get(TRANSACTIONS).json()["transactions"]) == rows
    with django_assert_num_queries(2):
        owner.client.get(BALANCE)


# Operators ------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(client, db):
    person = User.objects.create_superuser("operator@example.com", PASSWORD)
    client.force_login(person)
    return person


def grant_form(person, **fields):
    return {
        "user": str(person.user.pk),
        "amount_cents": "250",
        "reason": "A gift",
        "grant_id": str(uuid.uuid4()),
        **fields,
    }


def test_an_operator_grants_credits_with_a_reason_once(client, operator, owner):
    form = grant_form(owner)
    assert client.post(f"{ADMIN}add/", form).status_code == 302
    assert client.post(f"{ADMIN}add/", form).status_code == 302  # the button was pressed twice

    line = CreditTransaction.objects.get()
    assert (line.user_id, line.type, line.amount_cents) == (owner.user.pk, "GRANT", 250)
    assert line.metadata == {"reason": "A gift", "operator_id": str(operator.pk)}


@pytest.mark.parametrize("bad", [{"reason": ""}, {"amount_cents": "0"}, {"amount_cents": "-5"}, {"grant_id": ""}])
def test_a_grant_needs_a_reason_and_an_amount(client, operator, owner, bad):
    assert client.post(f"{ADMIN}add/", grant_form(owner, **bad)).status_code == 200
    assert not CreditTransaction.objects.exists()


def test_the_ledger_is_read_only_in_the_admin(client, operator, owner):
    line = grant(user_id=owner.user.pk, amount_cents=100, key="have")
    page = client.get(f"{ADMIN}{line.pk}/change/")
    assert page.status_code == 200
    assert b"_save" not in page.content
    assert client.post(f"{ADMIN}{line.pk}/change/", {"amount_cents": "9"}).status_code == 403
    assert client.post(f"{ADMIN}{line.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/billing/balance/").status_code == 200
    assert client.get("/admin/billing/balance/add/").status_code == 403


def test_people_without_the_permission_grant_nothing(client, owner):
    client.force_login(owner.user)
    assert client.post(f"{ADMIN}add/", grant_form(owner)).status_code == 302  # to the operators' sign-in
    User.objects.filter(pk=owner.user.pk).update(is_staff=True)
    assert client.post(f"{ADMIN}add/", grant_form(owner)).status_code == 403
    assert not CreditTransaction.objects.exists()


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_of_operators_costs_the_same_however_long(client, operator, owner, rows, django_assert_num_queries):
    fill(owner, rows)
    with django_assert_num_queries(4):  # browser session, operator, how many, the page
        assert client.get(ADMIN).status_code == 200
