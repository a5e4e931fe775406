"""Child processes: what they return, and that every bad end of a call is an error and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from apps.runtime import children
from apps.runtime.children import (
    ChildAnswerTooLarge,
    ChildCrashed,
    ChildOutOfMemory,
    ChildRaised,
    ChildTimedOut,
    close_children,
    run_in_child,
)
from apps.runtime.loop import LoopThread, leave_loop, share_loop
from tests.runtime import child_work

#: Far above what any of it needs, and far below the suite's own limit.
SOON_SECONDS = 20.0


@pytest.fixture(autouse=True)
def no_children_left():
    yield
    close_children()


def is_there(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def until_busy() -> int:
    """Wait until a child is at work, and return its process id."""
    while True:
        for child in children._children._all:
            if not child.is_free:
                return child._process.pid
        await asyncio.sleep(0.01)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while is_there(pid):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "value", [None, 5, 1.5, "ü\n\0", [1, {"a": [True, None]}], {"bytes": "no"}, ["bytes", "aGk="], ["json", 1]]
)
async def test_json_goes_there_and_back(value):
    assert await run_in_child(child_work.echo, value, timeout_seconds=5) == value


async def test_bytes_go_there():
    assert await run_in_child(child_work.size, bytes(range(256)) * 20_000, timeout_seconds=10) == 5_120_000


async def test_an_idle_child_is_used_again():
    first = await run_in_child(child_work.pid, timeout_seconds=5)
    assert first != os.getpid()
    assert await run_in_child(child_work.pid, timeout_seconds=5) == first


async def test_a_catastrophic_pattern_is_ended_in_time():
    pid = await run_in_child(child_work.pid, timeout_seconds=5)
    began = time.monotonic()
    with pytest.raises(ChildTimedOut):
        await run_in_child(child_work.search, "(a+)+$", "a" * 60 + "b", timeout_seconds=0.5)
    assert 0.4 < time.monotonic() - began < SOON_SECONDS
    assert not is_there(pid)
    assert await run_in_child(child_work.search, "(a+)+$", "aaa", timeout_seconds=5) is True


async def test_an_endless_template_is_ended_in_time():
    with pytest.raises(ChildTimedOut):
        await run_in_child(child_work.endless_template, timeout_seconds=0.5)


async def test_the_loop_goes_on_meanwhile():
    call = asyncio.create_task(run_in_child(child_work.search, "(a+)+$", "a" * 60 + "b", timeout_seconds=1))
    turns = 0
    while not call.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 10
    with pytest.raises(ChildTimedOut):
        await call


async def test_a_memory_bomb_is_ended_and_its_child_replaced():
    pid = await run_in_child(child_work.pid, timeout_seconds=5)
    with pytest.raises(ChildOutOfMemory):
        await run_in_child(child_work.eat_memory, timeout_seconds=30)
    assert not is_there(pid)
    assert await run_in_child(child_work.pid, timeout_seconds=5) != pid


async def test_a_child_that_holds_much_memory_isnt_used_again():
    pid = await run_in_child(child_work.hold_memory, 200, timeout_seconds=30)
    assert not is_there(pid)
    small = await run_in_child(child_work.hold_memory, 1, timeout_seconds=30)
    assert await run_in_child(child_work.pid, timeout_seconds=5) == small


async def test_a_huge_answer_is_refused():
    with pytest.raises(ChildAnswerTooLarge):
        await run_in_child(child_work.huge_answer, timeout_seconds=30)


async def test_a_crash_is_an_error_and_the_next_call_works():
    with pytest.raises(ChildCrashed):
        await run_in_child(child_work.crash, timeout_seconds=5)
    assert await run_in_child(child_work.echo, "still here", timeout_seconds=5) == "still here"


async def test_an_idle_child_that_died_is_replaced():
    pid = await run_in_child(child_work.pid, timeout_seconds=5)
    os.kill(pid, 9)
    await asyncio.sleep(0.1)
    assert await run_in_child(child_work.pid, timeout_seconds=5) not in {pid, os.getpid()}


async def test_an_exception_comes_back_by_its_name():
    pid = await run_in_child(child_work.pid, timeout_seconds=5)
    with pytest.raises(ChildRaised) as caught:
        await run_in_child(child_work.fail, "not like this", timeout_seconds=5)
    assert (caught.value.kind, caught.value.detail) == ("ValueError", "not like this")
    assert await run_in_child(child_work.pid, timeout_seconds=5) == pid


async def test_deep_nesting_is_an_exception():
    with pytest.raises(ChildRaised) as caught:
        await run_in_child(child_work.nest, timeout_seconds=10)
    assert caught.value.kind == "RecursionError"


async def test_only_functions_of_a_module_are_called():
    with pytest.raises(TypeError):
        await run_in_child(lambda: 1, timeout_seconds=1)
    with pytest.raises(TypeError):
        await run_in_child(str.upper, "a", timeout_seconds=1)


async def test_twenty_calls_at_once_share_a_few_children():
    pids = await asyncio.gather(*(run_in_child(child_work.sleep, 0.02, timeout_seconds=10) for _ in range(20)))
    assert len(pids) == 20
    assert 1 <= len(set(pids)) <= children.CHILDREN


async def test_calls_that_time_out_dont_take_the_place_of_others():
    bad = [run_in_child(child_work.sleep, 60, timeout_seconds=0.3) for _ in range(6)]
    good = [run_in_child(child_work.echo, number, timeout_seconds=5) for number in range(6)]
    results = await asyncio.gather(*bad, *good, return_exceptions=True)
    assert all(isinstance(result, ChildTimedOut) for result in results[:6])
    assert results[6:] == list(range(6))


async def test_cancellation_leaves_no_child_behind():
    call = asyncio.create_task(run_in_child(child_work.sleep, 60, timeout_seconds=60))
    pid = await until_busy()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not is_there(pid)
    assert children._children._all == set()


async def test_cancellation_twice_leaves_no_child_behind():
    call = asyncio.create_task(run_in_child(child_work.sleep, 60, timeout_seconds=60))
    pid = await until_busy()
    for _ in range(3):
        call.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await call
    await until_gone(pid)


async def test_closing_ends_idle_and_busy_children():
    idle = await run_in_child(child_work.pid, timeout_seconds=5)
    calls = [asyncio.create_task(run_in_child(child_work.sleep, 60, timeout_seconds=60)) for _ in range(2)]
    await until_busy()
    close_children()
    assert not is_there(idle)
    async with asyncio.timeout(SOON_SECONDS):
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, ChildCrashed) for result in results)
    assert await run_in_child(child_work.echo, "again", timeout_seconds=5) == "again"


def test_children_end_with_the_last_part_that_lives_on_the_loop():
    thread = share_loop()
    assert share_loop() is thread
    child = thread.call(run_in_child(child_work.pid, timeout_seconds=5))
    leave_loop()
    assert is_there(child)
    leave_loop()
    assert not is_there(child)


async def test_a_child_knows_nothing_of_its_parent(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_KEY", "something to steal")
    close_children()
    found = await run_in_child(child_work.surroundings, str(tmp_path / "file"), timeout_seconds=5)
    assert "something to steal" not in found["environment"].values()
    assert set(found["environment"]) <= {"LD_LIBRARY_PATH", "LC_CTYPE"}
    # Its three standard descriptors, and the one that lists them.
    assert len(found["descriptors"]) <= 4
    assert found["django"] is False
    assert found["writes"] is False


def test_works_on_the_loop_of_a_worker():
    """uvloop, in a thread that isn't the main one."""
    thread = LoopThread("children")
    try:
        assert thread.call(run_in_child(child_work.echo, 1, timeout_seconds=5), 30) == 1
        with pytest.raises(ChildTimedOut):
            thread.call(run_in_child(child_work.sleep, 60, timeout_seconds=0.2), 30)

        async def cancelled() -> int:
            call = asyncio.create_task(run_in_child(child_work.sleep, 60, timeout_seconds=60))
            pid = await until_busy()
            call.cancel()
            await asyncio.wait([call])
            return pid

        assert not is_there(thread.call(cancelled(), 30))
    finally:
        thread.stop()


def run_program(source: str) -> str:
    """Run a program of its own in the product's folder; return what it says."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_works_in_a_daemonic_process_and_after_a_fork():
    """Processes of Celery's pool are daemonic: multiprocessing would refuse to start children there."""
    source = """
import asyncio, multiprocessing
from apps.runtime.children import run_in_child
from tests.runtime import child_work

def work(answers):
    answers.put(asyncio.run(run_in_child(child_work.pid, timeout_seconds=20)))

if __name__ == "__main__":
    mine = asyncio.run(run_in_child(child_work.pid, timeout_seconds=20))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=work, args=(answers,), daemon=True)
    process.start()
    theirs = answers.get(timeout=40)
    process.join(10)
    assert mine != theirs, "a forked process used its parent's child"
    assert mine == asyncio.run(run_in_child(child_work.pid, timeout_seconds=20)), "the parent lost its child"
    print("done")
"""
    assert run_program(source) == "done"


def test_children_end_when_their_parent_is_killed():
    """An idle one sees its socket closed, a busy one has an alarm set."""
    source = """
import asyncio, os, signal
from apps.runtime import children
from tests.runtime import child_work

async def main():
    await asyncio.gather(*(children.run_in_child(child_work.sleep, 0.5, timeout_seconds=20) for _ in range(2)))
    asyncio.create_task(children.run_in_child(child_work.sleep, 60, timeout_seconds=1))
    await asyncio.sleep(0.5)
    print(*(child._process.pid for child in children._children._all), flush=True)
    os._exit(0)

asyncio.run(main())
"""
    pids = [int(word) for word in run_program(source).split()]
    assert len(pids) == 2
    deadline = time.monotonic() + SOON_SECONDS
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process that isn't our child works; one that nobody has reaped doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
