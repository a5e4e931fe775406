"""Spend limits: what is booked, when windows roll over, who is refused, and what people see of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from apps.accounts.models import LiveSetting
from apps.accounts.queries import live_setting
from apps.accounts.services import set_tier
from apps.chat.errors import SpendLimitReached
from apps.chat.models import Session, Turn
from apps.chat.usage import windows
from apps.chat.usage.limits import check_spend, limits_of, percent, usage_of
from apps.chat.usage.models import CostEntry, UsageOverride, UsageWindow
from apps.engines.base import Usage
from apps.engines.catalog import ModelFacts
from apps.engines.cost import parse_usage
from apps.runtime.errors import Invalid, NotFound
from config.api import error_status
from tests.billing.crowds import at_once
from tests.chat.usage_tools import NOON, pay, window

pytestmark = pytest.mark.django_db

PRICED = ModelFacts(input_price=3.0, output_price=15.0, cache_write_5m_price=3.75, cache_read_price=0.3)
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
TODAY = datetime(2026, 11, 18, tzinfo=UTC)


def refusal(person, now=NOON):
    """Return the window that refuses a person, or None."""
    try:
        check_spend(person.user.pk, now=now)
    except SpendLimitReached as error:
        return error.fields["window"]
    return None


def percents(person, now=NOON):
    shown = usage_of(person.user.pk, now=now)
    return tuple(shown[kind] and shown[kind]["percent_used"] for kind in ("daily", "weekly"))


# Booking --------------------------------------------------------------------------------------------------------


def test_the_providers_cost_counts_and_the_price_table_does_not(owner):
    used = Usage(prompt_tokens=1000, completion_tokens=100, cost_microdollars=77)

    assert pay(owner, None, NOON, usage=used, facts=PRICED) == 77

    entry = CostEntry.objects.get()
    assert (entry.microdollars, entry.is_estimated, entry.is_unpriced) == (77, False, False)
    assert (entry.provider, entry.model, entry.prompt_tokens, entry.completion_tokens) == ("demo", "demo", 1000, 100)
    assert entry.created_at == NOON
    assert window(owner, "daily", TODAY) == window(owner, "weekly", MONDAY) == (77, 0, 0)


def test_without_a_cost_the_price_table_counts_and_says_so(owner):
    used = Usage(prompt_tokens=100, completion_tokens=10, cache_write_tokens=4, cache_read_tokens=1000)

    assert pay(owner, None, NOON, usage=used, facts=PRICED) == 300 + 150 + 15 + 300

    entry = CostEntry.objects.get()
    assert (entry.microdollars, entry.is_estimated, entry.is_unpriced) == (765, True, False)
    assert (entry.cache_write_tokens, entry.cache_read_tokens) == (4, 1000)


def test_a_cost_of_nothing_is_a_cost(owner):
    assert pay(owner, 0, NOON, usage=Usage(prompt_tokens=9, cost_microdollars=0), facts=PRICED) == 0
    entry = CostEntry.objects.get()
    assert (entry.microdollars, entry.is_estimated, entry.is_unpriced) == (0, False, False)


def test_a_call_that_nobody_can_price_is_kept_uncharged_and_logged_once_a_turn(owner):
    session = Session.objects.create(user=owner.user)
    turns = [Turn.objects.create(session=session, status="completed") for _ in range(2)]
    with structlog.testing.capture_logs() as logs:
        for turn in (turns[0], turns[0], turns[1]):
            assert pay(owner, None, NOON, usage=Usage(prompt_tokens=9), session=session, turn=turn) == 0

    assert [(line["log_level"], line["turn_id"]) for line in logs] == [
        ("warning", str(turns[0].pk)),
        ("warning", str(turns[1].pk)),
    ]
    assert list(CostEntry.objects.values_list("microdollars", "is_unpriced", "prompt_tokens")) == [(0, True, 9)] * 3
    assert not UsageWindow.objects.exists()


@pytest.mark.parametrize(
    "cost", [None, "0.5", "", "NaN", float("nan"), float("inf"), float("-inf"), -0.01, True, [], {}, 1e300]
)
def test_a_cost_that_is_none_is_logged_as_an_error_and_ignored(owner, caplog, cost):
    used = parse_usage({"prompt_tokens": 100, "completion_tokens": 10, "cost": cost})

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert pay(owner, None, NOON, usage=used, facts=PRICED) == 450
    assert CostEntry.objects.get().is_estimated
    assert window(owner, "daily", TODAY) == (450, 0, 0)


def test_cost_entries_outlive_their_session(owner):
    session = Session.objects.create(user=owner.user)
    pay(owner, 5, NOON, session=session, turn=Turn.objects.create(session=session))

    session.delete()

    entry = CostEntry.objects.get()
    assert (entry.session_id, entry.turn_id, entry.microdollars) == (None, None, 5)


def test_a_rolled_back_booking_leaves_neither_entry_nor_window(owner, monkeypatch):
    def break_off(*args):
        raise RuntimeError

    monkeypatch.setattr(windows, "add", break_off)
    with pytest.raises(RuntimeError):
        pay(owner, 5, NOON)
    assert not CostEntry.objects.exists()
    assert not UsageWindow.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_100_bookings_at_once_all_count(owner, teammate):
    def many(number):
        for step in range(10):
            pay(owner if number % 5 else teammate, 1 + number * 10 + step, NOON)

    outcomes = at_once([partial(many, number) for number in range(10)])

    assert outcomes == [None] * 10
    assert CostEntry.objects.count() == 100
    spent = {
        person.user.pk: sum(CostEntry.objects.filter(user=person.user).values_list("microdollars", flat=True))
        for person in (owner, teammate)
    }
    assert sum(spent.values()) == sum(range(1, 101))
    for person in (owner, teammate):
        expected = (spent[person.user.pk], 0, 0)
        assert window(person, "daily", TODAY) == window(person, "weekly", MONDAY) == expected
    assert UsageWindow.objects.count() == 4


# Windows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "day", "week"),
    [
        ("2026-11-18T00:00:00+00:00", "2026-11-18", "2026-11-16"),
        ("2026-11-17T23:59:59.999999+00:00", "2026-11-17", "2026-11-16"),
        ("2026-11-16T00:00:00+00:00", "2026-11-16", "2026-11-16"),
        ("2026-11-15T23:59:59.999999+00:00", "2026-11-15", "2026-11-09"),
        ("2026-11-18T02:30:00+05:00", "2026-11-17", "2026-11-16"),  # another zone's day is not the window's
        ("2026-11-15T20:00:00-05:00", "2026-11-16", "2026-11-16"),
        ("2027-01-01T12:00:00+00:00", "2027-01-01", "2026-12-28"),
    ],
)
def test_windows_begin_at_utc_midnight_and_on_monday(moment, day, week):
    now = datetime.fromisoformat(moment)
    starts = [windows.window_start(kind, now) for kind in ("daily", "weekly")]
    assert [f"{start:%Y-%m-%d}" for start in starts] == [day, week]
    assert all(start.tzinfo is UTC and start.time() == datetime.min.time() for start in starts)
    assert windows.resets_at("daily", now) - starts[0] == timedelta(days=1)
    assert windows.resets_at("weekly", now) - starts[1] == timedelta(days=7)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_moment_lies_in_its_windows(moment):
    for kind in windows.KINDS:
        assert windows.window_start(kind, moment) <= moment < windows.resets_at(kind, moment)
        assert windows.window_start(kind, windows.resets_at(kind, moment)) == windows.resets_at(kind, moment)


def test_the_day_rolls_over_at_midnight_and_the_week_goes_on(owner):
    midnight = TODAY + timedelta(days=1)
    pay(owner, 1_000_000, midnight - timedelta(microseconds=1))

    assert refusal(owner, midnight - timedelta(microseconds=1)) == "daily"
    assert refusal(owner, midnight) is None
    assert percents(owner, midnight) == (0.0, 20.0)


def test_the_week_rolls_over_on_monday(owner):
    sunday, monday = MONDAY + timedelta(days=7, microseconds=-1), MONDAY + timedelta(days=7)
    pay(owner, 5_000_000, sunday)

    assert refusal(owner, sunday) == "weekly"
    assert refusal(owner, monday) is None
    assert percents(owner, monday) == (0.0, 0.0)


# Limits ---------------------------------------------------------------------------------------------------------


def test_a_limit_refuses_from_its_very_microdollar(owner):
    pay(owner, 999_999, NOON)
    assert refusal(owner) is None
    pay(owner, 1, NOON)
    assert refusal(owner) == "daily"


def test_a_refusal_says_which_window_and_when_it_ends_and_no_money(owner):
    pay(owner, 1_234_567, NOON)
    with pytest.raises(SpendLimitReached) as caught:
        check_spend(owner.user.pk, now=NOON)
    assert error_status(caught.value) == 429
    assert caught.value.body() == {
        "detail": "You have reached your usage limit.",
        "code": "rate_limited",
        "window": "daily",
        "resets_at": "2026-11-19T00:00:00+00:00",
    }


def test_of_two_reached_limits_the_longer_one_is_named(owner):
    pay(owner, 5_000_000, NOON)
    with pytest.raises(SpendLimitReached) as caught:
        check_spend(owner.user.pk, now=NOON)
    assert caught.value.fields == {"window": "weekly", "resets_at": "2026-11-23T00:00:00+00:00"}


@pytest.mark.parametrize(("tier", "factor"), [("FREE", 1), ("PRO", 5), ("BUSINESS", 20), ("ENTERPRISE", 60)])
def test_a_tier_multiplies_the_limits_at_once(owner, tier, factor):
    pay(owner, 1_000_000, NOON)
    assert refusal(owner) == "daily"

    set_tier(user_id=owner.user.pk, tier=tier)

    assert limits_of(owner.user.pk).microdollars == {"daily": 1_000_000 * factor, "weekly": 5_000_000 * factor}
    assert refusal(owner) == ("daily" if factor == 1 else None)
    assert usage_of(owner.user.pk, now=NOON)["tier"] == tier
    pay(owner, 1_000_000 * (factor - 1), NOON)
    assert refusal(owner) == "daily"


def test_an_unknown_tier_or_person_is_refused(owner, teammate):
    with pytest.raises(Invalid):
        set_tier(user_id=owner.user.pk, tier="GOLD")
    gone = teammate.user.pk
    teammate.user.delete()
    with pytest.raises(NotFound):
        set_tier(user_id=gone, tier="PRO")
    with pytest.raises(NotFound):
        check_spend(gone)


def test_zero_is_unlimited(owner, settings):
    settings.CHAT_DAILY_LIMIT_MICRODOLLARS = 0
    pay(owner, 4_999_999, NOON)
    assert (refusal(owner), percents(owner)) == (None, (None, 99.9))
    settings.CHAT_WEEKLY_LIMIT_MICRODOLLARS = 0
    pay(owner, 10**12, NOON)
    assert (refusal(owner), percents(owner)) == (None, (None, None))


def test_a_live_limit_counts_at_once_for_everybody(owner):
    pay(owner, 500, NOON)
    row = LiveSetting.objects.create(key="CHAT_DAILY_LIMIT_MICRODOLLARS", value=500)
    assert refusal(owner) == "daily"
    LiveSetting.objects.filter(pk=row.pk).update(value=501)
    assert refusal(owner) is None
    LiveSetting.objects.filter(pk=row.pk).update(value=0)
    assert percents(owner) == (None, 0.0)
    row.delete()
    assert percents(owner) == (0.1, 0.0)


@pytest.mark.parametrize("bad", [-1, 1.5, "500", True, False, [], {"limit": 5}, ""])
def test_a_live_limit_that_is_no_whole_number_falls_back_to_the_settings(owner, bad):
    LiveSetting.objects.create(key="CHAT_DAILY_LIMIT_MICRODOLLARS", value=bad)
    assert limits_of(owner.user.pk).microdollars["daily"] == 1_000_000
    assert live_setting("CHAT_DAILY_LIMIT_MICRODOLLARS", 5) == bad
    assert live_setting("ANOTHER", 5) == 5


def test_a_persons_own_limit_wins_over_the_live_one(owner, teammate):
    LiveSetting.objects.create(key="CHAT_DAILY_LIMIT_MICRODOLLARS", value=500)
    own = UsageOverride.objects.create(user=owner.user, daily_limit_microdollars=7)
    assert limits_of(owner.user.pk).microdollars == {"daily": 7, "weekly": 5_000_000}
    assert limits_of(teammate.user.pk).microdollars == {"daily": 500, "weekly": 5_000_000}
    set_tier(user_id=owner.user.pk, tier="PRO")
    assert limits_of(owner.user.pk).microdollars["daily"] == 35
    UsageOverride.objects.filter(pk=own.pk).update(daily_limit_microdollars=0)
    assert percents(owner)[0] is None


@pytest.mark.parametrize(
    ("used", "limit", "shown"),
    [
        (0, 1000, 0.0),
        (1, 1000, 0.1),
        (333, 1000, 33.3),
        (4_999, 10_000, 50.0),
        (4_994, 10_000, 49.9),
        (4_995, 10_000, 50.0),
        (9_989, 10_000, 99.9),
        (9_999_999_999, 10_000_000_000, 99.9),
        (1000, 1000, 100.0),
        (10**15, 1, 100.0),
    ],
)
def test_percents_have_one_decimal(used, limit, shown):
    assert percent(used, limit) == shown


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_a_hundred_percent_is_reached_exactly_at_the_limit(used, limit):
    shown = percent(used, limit)
    assert (shown == 100.0) == (used >= limit)
    assert 0 <= shown <= 100
    assert round(shown, 1) == shown
    assert used >= limit or shown == 99.9 or abs(shown - 100 * used / limit) <= 0.05 + 1e-9
