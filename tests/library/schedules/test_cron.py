"""When expressions are due, in any zone, through every change of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.library.schedules import cron
from apps.library.schedules.errors import ScheduleInvalid
from tests.depth import depth

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def walls(expression, zone, after, count):
    """Return the next times as the clock on the wall shows them, with the offset."""
    found = cron.upcoming(expression, zone, after, count)
    return [moment.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for moment in found]


def noon(zone, year, month, day):
    return datetime(year, month, day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC)


# Daylight saving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "expression", "due"),
    [
        # Spring: a named time that doesn't exist is due when the gap ends; later ones keep their time on the wall.
        ("Europe/Berlin", (2026, 3, 28), "30 2 * * *", ["03-29 03:00 +0200", "03-30 02:30 +0200"]),
        ("Europe/Berlin", (2026, 3, 28), "0 9 * * *", ["03-29 09:00 +0200", "03-30 09:00 +0200"]),
        ("America/New_York", (2026, 3, 7), "30 2 * * *", ["03-08 03:00 -0400", "03-09 02:30 -0400"]),
        ("Australia/Lord_Howe", (2026, 10, 3), "15 2 * * *", ["10-04 02:30 +1100", "10-05 02:15 +1100"]),
        # A clock that jumps at midnight.
        ("Africa/Cairo", (2026, 4, 23), "0 0 * * *", ["04-24 01:00 +0300", "04-25 00:00 +0300"]),
        # Autumn: a named time that comes twice is due the first time only.
        ("Europe/Berlin", (2026, 10, 24), "30 2 * * *", ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
        ("America/New_York", (2026, 10, 31), "30 1 * * *", ["11-01 01:30 -0400", "11-02 01:30 -0500"]),
        ("Australia/Lord_Howe", (2026, 4, 4), "45 1 * * *", ["04-05 01:45 +1100", "04-06 01:45 +1030"]),
        # What is due every so often follows the clock: it passes over the gap, and goes on through the second showing.
        (
            "Europe/Berlin",
            (2026, 3, 28),
            "*/30 2,3 29 3 *",
            ["03-29 03:00 +0200", "03-29 03:30 +0200"],
        ),
        (
            "Europe/Berlin",
            (2026, 10, 24),
            "*/30 2 25 10 *",
            ["10-25 02:00 +0200", "10-25 02:30 +0200", "10-25 02:00 +0100", "10-25 02:30 +0100"],
        ),
        (
            "Australia/Lord_Howe",
            (2026, 10, 3),
            "*/15 5 4 10 *",
            ["10-04 05:00 +1100", "10-04 05:15 +1100", "10-04 05:30 +1100", "10-04 05:45 +1100"],
        ),
    ],
)
def test_the_clock_on_the_wall_counts(zone, day, expression, due):
    assert walls(expression, zone, noon(zone, *day), len(due)) == due


def test_within_a_repeated_hour_time_only_goes_forward():
    zone = "Europe/Berlin"
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    assert walls("50 2 * * *", zone, second, 1) == ["10-26 02:50 +0100"]
    assert walls("*/50 2 * * *", zone, second, 1) == ["10-25 02:50 +0100"]


# Against a model --------------------------------------------------------------------------------------------------

ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana", "Asia/Kolkata",
    "Asia/Kathmandu", "Pacific/Chatham", "Antarctica/Troll", "America/Sao_Paulo", "Africa/Casablanca", "UTC",
)  # fmt: skip


@st.composite
def expressions(draw):
    """Draw an expression beside the sets of minutes, hours and days of the week that it stands for."""
    step = draw(st.sampled_from([0, 0, 1, 5, 7, 20, 30, 45]))
    named = draw(st.sets(st.integers(0, 59), min_size=1, max_size=3))
    minutes = set(range(0, 60, step)) if step else named
    minute = f"*/{step}" if step else ",".join(map(str, sorted(named)))
    hours = draw(st.one_of(st.none(), st.sets(st.integers(0, 5), min_size=1, max_size=3)))
    hour = "*" if hours is None else ",".join(map(str, sorted(hours)))
    days = draw(st.one_of(st.none(), st.sets(st.integers(0, 6), min_size=3, max_size=6)))
    day = "*" if days is None else ",".join(map(str, sorted(days)))
    expression = f"{minute} {hour} * * {day}"
    names_times = not minute.startswith("*") and hours is not None
    return expression, minutes, hours or set(range(24)), days or set(range(7)), names_times


def modelled(facts, zone, first, last):
    """Look at the clock every minute and tell what is due: the meaning of an expression, without any cleverness."""
    _, minutes, hours, days, names_times = facts
    tz = ZoneInfo(zone)

    def fits(wall):
        return wall.minute in minutes and wall.hour in hours and wall.isoweekday() % 7 in days

    due, shown = [], None
    moment = first - timedelta(days=1)
    while moment <= last:
        wall = moment.astimezone(tz).replace(tzinfo=None, fold=0)
        if not names_times:
            is_due = fits(wall)
        elif shown is None:
            is_due, shown = fits(wall), wall
        else:
            # Every minute of the wall that is new since the last look; a clock that is turned back shows none.
            new = int((wall - shown) / MINUTE)
            is_due = any(fits(shown + number * MINUTE) for number in range(1, new + 1))
            shown = max(shown, wall)
        if is_due and first < moment:
            due.append(moment)
        moment += MINUTE
    return due


def transitions(zone, year):
    """Return when a zone's clock is moved in a year; any day when it isn't."""
    tz = ZoneInfo(zone)
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(366 * 24)]
    offsets = [hour.astimezone(tz).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]] or [hours[4000]]


MOVED = {zone: [moment for year in (2026, 2027) for moment in transitions(zone, year)] for zone in ZONES}


@given(facts=expressions(), zone=st.sampled_from(ZONES), which=st.integers(0, 9), minutes=st.integers(-1500, 600))
def test_it_is_due_exactly_when_the_clock_says_so(facts, zone, which, minutes):
    first = MOVED[zone][which % len(MOVED[zone])] + minutes * MINUTE
    last = first + timedelta(hours=30)

    due = modelled(facts, zone, first, last)

    found = []
    for moment in cron.moments(facts[0], zone, first):
        if moment > last:
            break
        found.append(moment)
    assert found == due
    assert cron.latest_between(facts[0], zone, first + MINUTE, last) == (due[-1] if due else None)


@pytest.mark.long
@given(
    text=st.one_of(
        st.text(max_size=30),
        st.lists(st.text(alphabet="0123456789*/,-#LWMONsunjan", min_size=1, max_size=6), min_size=5, max_size=5).map(
            " ".join
        ),
    )
)
@hypothesis_settings(max_examples=depth(quick=60, full=500, deep=3000))
def test_whatever_is_typed_is_taken_or_refused_clearly(text):
    try:
        tidy = cron.check(text, "Europe/Berlin", NOW)
    except ScheduleInvalid as refusal:
        told = refusal.body()
    else:
        told = None
    if told is not None:
        assert [len(said) > 10 for said in told["cron"]] == [True]
    else:
        assert cron.next_after(tidy, "Europe/Berlin", NOW) > NOW
        assert cron.words(tidy)


# What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 9 * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "Bad minute"),
        ("0 24 * * *", "Bad hour"),
        ("0 0 * * MON-SUN", "Bad day-of-week"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("0 0 */29 2 MON#5", "never run"),
        ("*/30 2 * 3 SUN#2", "never run"),  # an hour that this zone's clock jumps over every year
    ],
)
def test_bad_ones_and_ones_that_never_come_are_refused(expression, says):
    with pytest.raises(ScheduleInvalid, match=says):
        cron.check(expression, "America/New_York", NOW)


def test_an_unknown_zone_is_refused():
    assert cron.check_zone("Europe/Berlin") == "Europe/Berlin"
    for name in ("", "Mars/Olympus", "../../etc/passwd", "europe/berlin\x00"):
        with pytest.raises(ScheduleInvalid, match="IANA"):
            cron.check_zone(name)


def test_spaces_are_tidied():
    assert cron.check("  0 9  * *\tMON ", "UTC", NOW) == "0 9 * * MON"


def test_a_day_that_is_rare_is_found():
    assert cron.next_after("0 0 29 2 *", "UTC", NOW) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 9 * * 1-5", "At 09:00, Monday through Friday"),
        ("*/5 * * * *", "Every 5 minutes"),
        ("0 18 LW * *", "At 18:00, on the last weekday of the month"),
        ("0 9 1 * 1", "At 09:00, on day 1 of the month, or on Monday"),
    ],
)
def test_expressions_in_words(expression, said):
    assert cron.words(expression) == said
