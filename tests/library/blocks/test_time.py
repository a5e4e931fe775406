"""The time as it is told, and timers."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from apps.library.errors import BlockError
from tests.library.blocks.running import block, last, run

SLACK = timedelta(seconds=30)


def near(moment: datetime, now: datetime) -> bool:
    return abs(moment - now) < SLACK


async def told(kind: str, pin: str, **pins) -> str:
    facts = {"time_zone": pins.pop("own_zone")} if "own_zone" in pins else {}
    return (await last(kind, {"trigger": "go", **pins}, **facts))[pin]


async def test_date_and_time_in_utc():
    text = await told("GetCurrentDateAndTime", "date_time")
    assert near(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC), datetime.now(UTC))


async def test_the_zone_that_was_named_and_the_persons_own():
    now = datetime.now(UTC)
    for own, named in ((False, "Asia/Kolkata"), (True, "Pacific/Auckland")):
        how = {"discriminator": "iso8601", "timezone": "Asia/Kolkata", "use_user_timezone": own}
        text = await told("GetCurrentDateAndTime", "date_time", format_type=how, own_zone="Pacific/Auckland")
        moment = datetime.fromisoformat(text)
        assert near(moment, now)
        assert moment.utcoffset() == now.astimezone(ZoneInfo(named)).utcoffset()
        assert moment.microsecond == 0


async def test_microseconds_on_demand():
    how = {"discriminator": "iso8601", "include_microseconds": "true"}
    assert len(await told("GetCurrentDateAndTime", "date_time", format_type=how)) == len(
        "2026-01-01T00:00:00.000000+00:00"
    )


async def test_time_of_day():
    text = await told("GetCurrentTime", "time", format_type={"format": "%H.%M"})
    assert len(text) == 5
    assert text[2] == "."
    text = await told("GetCurrentTime", "time", format_type={"discriminator": "iso8601", "timezone": "Asia/Kolkata"})
    assert text.startswith("T")
    assert text.endswith("+05:30")


async def test_dates_before_and_after():
    today = datetime.now(UTC).date()
    assert await told("GetCurrentDate", "date") == today.isoformat()
    assert await told("GetCurrentDate", "date", offset="-1") == (today + timedelta(days=1)).isoformat()
    assert await told("GetCurrentDate", "date", offset=7) == (today - timedelta(days=7)).isoformat()
    iso = {"discriminator": "iso8601"}
    assert await told("GetCurrentDate", "date", offset="", format_type=iso) == today.isoformat()


async def test_a_pin_of_old_files_is_ignored():
    assert await told("GetCurrentDate", "date", format="%d") == datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    "zone", ["Nowhere/Land", "", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "ü" * 300]
)
async def test_an_unknown_zone_is_an_error(zone):
    for kind in ("GetCurrentTime", "GetCurrentDate", "GetCurrentDateAndTime"):
        with pytest.raises(BlockError, match="no time zone"):
            await run(kind, {"trigger": "", "format_type": {"discriminator": "iso8601", "timezone": zone}})


async def test_bad_formats_and_offsets_are_errors():
    assert await told("GetCurrentTime", "time", format_type={"format": "%!%"}) == "%!%"
    with pytest.raises(BlockError, match="whole number"):
        await run("GetCurrentDate", {"trigger": "", "offset": "tomorrow"})
    with pytest.raises(BlockError, match="calendar"):
        await run("GetCurrentDate", {"trigger": "", "offset": 10**9})
    with pytest.raises(BlockError, match="calendar"):
        await run("GetCurrentDate", {"trigger": "", "offset": 10**30})
    for pins in ({"trigger": "", "format_type": {"discriminator": "roman"}}, {"format_type": None}):
        with pytest.raises(ValidationError):
            block("GetCurrentDate").Input.model_validate(pins)
    with pytest.raises(ValidationError):
        block("GetCurrentTime").Input.model_validate({"trigger": "", "format_type": {"format": "%H" * 200}})


async def test_a_timer_waits_each_time():
    began = time.monotonic()
    outputs = await run("CountdownTimer", {"seconds": "1", "minutes": None, "repeat": 1})
    assert outputs == [("output_message", "timer finished")]
    assert time.monotonic() - began >= 0.99
    assert await run("CountdownTimer", {"input_message": {"a": 1}, "repeat": "3"}) == [("output_message", {"a": 1})] * 3


async def test_a_timer_of_a_dry_run_is_over_at_once():
    assert (
        await run("CountdownTimer", {"days": 3, "repeat": 2}, is_dry_run=True)
        == [("output_message", "timer finished")] * 2
    )


async def test_a_timer_can_be_stopped():
    running = asyncio.create_task(run("CountdownTimer", {"days": 7}))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        ({"seconds": -1}, "backwards"),
        ({"days": 8}, "seven days"),
        ({"days": 1, "repeat": 8}, "seven days"),
        ({"days": 10**30}, "seven days"),
        ({"hours": "soon"}, "whole number"),
    ],
)
async def test_impossible_timers_are_errors(pins, words):
    with pytest.raises(BlockError, match=words):
        await run("CountdownTimer", pins)


@pytest.mark.parametrize("repeat", [0, 1001, "often"])
def test_a_timer_repeats_within_bounds(repeat):
    with pytest.raises(ValidationError):
        block("CountdownTimer").Input.model_validate({"repeat": repeat})
