"""Blocks that tell the time, and one that lets it pass."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field

from apps.library.blocks.base import Block, BlockContext, Category, Pins
from apps.library.errors import BlockError

MAX_FORMAT_CHARS: Final = 200
MAX_COUNTDOWN: Final = datetime.timedelta(days=7)


class ZonePins(Pins):
    """Where the time is told for."""

    timezone: str = Field(default="UTC", description="An IANA time zone.")
    use_user_timezone: bool = Field(default=False, description="Whether the person's own time zone counts instead.")

    def now(self, context: BlockContext) -> datetime.datetime:
        """Return the present moment there.

        Raises:
            BlockError: There is no such time zone.
        """
        name = context.time_zone if self.use_user_timezone else self.timezone
        try:
            return datetime.datetime.now(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BlockError(f"There is no time zone “{name[:100]}”.") from None


class StrftimePins(ZonePins):
    """A format in the manner of `strftime`."""

    discriminator: Literal["strftime"] = "strftime"
    format: str = Field(max_length=MAX_FORMAT_CHARS, description="A format such as %Y-%m-%d %H:%M:%S.")

    def text(self, moment: datetime.datetime) -> str:
        """Return a moment in the format; signs that stand for nothing are left as they are."""
        return moment.strftime(self.format)


class StrftimeTime(StrftimePins):
    """A format of the time."""

    format: str = Field(default="%H:%M:%S", max_length=MAX_FORMAT_CHARS, description="A format such as %H:%M:%S.")


class StrftimeDate(StrftimePins):
    """A format of the date."""

    format: str = Field(default="%Y-%m-%d", max_length=MAX_FORMAT_CHARS, description="A format such as %Y-%m-%d.")


class StrftimeDateTime(StrftimePins):
    """A format of date and time."""

    format: str = Field(
        default="%Y-%m-%d %H:%M:%S", max_length=MAX_FORMAT_CHARS, description="A format such as %Y-%m-%d %H:%M:%S."
    )


class ISODate(ZonePins):
    """ISO 8601 for dates."""

    discriminator: Literal["iso8601"]


class ISOTime(ISODate):
    """ISO 8601 for times."""

    include_microseconds: bool = Field(default=False, description="Whether parts of a second are told.")

    @property
    def precision(self) -> str:
        """Return what `isoformat` calls it."""
        return "microseconds" if self.include_microseconds else "seconds"


def _with_kind(value: Any) -> Any:
    """Say which format is meant where a foreign file doesn't."""
    return {"discriminator": "strftime", **value} if isinstance(value, dict) else value


_WITH_KIND: Final = BeforeValidator(_with_kind)
_KIND: Final = Field(discriminator="discriminator")
TimeFormat = Annotated[Annotated[StrftimeTime | ISOTime, _KIND], _WITH_KIND]
DateFormat = Annotated[Annotated[StrftimeDate | ISODate, _KIND], _WITH_KIND]
DateTimeFormat = Annotated[Annotated[StrftimeDateTime | ISOTime, _KIND], _WITH_KIND]


class GetCurrentTime(Block["GetCurrentTime.Input"]):
    """Tells the time."""

    id = "a892b8d9-3e4e-4e9c-9c1e-75f8efcf1bfa"
    name = "Get Current Time"
    description = "Tells the time of day."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        trigger: str = Field(description="Anything: the time is told when it comes.")
        format_type: TimeFormat = Field(default=StrftimeTime(), description="How it is told.")

    class Output(Pins):
        """Its output pins."""

        time: str = Field(description="The time.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Tell it.

        Raises:
            BlockError: There is no such time zone.
        """
        how = inputs.format_type
        moment = how.now(context)
        if isinstance(how, ISOTime):
            # Of the whole moment: a time of day by itself doesn't know its offset from UTC.
            yield "time", "T" + moment.isoformat(timespec=how.precision).partition("T")[2]
        else:
            yield "time", how.text(moment)


class GetCurrentDate(Block["GetCurrentDate.Input"]):
    """Tells the date."""

    id = "b29c1b50-5d0e-4d9f-8f9d-1b0e6fcbf0b1"
    name = "Get Current Date"
    description = "Tells today's date, or that of some days before or after."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        trigger: str = Field(description="Anything: the date is told when it comes.")
        offset: int | str = Field(default=0, description="How many days before today; -1 for tomorrow.")
        format_type: DateFormat = Field(default=StrftimeDate(), description="How it is told.")

    class Output(Pins):
        """Its output pins."""

        date: str = Field(description="The date.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Tell it.

        Raises:
            BlockError: Time zone or offset are wrong.
        """
        how = inputs.format_type
        try:
            moment = how.now(context) - datetime.timedelta(days=whole(inputs.offset, "offset"))
        except OverflowError:
            raise BlockError("That day is beyond the calendar.") from None
        yield "date", moment.date().isoformat() if isinstance(how, ISODate) else how.text(moment)


class GetCurrentDateAndTime(Block["GetCurrentDateAndTime.Input"]):
    """Tells date and time."""

    id = "716a67b3-6760-42e7-86dc-18645c6e00fc"
    name = "Get Current Date And Time"
    description = "Tells the date and the time of day."
    categories = frozenset({Category.TEXT})
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        trigger: str = Field(description="Anything: the time is told when it comes.")
        format_type: DateTimeFormat = Field(default=StrftimeDateTime(), description="How it is told.")

    class Output(Pins):
        """Its output pins."""

        date_time: str = Field(description="Date and time.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Tell it.

        Raises:
            BlockError: There is no such time zone.
        """
        how = inputs.format_type
        moment = how.now(context)
        yield "date_time", moment.isoformat(timespec=how.precision) if isinstance(how, ISOTime) else how.text(moment)


class CountdownTimer(Block["CountdownTimer.Input"]):
    """Lets time pass."""

    id = "d67a9c52-5e4e-11e2-bcfd-0800200c9a71"
    name = "Countdown Timer"
    description = "Waits, and then puts a message out; on demand again and again. At most seven days in all."
    categories = frozenset({Category.TEXT})
    timeout_seconds = None
    is_idempotent = True

    class Input(Pins):
        """Its input pins."""

        input_message: Any = Field(default="timer finished", description="What is put out when the time is over.")
        seconds: int | str = Field(default=0, description="Seconds to wait.")
        minutes: int | str = Field(default=0, description="Minutes to wait besides.")
        hours: int | str = Field(default=0, description="Hours to wait besides.")
        days: int | str = Field(default=0, description="Days to wait besides.")
        repeat: int = Field(default=1, ge=1, le=1000, description="How often.")

    class Output(Pins):
        """Its output pins."""

        output_message: Any = Field(description="The message, once for each time.")

    async def run(self, inputs: Input, context: BlockContext) -> AsyncGenerator[tuple[str, Any]]:
        """Wait and put it out.

        Raises:
            BlockError: The time is negative or too long.
        """
        units = ("seconds", "minutes", "hours", "days")
        try:
            each = datetime.timedelta(**{unit: whole(getattr(inputs, unit), unit) for unit in units})
            total = each * inputs.repeat
        except OverflowError:
            raise BlockError("The timer may run seven days at most.") from None
        if each < datetime.timedelta():
            raise BlockError("Time doesn't run backwards.")
        if total > MAX_COUNTDOWN:
            raise BlockError("The timer may run seven days at most.")
        for _ in range(inputs.repeat):
            await asyncio.sleep(0 if context.is_dry_run else each.total_seconds())
            yield "output_message", inputs.input_message


def whole(value: int | str, pin: str) -> int:
    """Return a whole number that may have come as text; an empty one is 0.

    Raises:
        BlockError: It isn't one.
    """
    try:
        return int(value or 0)
    except ValueError:
        raise BlockError(f"“{pin}” must be a whole number.") from None
