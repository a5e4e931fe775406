"""The ledger of credits: exact, idempotent, never below zero by spending."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import pytest
from django.db import transaction
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from apps.accounts.models import User
from apps.billing import queries
from apps.billing.errors import InsufficientBalance, KeyReused
from apps.billing.models import Balance, CreditTransaction
from apps.billing.services import grant, spend
from tests.billing.crowds import at_once, check_ledger
from tests.depth import depth


def facts(line):
    return line.type, line.amount_cents, line.running_balance_cents, line.number


@pytest.mark.django_db
def test_credits_come_and_go(owner):
    first = grant(user_id=owner.user.pk, amount_cents=500, key="one", metadata={"reason": "hello"})
    second = spend(user_id=owner.user.pk, amount_cents=120, key="two")
    third = grant(user_id=owner.user.pk, amount_cents=1000, key="three", kind="TOP_UP")

    assert [facts(line) for line in (first, second, third)] == [
        ("GRANT", 500, 500, 1),
        ("USAGE", -120, 380, 2),
        ("TOP_UP", 1000, 1380, 3),
    ]
    assert first.metadata == {"reason": "hello"}
    assert queries.balance_cents(owner.user.pk) == 1380


@pytest.mark.django_db
def test_somebody_without_a_ledger_has_nothing_and_spends_nothing(owner):
    assert queries.balance_cents(owner.user.pk) == 0
    with pytest.raises(InsufficientBalance):
        spend(user_id=owner.user.pk, amount_cents=1, key="one")
    assert not CreditTransaction.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("have", "cost", "left"), [(100, 100, 0), (101, 100, 1)])
def test_a_balance_may_be_spent_to_the_last_cent(owner, have, cost, left):
    grant(user_id=owner.user.pk, amount_cents=have, key="have")
    assert spend(user_id=owner.user.pk, amount_cents=cost, key="cost").running_balance_cents == left


@pytest.mark.django_db
def test_one_cent_too_little_is_refused_whole(owner):
    grant(user_id=owner.user.pk, amount_cents=99, key="have")
    with pytest.raises(InsufficientBalance):
        spend(user_id=owner.user.pk, amount_cents=100, key="cost")
    assert queries.balance_cents(owner.user.pk) == 99
    assert check_ledger(owner.user.pk) == 99


@pytest.mark.django_db
@pytest.mark.parametrize("move", [grant, spend])
@pytest.mark.parametrize("amount", [0, -1, 1.5, "5", None, True])
def test_an_amount_is_a_positive_whole_number(owner, move, amount):
    with pytest.raises(ValueError, match="at least 1"):
        move(user_id=owner.user.pk, amount_cents=amount, key="odd")
    assert not CreditTransaction.objects.exists()


@pytest.mark.django_db
def test_the_same_key_moves_nothing_twice(owner):
    grant(user_id=owner.user.pk, amount_cents=100, key="have")
    first = spend(user_id=owner.user.pk, amount_cents=100, key="cost")

    again = spend(user_id=owner.user.pk, amount_cents=100, key="cost")  # by now there would be too little for it

    assert again.pk == first.pk
    assert check_ledger(owner.user.pk) == queries.balance_cents(owner.user.pk) == 0


@pytest.mark.django_db
def test_a_key_stands_for_one_thing(owner, teammate):
    grant(user_id=owner.user.pk, amount_cents=100, key="have")
    for user, amount, kind in (
        (teammate.user, 100, "GRANT"),
        (owner.user, 101, "GRANT"),
        (owner.user, 100, "TOP_UP"),
    ):
        with pytest.raises(KeyReused):
            grant(user_id=user.pk, amount_cents=amount, key="have", kind=kind)
    assert queries.balance_cents(teammate.user.pk) == 0
    assert check_ledger(owner.user.pk) == queries.balance_cents(owner.user.pk) == 100


@pytest.mark.django_db
def test_what_is_rolled_back_leaves_no_trace_and_its_key_free(owner):
    grant(user_id=owner.user.pk, amount_cents=100, key="have")

    def spend_and_fail():
        with transaction.atomic():
            spend(user_id=owner.user.pk, amount_cents=40, key="cost")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        spend_and_fail()

    assert queries.balance_cents(owner.user.pk) == 100
    assert facts(spend(user_id=owner.user.pk, amount_cents=40, key="cost")) == ("USAGE", -40, 60, 2)


@pytest.mark.django_db
def test_a_line_is_never_written_anew(owner):
    line = grant(user_id=owner.user.pk, amount_cents=100, key="have")
    line.amount_cents = 200
    with pytest.raises(TypeError, match="only grows"):
        line.save()
    line.refresh_from_db()
    assert line.amount_cents == 100


@pytest.mark.django_db(transaction=True)
def test_eight_spenders_and_two_givers_at_once_keep_the_books(owner):
    user_id = owner.user.pk
    grant(user_id=user_id, amount_cents=300, key="start")
    chance = random.Random(5)
    amounts = {f"spend {n}": chance.randint(1, 60) for n in range(48)}

    def spender(number):
        outcomes = []
        # Every key is tried by two spenders.
        for n in range(number % 4, 48, 4):
            try:
                spend(user_id=user_id, amount_cents=amounts[f"spend {n}"], key=f"spend {n}")
                outcomes.append("spent")
            except InsufficientBalance:
                outcomes.append("short")
        return outcomes

    def giver():
        for n in range(20):
            grant(user_id=user_id, amount_cents=7, key=f"grant {n}")
        return []

    outcomes = at_once([*(partial(spender, number) for number in range(8)), giver, giver])

    assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
    assert Counter(outcome for each in outcomes for outcome in each).keys() == {"spent", "short"}
    lines = CreditTransaction.objects.filter(user_id=user_id)
    assert lines.filter(type="GRANT").count() == 21
    assert all(line.amount_cents == -amounts[line.key] for line in lines.filter(type="USAGE"))
    assert check_ledger(user_id) == queries.balance_cents(user_id) >= 0
    assert Balance.objects.get(pk=user_id).transactions == lines.count()


@pytest.mark.django_db(transaction=True)
def test_one_key_at_once_is_one_line_for_everybody_who_asked(owner):
    grant(user_id=owner.user.pk, amount_cents=100, key="have")

    lines = at_once([partial(spend, user_id=owner.user.pk, amount_cents=100, key="cost")] * 8)

    assert len({line.pk for line in lines}) == 1
    assert check_ledger(owner.user.pk) == queries.balance_cents(owner.user.pk) == 0


@pytest.mark.django_db(transaction=True)
def test_a_first_balance_is_made_once(owner):
    jobs = [partial(grant, user_id=owner.user.pk, amount_cents=5, key=f"first {n}") for n in range(8)]

    assert sorted(line.running_balance_cents for line in at_once(jobs)) == [5, 10, 15, 20, 25, 30, 35, 40]
    assert check_ledger(owner.user.pk) == queries.balance_cents(owner.user.pk) == 40


class LedgerMachine(RuleBasedStateMachine):
    """Two people's credits beside a model of them."""

    def __init__(self):
        super().__init__()
        CreditTransaction.objects.all().delete()
        Balance.objects.all().delete()
        self.people = list(User.objects.order_by("email"))
        self.lines = {}  # key → (person, amount)
        self.order = [[], []]

    def balance(self, person):
        return sum(self.order[person])

    def attempt(self, move, person, amount, key):
        signed = amount if move is grant else -amount
        call = partial(move, user_id=self.people[person].pk, amount_cents=amount, key=key)
        if key in self.lines and self.lines[key] != (person, signed):
            with pytest.raises(KeyReused):
                call()
        elif key in self.lines:
            assert call().amount_cents == signed
        elif self.balance(person) + signed < 0:
            with pytest.raises(InsufficientBalance):
                call()
        else:
            self.lines[key] = (person, signed)
            self.order[person].append(signed)
            assert call().running_balance_cents == self.balance(person)

    @rule(
        move=st.sampled_from([grant, spend]),
        person=st.integers(0, 1),
        amount=st.integers(1, 4),
        key=st.integers(0, 25).map(str),
    )
    def moves(self, move, person, amount, key):
        self.attempt(move, person, amount, key)

    @invariant()
    def balances_and_lines_are_those_of_the_model(self):
        for person, user in enumerate(self.people):
            lines = CreditTransaction.objects.filter(user=user).order_by("number")
            assert [line.amount_cents for line in lines] == self.order[person]
            assert check_ledger(user.pk) == queries.balance_cents(user.pk) == self.balance(person)


@pytest.mark.long
@pytest.mark.django_db
def test_the_ledger_does_what_its_model_does(owner, teammate):
    examples = depth(quick=8, full=20, deep=1000)
    profile = hypothesis_settings(max_examples=examples, stateful_step_count=20, deadline=None, database=None)
    run_state_machine_as_test(LedgerMachine, settings=profile)
