"""How chunks become entries of the log: ids without holes, and deltas that come close together as one."""

from __future__ import annotations

import asyncio

from apps.chat.stream import chunks as c
from apps.chat.stream.publisher import Publisher
from config.settings import base

WINDOW = 0.05


class Written:
    """A log that keeps what it is given, and when."""

    def __init__(self):
        self.entries = []

    def append(self, entry):
        self.entries.append(entry)
        return True

    @property
    def deltas(self):
        decoded = [c.decode(entry.data) for entry in self.entries]
        return [getattr(chunk, "delta", None) or getattr(chunk, "input_text_delta", "") for chunk in decoded]


def publisher():
    log = Written()
    speaks = Publisher(log, attempt=2, window_seconds=WINDOW)  # type: ignore[arg-type]
    speaks.begin(3)
    return speaks, log


def text(delta, block="t"):
    return c.TextDelta(id=block, delta=delta)


def test_the_window_is_25_milliseconds():
    assert base.CHAT_DELTA_WINDOW_SECONDS == 0.025


async def test_the_first_delta_of_a_block_goes_at_once_and_those_after_it_as_one():
    speaks, log = publisher()
    for delta in "abcd":
        speaks.emit(text(delta))
    assert log.deltas == ["a"]
    await asyncio.sleep(3 * WINDOW)
    assert log.deltas == ["a", "bcd"]
    speaks.emit(text("e"))
    speaks.emit(text("f"))
    await asyncio.sleep(3 * WINDOW)
    assert log.deltas == ["a", "bcd", "ef"]


async def test_every_other_chunk_goes_at_once_after_what_was_held():
    speaks, log = publisher()
    for delta in "ab":
        speaks.emit(text(delta))
    speaks.emit(c.TextEnd(id="t"))
    speaks.emit(c.TextStart(id="u"))
    for delta in "cd":
        speaks.emit(text(delta, "u"))
    speaks.emit(c.ToolInputDelta(tool_call_id="k", input_text_delta="{"))
    speaks.emit(c.ToolInputDelta(tool_call_id="k", input_text_delta="}"))
    speaks.emit(c.FinishStep())
    assert log.deltas == ["a", "b", "", "", "c", "d", "{", "}", ""]


async def test_blocks_are_never_mixed():
    speaks, log = publisher()
    for delta, block in (("a", "t"), ("b", "t"), ("c", "u"), ("d", "t"), ("e", "t")):
        speaks.emit(text(delta, block))
    speaks.emit(c.ReasoningDelta(id="r", delta="f"))
    speaks.flush()
    assert log.deltas == ["a", "b", "c", "d", "e", "f"]


async def test_ids_are_of_attempt_and_step_and_have_no_holes():
    speaks, log = publisher()
    for delta in "abc":
        speaks.emit(text(delta))
    planned = speaks.plan([c.FinishStep()])
    speaks.send(planned)
    speaks.begin(4)
    speaks.emit(c.StartStep())
    speaks.begin_end()
    speaks.emit(c.Finish())
    ids = [str(entry.id) for entry in log.entries]
    assert ids == ["2003-1", "2003-2", "2003-3", "2004-1", "999999999-1"]
    assert str(planned[0][0]) == "2003-3", "what is stored before it is sent knows its id"
