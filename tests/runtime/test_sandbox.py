"""The sandbox: what runs in it reaches nothing, uses no more than it may, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import pytest_asyncio

from apps.runtime import sandbox, sandbox_folder
from apps.runtime.sandbox import SandboxUnavailable, make_workdir, remove_workdir, run_sandboxed
from tests.sandboxes import require_sandbox

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def needs_a_sandbox():
    require_sandbox()


@pytest_asyncio.fixture
async def workdir():
    made = make_workdir()
    yield made
    await remove_workdir(made)
    assert not made.exists()


def bash(script, **options):
    return run_sandboxed(["bash", "-c", script], **options)


def python(script, **options):
    return run_sandboxed(["python3", "-c", script], **options)


def processes_with(mark):
    """Return the ids of this machine's processes whose command line holds a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


async def gone(mark):
    deadline = time.monotonic() + 5
    while processes_with(mark):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


# What it does -----------------------------------------------------------------------------------------------------


async def test_a_program_runs_and_says_how_it_ended():
    result = await bash("cat; echo bad >&2; exit 7", stdin=b"given")
    assert (result.stdout, result.stderr, result.exit_code, result.timed_out) == ("given", "bad\n", 7, False)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["no-such-program"], 127),
        (["bash", "-c", "kill -TERM $$"], 143),
        (["bash", "-c", "exit 255"], 255),
    ],
)
async def test_exit_codes(command, code):
    assert (await run_sandboxed(command)).exit_code == code


async def test_files_go_in_and_come_out():
    result = await bash(
        "cat in.txt > out.txt; mkdir -p a/b; printf '\\xff' > a/b/c; ln -s /etc/passwd link; mkfifo pipe; true",
        files={"in.txt": b"hello"},
        collect_bytes=1000,
    )
    assert result.files == {"out.txt": b"hello", "a/b/c": b"\xff"}


async def test_what_is_too_large_to_be_returned_is_left_out():
    result = await bash("printf 12345 > a; printf 123456789 > b; printf 123 > c", collect_bytes=8)
    assert result.files == {"a": b"12345", "c": b"123"}


async def test_a_working_directory_is_kept_from_run_to_run(workdir):
    await bash("echo 1 > kept; echo 2 > other", workdir=workdir)
    result = await bash("cat kept; echo 3 > other", workdir=workdir, collect_bytes=100)
    assert result.stdout == "1\n"
    assert result.files == {"other": b"3\n"}
    assert sandbox_folder.read(workdir, "kept", max_bytes=10) == b"1\n"


async def test_a_large_input_that_nobody_reads_does_no_harm():
    assert (await bash("exit 0", stdin=b"x" * 5_000_000)).exit_code == 0


async def test_without_a_sandbox_nothing_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "_ENVIRONMENT", {"PATH": str(tmp_path)})
    sandbox.why_unavailable.cache_clear()
    try:
        assert not sandbox.is_available()
        with pytest.raises(SandboxUnavailable, match="bwrap"):
            await bash("sleep 5 # /tmp/ran")
    finally:
        sandbox.why_unavailable.cache_clear()
    assert not processes_with("/tmp/ran")


async def test_a_bubblewrap_that_fails_says_why(monkeypatch, tmp_path):
    for name in ("prlimit", "choom", "setpriv", "setsid", "unshare", "true"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent != Path("/tmp"):
            with suppress(OSError):
                parent.chmod(parent.stat().st_mode | 0o011)
    monkeypatch.setattr(sandbox, "_ENVIRONMENT", {"PATH": str(tmp_path)})
    sandbox.why_unavailable.cache_clear()
    try:
        assert "setting up uid map" in sandbox.why_unavailable()
    finally:
        sandbox.why_unavailable.cache_clear()


# What it sees -----------------------------------------------------------------------------------------------------


async def test_there_is_no_network():
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    script = f"""
import socket
for place in (("127.0.0.1", {server.server_port}), ("1.1.1.1", 53), ("::1", {server.server_port})):
    try:
        socket.create_connection(place, 2)
        print("reached", place)
    except OSError:
        print("no")
try:
    socket.getaddrinfo("example.com", 80)
    print("resolved")
except OSError:
    print("no")
print(open("/proc/net/dev").read().count(":"))
"""
    try:
        result = await python(script)
    finally:
        server.shutdown()
        server.server_close()
    assert result.stdout.split() == ["no", "no", "no", "no", "1"]


async def test_abstract_sockets_of_the_host_are_out_of_reach():
    import socket

    name = f"\0{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        result = await python(
            f"import socket; s = socket.socket(socket.AF_UNIX)\n"
            f"try: s.connect({name!r}); print('reached')\nexcept OSError: print('no')"
        )
    assert result.stdout == "no\n"


@contextmanager
def open_to_all():
    """Yield a file of the host that everybody may read."""
    mark = Path(f"/tmp/{uuid.uuid4()}")
    mark.write_text("x")
    mark.chmod(0o644)
    try:
        yield mark
    finally:
        mark.unlink()


async def test_no_host_file_is_visible():
    with open_to_all() as mark:
        result = await bash(
            f"ls -d /* /etc/* /tmp/* /work/*; cat /etc/passwd; ls {mark} {ROOT} /root /home /var /opt /srv /run"
        )
    *shown, passwd = result.stdout.splitlines()
    assert passwd == "sandbox:x:1000:1000::/work:/bin/sh"
    top = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/etc", "/proc", "/dev", "/tmp", "/work"}
    assert set(shown) <= top | {"/etc/alternatives", "/etc/ld.so.cache", "/etc/passwd", "/etc/group"}
    assert "/work" in shown
    assert result.stderr.count("No such file or directory") == 10


async def test_only_the_working_directory_tmp_and_shm_take_writes():
    result = await bash(
        "for place in / /etc /usr /usr/bin /dev /proc /bin /lib; do touch $place/x 2>/dev/null && echo $place; done;"
        "for place in /work /tmp /dev/shm; do touch $place/x || echo no $place; done;"
        "echo x > /proc/sys/kernel/hostname"
    )
    assert result.stdout == ""


async def test_no_environment_and_no_secret_of_ours_is_visible(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sk-of-the-host")
    result = await bash(
        "env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' ' '; "
        "cat /proc/self/mountinfo; hostname",
    )
    assert "sk-of-the-host" not in result.stdout
    assert "USER=sandbox" in result.stdout
    for name in ("SECRET_KEY", "VIRTUAL_ENV", str(ROOT), "REDIS", "DJANGO", "/root"):
        assert name not in result.stdout
    assert result.stdout.endswith("sandbox\n")


async def test_no_other_process_is_visible():
    result = await bash(f"ls /proc | grep -c '^[0-9]'; kill -0 {os.getpid()} && echo reached; ls /proc/{os.getpid()}")
    assert int(result.stdout.split()[0]) <= 6
    assert "reached" not in result.stdout


async def test_another_sandbox_is_out_of_sight(workdir):
    mark = str(uuid.uuid4())
    await bash(f"echo {mark} > secret", workdir=workdir)
    other = asyncio.ensure_future(bash(f"sleep 3 # {mark}", workdir=workdir))
    await asyncio.sleep(0.5)
    result = await bash(
        f"ls -d /work/* {workdir} {workdir}/secret; cat {workdir}/secret; ls -d /tmp/* ; cat /proc/*/cmdline"
    )
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
    assert mark not in result.stdout.replace(f"{workdir}", "")
    assert "sandbox-" not in result.stdout.split("ls -d")[0]


async def test_it_has_no_rights_and_gets_none():
    result = await bash(
        "grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status; id -u; "
        "unshare -U true && echo made; mount -t tmpfs x /tmp"
    )
    assert result.stdout.split() == [
        "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "1000",
    ]  # fmt: skip


# What it may use --------------------------------------------------------------------------------------------------


async def test_its_time_is_bounded():
    mark = str(uuid.uuid4())
    started = time.monotonic()
    result = await bash(f"echo begun; sleep 60 # {mark}", timeout_seconds=1)
    assert time.monotonic() - started < 6
    assert (result.stdout, result.timed_out, result.exit_code, result.ended_by) == ("begun\n", True, -1, "time")
    assert await gone(mark)


async def test_a_fork_bomb_ends():
    mark = str(uuid.uuid4())
    result = await bash(f"bomb() {{ bomb | bomb & }}; bomb; sleep 20 # {mark}", timeout_seconds=3)
    assert result.exit_code != 0
    assert await gone(mark)


async def test_processes_are_counted():
    script = """
import os, time
made = 0
try:
    for _ in range(500):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except BlockingIOError:
    print("refused", made)
"""
    word, made = (await python(script)).stdout.split()
    assert word == "refused"
    assert 10 < int(made) <= sandbox.PROCESSES


async def test_two_sandboxes_do_not_share_a_count():
    first = asyncio.ensure_future(bash("for n in $(seq 40); do sleep 2 & done; wait; echo fine"))
    second = asyncio.ensure_future(bash("for n in $(seq 40); do sleep 2 & done; wait; echo fine"))
    assert [result.stdout for result in await asyncio.gather(first, second)] == ["fine\n", "fine\n"]


async def test_a_file_of_10_gb_ends():
    result = await bash("dd if=/dev/zero of=big bs=1M count=10000 2>/dev/null; stat -c %s big", collect_bytes=10)
    assert int(result.stdout) <= sandbox.FILE_BYTES


async def test_many_files_that_are_too_much_together_end_it():
    result = await bash("for n in $(seq 100); do dd if=/dev/zero of=f$n bs=1M count=40 2>/dev/null; sleep 0.05; done")
    assert (result.ended_by, result.exit_code, result.timed_out) == ("disk", -1, False)


async def test_deleted_files_count_while_they_are_open():
    script = """
import os, time
for number in range(100):
    file = open(str(number), "wb")
    os.unlink(str(number))
    for _ in range(40):
        file.write(bytes(1 << 20))
    file.flush()
    globals()[f"kept{number}"] = file
    time.sleep(0.05)
"""
    assert (await python(script)).ended_by == "disk"


async def test_too_many_files_end_it():
    assert (await bash("for n in $(seq 200000); do : > $n; done")).ended_by == "disk"


async def test_a_bottomless_folder_ends_it_and_is_removed(workdir):
    script = "import os\nwhile True:\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)"
    assert (await python(script, workdir=workdir)).ended_by == "disk"


async def test_a_closed_folder_hides_nothing_and_is_removed(workdir):
    result = await bash("mkdir a; echo x > a/b; chmod 000 a; sleep 1; echo done", workdir=workdir)
    if os.geteuid() == 0:
        assert result.stdout == "done\n"
    else:
        assert result.ended_by == "disk"


async def test_endless_output_ends_it_and_is_cut():
    for script in ("yes", "yes >&2"):
        started = time.monotonic()
        result = await bash(script, timeout_seconds=30)
        assert time.monotonic() - started < 15
        assert result.ended_by == "output"
        assert len(result.stdout) + len(result.stderr) == sandbox.OUTPUT_BYTES


async def test_one_process_has_no_more_memory_than_it_may():
    result = await python("x = bytearray(700 * 1024 * 1024)")
    assert "MemoryError" in result.stderr


async def test_all_processes_together_have_no_more_memory_than_they_may():
    script = """
import os, time
for _ in range(10):
    if os.fork() == 0:
        x = bytearray(os.urandom(1 << 20) * 60)
        time.sleep(30)
time.sleep(30)
"""
    result = await python(script, memory_bytes=200 * 1024 * 1024, timeout_seconds=25)
    assert result.ended_by == "memory"


async def test_the_memory_of_tmp_is_bounded():
    result = await bash("for place in /tmp /dev/shm; do for n in 1 2; do head -c 40M /dev/zero > $place/$n; done; done")
    assert result.stderr.count("No space left on device") == 2


async def test_descriptors_are_bounded():
    result = await python("x = [open('/dev/null') for _ in range(1000)]")
    assert "Too many open files" in result.stderr


# What it leaves ---------------------------------------------------------------------------------------------------


async def test_a_daemon_ends_with_its_maker():
    mark = str(uuid.uuid4())
    result = await bash(
        f"setsid nohup bash -c 'exec -a {mark} sleep 60' >/dev/null 2>&1 < /dev/null & sleep 0.3; echo done"
    )
    assert (result.stdout, result.exit_code) == ("done\n", 0)
    assert await gone(mark)


async def test_a_daemon_that_holds_the_output_does_not_hold_the_caller():
    mark = str(uuid.uuid4())
    started = time.monotonic()
    result = await bash(f"setsid bash -c 'exec -a {mark} sleep 60' & echo done")
    assert time.monotonic() - started < 10
    assert result.stdout == "done\n"
    assert await gone(mark)


async def test_who_is_cancelled_leaves_nothing(monkeypatch):
    made = []
    monkeypatch.setattr(sandbox, "make_workdir", lambda: made.append(make_workdir()) or made[-1])
    mark = str(uuid.uuid4())
    running = asyncio.ensure_future(bash(f"setsid bash -c 'exec -a {mark} sleep 60' & sleep 60 # {mark}"))
    while not processes_with(mark):
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(mark)
    assert made
    assert not made[0].exists()


async def test_whenever_it_is_cancelled_nothing_is_left():
    mark = str(uuid.uuid4())

    async def cancelled_after(seconds):
        running = asyncio.ensure_future(bash(f"sleep 60 # {mark}"))
        await asyncio.sleep(seconds)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    for first in range(0, 60, 4):
        await asyncio.gather(*(cancelled_after(thousandths / 1000) for thousandths in range(first, first + 4)))
    await cancelled_after(0.1)
    assert await gone(mark)


async def test_what_a_namespace_lives_by_is_in_the_group_that_is_killed(monkeypatch):
    spawned = []
    spawn = sandbox._spawn

    async def noted(*args):
        spawned.append(await spawn(*args))
        return spawned[-1]

    monkeypatch.setattr(sandbox, "_spawn", noted)
    mark = str(uuid.uuid4())
    running = asyncio.ensure_future(bash(f"while sleep 60; do :; done # {mark}"))
    groups = Counter()
    async with asyncio.timeout(10):
        while sorted(groups.values()) != [1, 2]:  # the program has a group of its own
            await asyncio.sleep(0.02)
            with suppress(ProcessLookupError):
                groups = Counter(os.getpgid(pid) for pid in processes_with(mark))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert groups[spawned[0].pid] == 2  # bubblewrap and the namespace's first process
    assert os.getpgid(0) not in groups
    assert await gone(mark)


async def test_a_program_that_signals_its_group_ends_only_itself():
    result = await bash("kill -TERM 0; sleep 60")
    assert (result.exit_code, result.timed_out) == (128 + signal.SIGTERM, False)
    result = await bash("trap '' TERM; kill -TERM 0; echo goes on")
    assert (result.stdout, result.exit_code) == ("goes on\n", 0)


async def test_the_folder_is_removed_afterwards(monkeypatch):
    made = []
    monkeypatch.setattr(sandbox, "make_workdir", lambda: made.append(make_workdir()) or made[-1])
    await bash("mkdir -p a/b; touch a/b/c; chmod 000 a; chmod 555 .")
    assert not made[0].exists()


# Its folder, from outside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/x", "x" * 256, "a\0b"])
async def test_only_plain_names_are_written(workdir, name):
    with pytest.raises(ValueError, match="file name"):
        await bash("true", workdir=workdir, files={name: b""})


async def test_links_that_a_program_left_are_not_followed(workdir, tmp_path):
    target = tmp_path / "host"
    target.write_text("of the host")
    await bash(f"ln -s {target} file; ln -s {tmp_path} folder; mkdir real; ln -s {target} real/inner", workdir=workdir)
    for path in ("file", "folder/host", "real/inner", "../x", "/etc/hostname", "real", "none", ""):
        assert sandbox_folder.read(workdir, path, max_bytes=100) is None
    result = await bash("cat file", workdir=workdir, files={"file": b"ours"})
    assert result.stdout == "ours"
    assert target.read_text() == "of the host"
    assert set(sandbox_folder.listing(workdir)) == {"file"}


async def test_a_folder_in_the_way_is_told(workdir):
    await bash("mkdir file", workdir=workdir)
    with pytest.raises(ValueError, match="folder"):
        await bash("true", workdir=workdir, files={"file": b"x"})


async def test_a_name_that_is_no_text_is_passed_over(workdir):
    result = await bash("touch $'\\xff'; echo x > fine", workdir=workdir, collect_bytes=100)
    assert result.files == {"fine": b"x\n"}
