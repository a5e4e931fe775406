"""The paid reset: what it needs, what it takes, and that two at once pay once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.utils import timezone

from apps.accounts.models import LiveSetting
from apps.accounts.services import set_tier
from apps.billing.errors import InsufficientBalance
from apps.billing.models import CreditTransaction
from apps.billing.queries import balance_cents
from apps.billing.services import grant, spend
from apps.chat.errors import ResetInProgress, ResetLimitReached, ResetRefused
from apps.chat.usage import resets, windows
from apps.chat.usage.models import UsageWindow
from apps.chat.usage.reconcile import window_differences
from config.api import error_status
from tests.billing.crowds import at_once, check_ledger
from tests.chat.usage_tools import NOON, pay, window

pytestmark = pytest.mark.django_db

RESET = "/api/chat/usage/reset"
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
TODAY = datetime(2026, 11, 18, tzinfo=UTC)
LIMIT = 1_000_000


@pytest.fixture(autouse=True)
def for_sale(settings):
    settings.CHAT_USAGE_RESET_COST_CENTS = 200


def give(person, cents=1000):
    grant(user_id=person.user.pk, amount_cents=cents, key=f"{person.user.pk} {cents}")


def buy(person, now=NOON):
    return resets.buy_reset(user_id=person.user.pk, now=now)


def state(person):
    return window(person, "daily", TODAY), window(person, "weekly", MONDAY), balance_cents(person.user.pk)


def test_a_reset_takes_credits_clears_the_day_and_lowers_the_week(owner):
    give(owner)
    pay(owner, 700_000, NOON - timedelta(days=1))
    pay(owner, LIMIT + 250_000, NOON)

    reset = buy(owner)

    assert (reset.credits_charged, reset.remaining_balance) == (200, 800)
    assert reset.usage["daily"]["percent_used"] == 0.0
    assert reset.usage["weekly"]["percent_used"] == 19.0
    assert state(owner) == ((0, 1_250_000, 1), (950_000, LIMIT, 0), 800)
    line = CreditTransaction.objects.filter(type="USAGE").get()
    assert (line.amount_cents, line.key) == (-200, f"usage-reset:{owner.user.pk}:2026-11-18:1")
    assert window_differences(MONDAY) == []


def test_the_week_is_not_lowered_below_nothing(owner):
    give(owner)
    pay(owner, LIMIT, NOON)
    UsageWindow.objects.filter(user=owner.user, kind="weekly").update(used_microdollars=10, forgiven_microdollars=5)
    buy(owner)
    assert state(owner)[1] == (0, 15, 0)


def test_a_reset_works_where_the_week_is_unlimited(owner, settings):
    settings.CHAT_WEEKLY_LIMIT_MICRODOLLARS = 0
    give(owner)
    pay(owner, 10 * LIMIT, NOON)
    assert buy(owner).usage["weekly"] is None
    assert state(owner) == ((0, 10 * LIMIT, 1), (9 * LIMIT, LIMIT, 0), 800)


def test_the_week_is_lowered_by_the_daily_limit_of_the_tier(owner):
    give(owner)
    set_tier(user_id=owner.user.pk, tier="PRO")
    pay(owner, 6 * LIMIT, NOON)
    buy(owner)
    assert state(owner)[1] == (LIMIT, 5 * LIMIT, 0)


@pytest.mark.parametrize(
    ("cost", "daily", "used", "reason"),
    [
        (0, LIMIT, LIMIT, "Resets can't be bought here."),
        (200, 0, LIMIT, "You have no daily limit."),
        (200, LIMIT, LIMIT - 1, "You haven't reached your daily limit."),
        (200, LIMIT, 6 * LIMIT, "Your weekly limit would still be reached after a reset."),
    ],
)
def test_a_reset_that_is_not_for_sale_or_would_not_help_is_400_and_changes_nothing(
    owner, settings, cost, daily, used, reason
):
    settings.CHAT_USAGE_RESET_COST_CENTS = cost
    settings.CHAT_DAILY_LIMIT_MICRODOLLARS = daily
    give(owner)
    pay(owner, used, NOON)

    with pytest.raises(ResetRefused) as caught:
        buy(owner)

    assert (caught.value.detail, error_status(caught.value)) == (reason, 400)
    assert state(owner) == ((used, 0, 0), (used, 0, 0), 1000)


def test_somebody_who_used_nothing_has_nothing_to_reset(owner):
    give(owner)
    with pytest.raises(ResetRefused, match="haven't reached"):
        buy(owner)


def test_a_week_that_would_be_just_below_its_limit_may_be_reset(owner):
    give(owner)
    pay(owner, 6 * LIMIT - 1, NOON)
    buy(owner)
    assert state(owner)[1][0] == 5 * LIMIT - 1


def test_too_few_credits_are_402_and_change_nothing(owner):
    give(owner, 199)
    pay(owner, LIMIT, NOON)
    with pytest.raises(InsufficientBalance) as caught:
        buy(owner)
    assert error_status(caught.value) == 402
    assert state(owner) == ((LIMIT, 0, 0), (LIMIT, 0, 0), 199)


def test_a_day_allows_only_so_many_resets(owner, settings):
    settings.CHAT_MAX_DAILY_RESETS = 2
    give(owner)
    for _ in range(2):
        pay(owner, LIMIT, NOON)
        buy(owner)
    pay(owner, LIMIT, NOON)
    with pytest.raises(ResetLimitReached) as caught:
        buy(owner)
    assert error_status(caught.value) == 429
    assert balance_cents(owner.user.pk) == 600

    tomorrow = NOON + timedelta(days=1)
    pay(owner, LIMIT, tomorrow)
    assert buy(owner, tomorrow).remaining_balance == 400


def test_price_and_number_of_resets_may_be_set_live(owner):
    give(owner)
    pay(owner, LIMIT, NOON)
    LiveSetting.objects.create(key="CHAT_USAGE_RESET_COST_CENTS", value=50)
    assert buy(owner).credits_charged == 50
    pay(owner, LIMIT, NOON)
    LiveSetting.objects.create(key="CHAT_MAX_DAILY_RESETS", value=1)
    with pytest.raises(ResetLimitReached):
        buy(owner)


def test_an_operators_reset_does_not_count_as_bought(owner):
    give(owner)
    pay(owner, LIMIT, NOON)
    resets.clear(user_id=owner.user.pk, reset_weekly=False, operator_id=owner.user.pk, now=NOON)
    assert state(owner) == ((0, LIMIT, 0), (LIMIT, 0, 0), 1000)


@pytest.mark.django_db(transaction=True)
def test_eight_resets_at_once_pay_once(owner):
    give(owner)
    pay(owner, LIMIT, NOON)

    outcomes = at_once([partial(buy, owner)] * 8)

    won = [outcome for outcome in outcomes if isinstance(outcome, resets.Reset)]
    assert len(won) == 1, outcomes
    assert all(isinstance(outcome, resets.Reset | ResetInProgress | ResetRefused) for outcome in outcomes), outcomes
    assert state(owner) == ((0, LIMIT, 1), (0, LIMIT, 0), 800)


@pytest.mark.django_db(transaction=True)
def test_a_reset_whose_window_changed_meanwhile_is_429_and_pays_nothing(owner, monkeypatch):
    give(owner)
    pay(owner, LIMIT, NOON)
    refuse = resets._refuse_in_vain

    def somebody_is_faster(plan, used):
        refuse(plan, used)
        # What the other one committed between this one's reads and its write.
        UsageWindow.objects.filter(user=owner.user, kind="daily").update(used_microdollars=0)

    monkeypatch.setattr(resets, "_refuse_in_vain", somebody_is_faster)
    with pytest.raises(ResetInProgress) as caught:
        buy(owner)
    assert error_status(caught.value) == 429
    assert balance_cents(owner.user.pk) == 1000


def test_a_week_that_fills_up_meanwhile_is_not_sold(owner, monkeypatch):
    give(owner)
    pay(owner, 6 * LIMIT - 1, NOON)
    refuse = resets._refuse_in_vain

    def a_call_ends(plan, used):
        refuse(plan, used)
        pay(owner, 1, NOON)

    monkeypatch.setattr(resets, "_refuse_in_vain", a_call_ends)
    with pytest.raises(ResetRefused, match="weekly limit"):
        buy(owner)
    assert state(owner) == ((6 * LIMIT - 1, 0, 0), (6 * LIMIT - 1, 0, 0), 1000)


@pytest.mark.django_db(transaction=True)
def test_spenders_grants_bookings_and_resets_at_once_keep_every_book(owner):
    give(owner, 700)
    pay(owner, LIMIT, NOON)
    user_id = owner.user.pk

    def spender(number):
        done = 0
        for step in range(12):
            try:
                spend(user_id=user_id, amount_cents=9, key=f"spend {number} {step}")
                done += 1
            except InsufficientBalance:
                continue
        return done

    def giver(number):
        for step in range(6):
            grant(user_id=user_id, amount_cents=5, key=f"grant {number} {step}")
        return 0

    def resetter():
        bought = 0
        for _ in range(3):
            try:
                buy(owner)
                bought += 1
            except (ResetRefused, ResetInProgress, ResetLimitReached, InsufficientBalance):
                pay(owner, LIMIT // 2, NOON)
        return bought

    outcomes = at_once(
        [*(partial(spender, n) for n in range(8)), partial(giver, 0), partial(giver, 1), resetter, resetter]
    )

    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    lines = CreditTransaction.objects.filter(user_id=user_id)
    assert lines.filter(key__startswith="spend ").count() == sum(outcomes[:8])
    assert lines.filter(key__startswith="grant ").count() == 12
    bought = lines.filter(key__startswith="usage-reset:").count()
    assert bought == sum(outcomes[10:]) == window(owner, "daily", TODAY)[2]
    assert bought <= 5
    assert check_ledger(user_id) == balance_cents(user_id) >= 0
    assert window_differences(MONDAY) == []


# Over REST ------------------------------------------------------------------------------------------------------


def test_a_reset_over_rest_answers_what_it_took_and_how_things_stand(owner, teammate):
    give(owner)
    pay(owner, LIMIT)
    body = owner.client.post(RESET).json()
    assert set(body) == {"success", "credits_charged", "remaining_balance", "usage"}
    assert (body["success"], body["credits_charged"], body["remaining_balance"]) == (True, 200, 800)
    assert body["usage"] == owner.client.get("/api/chat/usage").json()
    assert body["usage"]["reset_cost"] == 200


def test_refused_resets_over_rest(owner, teammate, stranger, settings):
    assert stranger.client.post(RESET).status_code == 401
    answer = owner.client.post(RESET)
    assert (answer.status_code, answer.json()["code"]) == (400, "reset_refused")
    pay(owner, LIMIT)
    give(teammate)
    answer = owner.client.post(RESET)
    assert (answer.status_code, answer.json()["code"]) == (402, "insufficient_balance")
    settings.CHAT_MAX_DAILY_RESETS = 1
    start = windows.window_start("daily", timezone.now())
    UsageWindow.objects.filter(user=owner.user, kind="daily", starts_at=start).update(resets=1)
    answer = owner.client.post(RESET)
    assert (answer.status_code, answer.json()["code"]) == (429, "reset_limit_reached")
    midnight = (windows.resets_at("daily", timezone.now()) - timezone.now()).total_seconds()
    assert 0 <= int(answer.headers["Retry-After"]) - midnight < 30
    assert balance_cents(teammate.user.pk) == 1000
