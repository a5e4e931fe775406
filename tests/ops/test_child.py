"""One kept process, with small programs in the place of the product's."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from config.supervision import child as child_module
from config.supervision.child import Child, Hopeless, Spec
from config.supervision.console import Console
from config.supervision.ready import READY_FD
from tests.ops.conftest import alive

SAY_READY = f"import os, time; os.write(int(os.environ['{READY_FD}']), b'ready'); "


class Kept:
    """A child, what it said and how often its pid changed."""

    def __init__(self, program: str, **spec) -> None:
        self.output = io.StringIO()
        self.console = Console(self.output)
        self.pids: list[int] = []
        self.child = Child(Spec(name="small", command=(sys.executable, "-c", program), **spec), self.console, self.note)

    def note(self) -> None:
        self.pids.append(self.child.pid)

    def text(self) -> str:
        self.console.close()
        return self.output.getvalue()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_DELAY_SECONDS", 0.02)
    monkeypatch.setattr(child_module, "LONGEST_DELAY_SECONDS", 0.05)


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_lines_carry_the_name_and_the_last_one_needs_no_end():
    kept = Kept(SAY_READY + "print('one\\ntwo'); print('thr', end='', flush=True); time.sleep(60)")
    kept.child.start()
    await kept.child.wait_ready()
    await until(lambda: "two" in kept.output.getvalue())
    await kept.child.stop()

    assert "small        | one\nsmall        | two\nsmall        | thr\n" in kept.text()


async def test_what_goes_in_is_read_from_standard_input():
    kept = Kept(SAY_READY + "import sys; print(sys.stdin.read()[::-1], flush=True); time.sleep(60)", input=b"abc")
    kept.child.start()
    await until(lambda: "cba" in kept.output.getvalue())
    await kept.child.stop()


async def test_a_process_that_can_not_start_is_given_up():
    kept = Kept("raise SystemExit(3)")
    kept.child.start()

    with pytest.raises(Hopeless, match=r"small can't start \(exit code 3\)"):
        await kept.child.wait_ready()
    assert len(kept.pids) == child_module.HOPELESS_STARTS


async def test_a_missing_program_is_given_up(tmp_path):
    kept = Kept("")
    kept.child.spec = Spec(name="small", command=(str(tmp_path / "nothing"),))
    kept.child.start()

    with pytest.raises(Hopeless):
        await kept.child.wait_ready()
    assert "No such file" in kept.text()


async def test_a_process_that_was_ready_once_is_started_for_ever():
    kept = Kept(SAY_READY + "time.sleep(0.02)")
    kept.child.start()
    await kept.child.wait_ready()
    await until(lambda: len(kept.pids) > child_module.HOPELESS_STARTS + 2)
    await kept.child.stop()

    assert "small ended (exit code 0); it is started again in 0.02 s" in kept.text()
    assert "in 0.05 s" in kept.text()  # the longest delay


async def test_a_probe_decides_about_readiness():
    asked = []

    async def probe() -> bool:
        asked.append(True)
        return len(asked) == 3

    kept = Kept("import time; time.sleep(60)", probe=probe)
    kept.child.start()
    await kept.child.wait_ready()
    await kept.child.stop()

    assert len(asked) == 3


async def test_one_that_will_not_stop_is_killed():
    kept = Kept(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SAY_READY + "time.sleep(60)",
        stop_seconds=0.2,
    )
    kept.child.start()
    await kept.child.wait_ready()
    pid = kept.pids[0]
    await kept.child.stop()

    assert not alive(pid)
    assert "small did not stop in 0.2 s: killed" in kept.text()


async def test_what_a_killed_process_had_started_ends_with_it():
    program = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); "
    kept = Kept(program + SAY_READY + "time.sleep(60)")
    kept.child.start()
    await kept.child.wait_ready()
    await until(lambda: kept.output.getvalue().count("\n"))
    grandchild = int(kept.output.getvalue().split("|")[1])
    os.kill(kept.pids[0], signal.SIGKILL)
    await until(lambda: not alive(grandchild))
    await kept.child.stop()

    assert "killed by SIGKILL" in kept.text()


async def test_stopping_before_the_start_has_finished_stops():
    kept = Kept("import time; time.sleep(60)")
    kept.child.start()
    await kept.child.stop()

    assert kept.child.pid is None
    assert not any(alive(pid) for pid in kept.pids)


def test_a_reader_that_has_gone_stops_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    console = Console(os.fdopen(writing, "w"))
    console.line("web", "nobody hears this")
    console.close()
    with suppress(BrokenPipeError):
        console._stream.close()


def test_a_reader_that_has_stopped_loses_lines_and_is_told_so(monkeypatch):
    monkeypatch.setattr("config.supervision.console.WAITING_LINES", 3)
    reading, writing = os.pipe()
    console = Console(os.fdopen(writing, "w"))
    for _ in range(10):
        console.line("web", "x" * 70_000)  # more than a pipe holds
    with os.fdopen(reading) as reader, ThreadPoolExecutor(1) as pool:
        everything = pool.submit(reader.read)
        console.close()
        console._stream.close()

    assert "lines left out: nobody read them" in everything.result()
