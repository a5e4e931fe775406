"""When cron expressions are due. Pure: five fields, a zone, a moment.

cronsim finds the wall clock times that an expression names; which moments those are is decided here, as Debian's cron
does it. An expression that names times (its minute and its hour begin with no star) is due once for each of them: at
the end of the gap when the clock jumps over it, the first time when the clock shows it twice. Any other is due whenever
the clock shows a time that fits. cronsim's own handling of zones isn't used: after a shift of half an hour it misses
times, and within a repeated hour it goes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from heapq import heappop, heappush
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cron_descriptor import Exception as DescriptorError  # type: ignore[import-untyped]
from cron_descriptor import ExpressionDescriptor, Options
from cronsim import CronSim, CronSimError

from apps.library.schedules.errors import ScheduleInvalid

#: No clock is turned back by more than this.
LONGEST_REPEAT = timedelta(hours=3)
#: How far ahead is looked; longer than any calendar takes to come round to a day.
MOST_YEARS = 50
MINUTE = timedelta(minutes=1)
FIRST_LOOK_BACK = timedelta(hours=1)


@cache
def zone_names() -> frozenset[str]:
    """Return every IANA time zone name; looking for them reads many files."""
    return frozenset(available_timezones())


def check_zone(name: str) -> str:
    """Return a time zone's name.

    Raises:
        ScheduleInvalid: When there is none of that name.
    """
    if name not in zone_names():
        raise ScheduleInvalid("time_zone", "This is no time zone; give an IANA name, like Europe/Berlin.")
    return name


def check(expression: str, zone: str, now: datetime) -> str:
    """Return an expression with single spaces.

    Raises:
        ScheduleInvalid: When it can't be read, or is never due.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise ScheduleInvalid("cron", "Give five fields: minute, hour, day of the month, month, day of the week.")
    tidy = " ".join(fields)
    try:
        first = next_after(tidy, zone, now)
    except CronSimError as error:
        raise ScheduleInvalid("cron", f"This is no cron expression: {error}.") from error
    if first is None:
        raise ScheduleInvalid("cron", "No day fits this expression, so it would never run.")
    return tidy


def next_after(expression: str, zone: str, moment: datetime) -> datetime | None:
    """Return when a checked expression is due next after a moment, in UTC; None = never within fifty years."""
    return next(moments(expression, zone, moment), None)


def upcoming(expression: str, zone: str, moment: datetime, count: int) -> list[datetime]:
    """Return the next `count` times after a moment, in UTC."""
    return list(islice(moments(expression, zone, moment), count))


def latest_between(expression: str, zone: str, first: datetime, last: datetime) -> datetime | None:
    """Return the latest time from `first` to `last`, both included, in UTC; None for none.

    It is looked for backwards, in stretches that double, so that a long absence costs little.
    """
    stretch = FIRST_LOOK_BACK
    while True:
        start = max(first, last - stretch)
        found = None
        for moment in moments(expression, zone, start - timedelta(microseconds=1)):
            if moment > last:
                break
            found = moment
        if found is not None or start == first:
            return found
        stretch *= 2


def words(expression: str) -> str:
    """Return a checked expression in words; the expression itself when there are none for it."""
    options = Options(locale_code="en_US", use_24hour_time_format=True)
    try:
        return str(ExpressionDescriptor(expression, options))
    except (DescriptorError, ValueError, IndexError):
        return expression


def moments(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Yield every time of the fifty years after a moment, in UTC and in order."""
    tz = ZoneInfo(zone)
    minute, hour = expression.split()[:2]
    names_times = not minute.startswith("*") and not hour.startswith("*")
    last = after.astimezone(UTC)
    held: list[datetime] = []  # second showings of a time wait for the first showings of later ones
    for wall in CronSim(expression, _wall_before(after, tz)):
        if wall.year > last.year + MOST_YEARS:
            break
        found = _named(wall, tz) if names_times else _shown(wall, tz)
        while held and found and held[0] < found[0]:
            if (moment := heappop(held)) > last:
                yield (last := moment)
        for moment in found:
            heappush(held, moment)
    while held:
        if (moment := heappop(held)) > last:
            yield (last := moment)


def _wall_before(after: datetime, tz: ZoneInfo) -> datetime:
    """Return the wall clock time to begin at; an earlier one than the clock shows where it is turned back nearby."""
    wall = after.astimezone(tz).replace(tzinfo=None, fold=0)
    nearby = {(after + shift).astimezone(tz).utcoffset() for shift in (-LONGEST_REPEAT, timedelta(), LONGEST_REPEAT)}
    return wall if len(nearby) == 1 else wall - LONGEST_REPEAT


def _shown(wall: datetime, tz: ZoneInfo) -> list[datetime]:
    """Return the moments at which the clock shows a time: none, one or two."""
    both = {wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(moment for moment in both if moment.astimezone(tz).replace(tzinfo=None, fold=0) == wall)


def _named(wall: datetime, tz: ZoneInfo) -> list[datetime]:
    """Return the moment that a named time stands for."""
    while not (found := _shown(wall, tz)):
        wall += MINUTE
    return found[:1]
