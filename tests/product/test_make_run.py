"""The supervisor with every real process; most tests share one installation."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import BASE_DIR
from tests.ops.conftest import Installation, alive, clean_env, wait_for

pytestmark = [pytest.mark.processes]

NAMES = {"redis", "demo_model", "web", "turn_worker", "graph_worker", "beat"}


def test_run_file_tells_programs_all_they_need(installation):
    run = installation.run()

    assert run["url"] == f"http://127.0.0.1:{installation.port}"
    assert run["email"] == "demo@flightdeck.local"
    assert run["model"] == {"name": "flightdeck-demo", "provider": "demo"}
    assert set(run["processes"]) == NAMES
    assert all(alive(pid) for pid in run["processes"].values())
    assert stat.S_IMODE(installation.run_file.stat().st_mode) == 0o600


def test_a_message_is_answered(installation):
    stream = installation.ask("hello")

    assert '"type":"text-delta"' in stream
    assert stream.rstrip().endswith("data: [DONE]")


def test_the_redis_password_is_in_no_command_line(installation):
    redis = installation.run()["processes"]["redis"]

    assert "requirepass" not in command_line(redis)
    assert not any("redis://" in command_line(pid) for pid in installation.run()["processes"].values())


def test_a_second_supervisor_is_refused(installation):
    second = supervise(installation.port, env=clean_env(installation.var))

    assert second.returncode == 1
    assert f"already runs in this checkout (process {installation.process.pid})" in second.stderr
    assert installation.run_file.exists()


def test_a_busy_port_is_named(installation, tmp_path):
    other = supervise(installation.port, env=clean_env(tmp_path))

    assert other.returncode == 1
    assert f"Port {installation.port} is in use by another program" in other.stderr
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize("port", ["70000", "http"])
def test_what_is_no_port_is_refused(port, tmp_path):
    refused = supervise(port, env=clean_env(tmp_path))

    assert refused.returncode == 1
    assert "PORT must be a number" in refused.stderr


@pytest.mark.parametrize("name", ["turn_worker", "web", "redis"])
def test_a_killed_process_is_started_again(installation, name):
    before = installation.run()["processes"]

    os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: installation.run()["processes"].get(name, before[name]) != before[name], "the new process")

    after = installation.run()["processes"]
    assert {other: pid for other, pid in after.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }
    assert "data: [DONE]" in installation.ask("hello again")


def test_killing_the_supervisor_leaves_nothing_the_next_start_is_unharmed_and_stopping_it_leaves_nothing(tmp_path):
    killed = Installation(tmp_path)
    first = killed.wait_ready()
    killed.process.kill()
    killed.process.wait()

    wait_for(lambda: not any(alive(pid) for pid in first["processes"].values()), "the end of all processes", 10)
    assert killed.run_file.exists()
    again = Installation(tmp_path)
    try:
        wait_for(lambda: not again.run_file.exists() or again.run() != first, "the old run.json to go")
        second = again.wait_ready()
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(40) == 0
    finally:
        again.stop()
    assert not again.run_file.exists()
    assert [name for name, pid in second["processes"].items() if alive(pid)] == []
    assert second["processes"].keys() == first["processes"].keys()
    assert (second["password"], second["token"]) == (first["password"], first["token"])


def test_a_wrong_setting_is_one_clear_line(tmp_path):
    refused = supervise(1234, env=clean_env(tmp_path, LEASE_SECONDS="soon"))

    assert refused.returncode == 1
    assert refused.stderr == "Flightdeck can't start: LEASE_SECONDS must be a number of seconds above 0.\n"


def supervise(port: int | str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a supervisor that is expected to end by itself."""
    command = [sys.executable, "manage.py", "supervise", "--port", str(port)]
    return subprocess.run(command, cwd=BASE_DIR, env=env, capture_output=True, text=True, timeout=30, check=False)


def command_line(pid: int) -> str:
    """Return what `ps` would show of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text()
