"""`make run`: everything on one machine."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from apps.chat.turns.route import fast_provider
from apps.engines.providers import Provider
from config.env import read
from config.supervision.account import DemoAccount, ensure_demo_account
from config.supervision.console import Console
from config.supervision.plan import Needs, make_plan
from config.supervision.redis import NoRedis
from config.supervision.state import AlreadyRunning, VarFolder
from config.supervision.supervisor import Supervisor

LOCAL_SETTINGS = "config.settings.local"
HIGHEST_PORT = 65_535
WAITING_VISITORS = 2048  # connections that the system keeps while the web process is busy or restarting


class Command(BaseCommand):
    """Start Flightdeck and keep it running until Ctrl-C."""

    help = "Start the web process, the workers, the timer and what they need; keep them alive; stop them on Ctrl-C."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the port."""
        parser.add_argument("--port", default="8000", help="where to listen on this machine (default: 8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal comes.

        Raises:
            CommandError: When it can't start; the message says what to do.
        """
        if settings.SETTINGS_MODULE != LOCAL_SETTINGS:
            raise CommandError(f"This is for one machine and needs {LOCAL_SETTINGS}; see deploy/ for anything else.")
        try:
            folder = VarFolder(Path(settings.VAR_DIR))
        except AlreadyRunning as error:
            raise CommandError(f"{error} Stop that one first.") from error
        console = Console(sys.stdout)
        try:
            with open_listener(read_port(options["port"])) as listener:
                installation = Installation(folder, console, listener)
                code = asyncio.run(installation.supervisor().run())
        except (NoRedis, DatabaseError) as error:
            raise CommandError(explain(error)) from error
        finally:
            folder.release()
            console.close()
        sys.exit(code)


class Installation:
    """What the supervisor is told to do, and what it tells people."""

    def __init__(self, folder: VarFolder, console: Console, listener: socket.socket) -> None:
        """Look at what is configured."""
        self._folder = folder
        self._console = console
        self._listener = listener
        self._url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._provider = fast_provider()
        self._account: DemoAccount | None = None

    def supervisor(self) -> Supervisor:
        """Return the supervisor of this installation.

        Raises:
            NoRedis: When none is configured and none can be started.
        """
        needs = Needs(
            redis=not read("REDIS_URL"),
            model=self._provider.name == "demo" and not settings.DEMO_MODEL_URL,
            grace_seconds=settings.SHUTDOWN_GRACE_SECONDS,
            settings_module=LOCAL_SETTINGS,
            log_format=os.environ.get("LOG_FORMAT", "console"),
        )
        return Supervisor(
            make_plan(needs, self._listener), self._console, self._prepare, self._announce, self._celebrate
        )

    def _prepare(self) -> None:
        try:
            call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
            self._account = ensure_demo_account(Path(settings.VAR_DIR))
        finally:
            connections.close_all()

    def _announce(self, processes: dict[str, int]) -> None:
        assert self._account is not None  # _prepare came first
        self._folder.describe_run(
            {
                "url": self._url,
                "email": self._account.email,
                "password": self._account.password,
                "token": self._account.token,
                "processes": processes,
                "model": {"name": self._provider.model("standard"), "provider": self._provider.name},
            }
        )

    def _celebrate(self) -> None:
        assert self._account is not None
        self._console.plain(banner(self._url, self._account, self._provider))


def banner(url: str, account: DemoAccount, provider: Provider) -> str:
    """Return what people are told when everything answers."""
    lines = [
        "",
        f"  Flightdeck is ready:  {url}",
        "",
        f"  Sign in as   {account.email}",
        f"  Password     {account.password}",
        f"  Model        {provider.model('standard')} ({provider.name})",
    ]
    if provider.name == "demo":
        lines += [
            "               This is a script on this machine and not an AI. For a real model put",
            "               OPENROUTER_API_KEY, OPENAI_API_KEY or OPENAI_BASE_URL into .env and start again.",
        ]
    return "\n".join([*lines, "", "  Ctrl-C stops everything.", ""])


def read_port(text: str) -> int:
    """Return a port number.

    Raises:
        CommandError: When it isn't one.
    """
    if text.isdecimal() and 0 < int(text) <= HIGHEST_PORT:
        return int(text)
    raise CommandError(f"PORT must be a number from 1 to {HIGHEST_PORT}, and is {text!r}.")


def open_listener(port: int) -> socket.socket:
    """Return a socket that listens on this machine.

    Raises:
        CommandError: When the port can't be had.
    """
    try:
        return socket.create_server(("127.0.0.1", port), backlog=WAITING_VISITORS)
    except OSError as error:
        reasons = {errno.EADDRINUSE: "is in use by another program", errno.EACCES: "is reserved for the system"}
        reason = reasons.get(error.errno or 0, f"can't be used: {error.strerror}")
        raise CommandError(f"Port {port} {reason}. Choose another one: make run PORT=8123") from error


def explain(error: Exception) -> str:
    """Return one line for people."""
    if isinstance(error, DatabaseError):
        return f"The database can't be used: {str(error).strip()} (`manage.py doctor` tells more)"
    return str(error)
