"""Every environment variable that the product reads, in one table, parsed strictly.

A wrong value stops the start with one line that names the variable. Each may also be given as `NAME_FILE`, the path of
a file that holds the value, which is how container platforms hand secrets over.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from apps.engines import catalog
from apps.engines.catalog import ModelFacts

BASE_DIR = Path(__file__).resolve().parent.parent
if (BASE_DIR / ".env").exists() and os.environ.get("FLIGHTDECK_READ_DOTENV", "true") == "true":
    environ.Env.read_env(BASE_DIR / ".env")


def boolean(text: str) -> bool:
    """Read `true` or `false` and nothing else: a typo must not silently mean no."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    raise ValueError("must be true or false")


def positive_integer(text: str) -> int:
    """Read a whole number above zero."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ValueError("must be a whole number above 0")


def whole_number(text: str) -> int:
    """Read a whole number, zero included."""
    if text.isdecimal():
        return int(text)
    raise ValueError("must be a whole number, 0 or more")


def seconds(text: str) -> float:
    """Read a duration in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < 10**7:
        return value
    raise ValueError("must be a number of seconds above 0")


def names(text: str) -> list[str]:
    """Read a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def one_of(*values: str) -> Callable[[str], str]:
    """Read one of some words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"must be {' or '.join(values)}")
        return text

    return parse


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object; empty means an empty one."""
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError("must be a JSON object") from error
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 -- every parser here raises ValueError
    return value


def fernet_keys(text: str) -> list[str]:
    """Read Fernet keys, the newest first."""
    keys = names(text)
    for key in keys:
        try:
            size = len(base64.urlsafe_b64decode(key))
        except ValueError:
            size = 0
        if size != 32:
            raise ValueError("must be Fernet keys, comma-separated: 32 bytes each, in URL-safe base64")
    return keys


def model_facts(text: str) -> dict[str, ModelFacts]:
    """Read `{"model id": {"context_tokens": …, …}, …}`; empty means none."""
    try:
        return catalog.parse_table(text) if text else {}
    except ValueError as error:
        raise ValueError(f"must be a JSON object of models: {error}") from error


def url(*schemes: str) -> Callable[[str], str]:
    """Read a URL of one of `schemes`; empty stays empty."""

    def parse(text: str) -> str:
        if text and urlsplit(text).scheme not in schemes:
            raise ValueError(f"must be a URL that begins with {' or '.join(f'{s}://' for s in schemes)}")
        return text

    return parse


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting: how it is parsed, what it is when unset, and what it does."""

    parse: Callable[[str], Any]
    default: str
    meaning: str


HTTP = url("http", "https")
REDIS = url("redis", "rediss", "unix")
DATABASE = url("postgres", "postgresql", "sqlite")
BROKER = url("redis", "rediss", "amqp", "amqps", "memory")

VARIABLES: dict[str, Variable] = {
    "SECRET_KEY": Variable(str, "", "Signs sessions. Made and kept in var/ by local settings; required in production."),
    "ALLOWED_HOSTS": Variable(names, "", "Host names that this installation answers to, comma-separated."),
    "CSRF_TRUSTED_ORIGINS": Variable(
        names, "", "Origins (https://…) that may send forms and open sockets besides our own."
    ),
    "VAR_DIR": Variable(
        str, "", "Folder of a local installation's database, keys and state; empty = var/ in the checkout."
    ),
    "DEBUG": Variable(boolean, "false", "Django's debug pages; never in production."),
    "DATABASE_URL": Variable(DATABASE, "", "PostgreSQL or SQLite; empty = SQLite in var/."),
    "DATABASE_POOL_SIZE": Variable(positive_integer, "20", "PostgreSQL connections a process holds at most."),
    "REDIS_URL": Variable(REDIS, "", "Carries events and wake-ups; empty = `make run` starts a private one."),
    "REDIS_PREFIX": Variable(
        str, "flightdeck", "Put before pub/sub channels, so that installations can share a Redis."
    ),
    "CELERY_BROKER_URL": Variable(BROKER, "", "Redis or RabbitMQ; empty = REDIS_URL."),
    "OPENROUTER_API_KEY": Variable(str, "", "Use OpenRouter for the fast engine."),
    "OPENAI_API_KEY": Variable(str, "", "Use OpenAI, or any compatible server, for the fast engine."),
    "OPENAI_BASE_URL": Variable(HTTP, "", "The compatible server's address; empty = OpenAI's own."),
    "ANTHROPIC_API_KEY": Variable(str, "", "Use Anthropic for the extended-thinking engine."),
    "ANTHROPIC_BASE_URL": Variable(HTTP, "", "A compatible server's address; empty = Anthropic's own."),
    "CHAT_ALLOW_LOCAL_MODEL_HOSTS": Variable(boolean, "false", "Model base URLs may point at this machine or network."),
    "CHAT_MODEL": Variable(str, "", "The standard model; empty = the provider's default in the table of models."),
    "CHAT_ADVANCED_MODEL": Variable(str, "", "The advanced model; empty = the provider's default."),
    "CHAT_MAX_THINKING_TOKENS": Variable(whole_number, "8192", "Reasoning budget a step, in tokens; 0 = off."),
    "CHAT_THINKING_EFFORT": Variable(
        one_of("low", "medium", "high"),
        "high",
        "How hard models try that can be told, with the extended-thinking engine.",
    ),
    "CHAT_DEFAULT_MODE": Variable(one_of("fast", "extended_thinking"), "fast", "Who answers when nobody chose a mode."),
    "CHAT_TITLE_MODEL": Variable(str, "", "The cheap model for titles and summaries; empty = the provider's default."),
    "CHAT_PROMPT_CACHE_TTL": Variable(one_of("5m", "1h"), "1h", "How long Anthropic's models keep a cached prompt."),
    "CHAT_MODEL_FACTS": Variable(
        model_facts, "", "What other models can do and cost, as JSON; see docs/turns.md. Adds to the built-in table."
    ),
    "CHAT_DAILY_LIMIT_MICRODOLLARS": Variable(
        whole_number, "1000000", "Model spend a day of a FREE user, in microdollars; 0 = unlimited. Live."
    ),
    "CHAT_WEEKLY_LIMIT_MICRODOLLARS": Variable(
        whole_number, "5000000", "Model spend a week of a FREE user, in microdollars; 0 = unlimited. Live."
    ),
    "CHAT_USAGE_RESET_COST_CENTS": Variable(
        whole_number, "0", "Credits that clearing the daily window costs, in cents; 0 = can't be bought. Live."
    ),
    "CHAT_MAX_DAILY_RESETS": Variable(positive_integer, "5", "How often a day one user may buy that. Live."),
    "CHAT_AGENT_CACHE_SIZE": Variable(positive_integer, "128", "Conversations that a worker keeps warm."),
    "CHAT_AGENT_IDLE_SECONDS": Variable(seconds, "3600", "A conversation is kept warm this long after its last turn."),
    "CHAT_TOOL_MODULES": Variable(names, "", "Further modules with a TOOLS list for the copilot, comma-separated."),
    "CHAT_MAX_TOOL_ROUNDS": Variable(positive_integer, "30", "Tool rounds of one turn at most."),
    "CHAT_TOOL_TIMEOUT_SECONDS": Variable(seconds, "300", "One tool call waits at most this long."),
    "CHAT_DELTA_WINDOW_SECONDS": Variable(seconds, "0.025", "Deltas of one block within this time travel as one."),
    "DEMO_MODEL_URL": Variable(HTTP, "", "Where the offline demo model answers; set by the supervisor."),
    "TURN_CONCURRENCY": Variable(positive_integer, "200", "Turns that one worker process runs at once."),
    "LIBRARY_BLOCK_MODULES": Variable(names, "", "Further modules with blocks for agents, comma-separated."),
    "GRAPH_CONCURRENCY": Variable(positive_integer, "50", "Agent runs that one worker process works on at once."),
    "NODE_CONCURRENCY": Variable(positive_integer, "16", "Nodes of one agent run that work at once."),
    "SCHEDULE_TICK_SECONDS": Variable(seconds, "5", "How often due schedules are looked for."),
    "CREDENTIAL_KEYS": Variable(
        fernet_keys,
        "",
        "Encrypt credentials of other services at rest: Fernet keys, the newest first, so that keys can be replaced; "
        "empty = one made of SECRET_KEY.",
    ),
    "OAUTH_CLIENTS": Variable(
        json_object, "", 'OAuth 2 clients for credentials, as JSON: {"github": {"client_id": …, "client_secret": …}}.'
    ),
    "PUBLIC_URL": Variable(
        HTTP, "", "Where this installation is found from outside, for webhooks and OAuth; empty = where it is asked."
    ),
    "WORKSPACE_STORAGE_URL": Variable(
        url("s3", "gs"), "", "Where people's files lie: s3://bucket/prefix or gs://bucket/prefix; empty = in VAR_DIR."
    ),
    "WORKSPACE_FILE_LIMIT_BYTES": Variable(positive_integer, "104857600", "The largest file that is taken, in bytes."),
    "WORKSPACE_QUOTA_BYTES": Variable(
        whole_number, "1073741824", "What the files of a FREE user may take up, in bytes; 0 = unlimited."
    ),
    "CLAMD_URL": Variable(
        url("tcp", "unix"), "", "ClamAV that looks at files before they are kept: tcp://host:3310 or unix:///path."
    ),
    "CLAMD_FAIL_OPEN": Variable(boolean, "false", "Take files while ClamAV can't be reached."),
    "LEASE_SECONDS": Variable(seconds, "15", "A runner that isn't heard of for this long is replaced."),
    "LEASE_RENEW_SECONDS": Variable(seconds, "5", "How often a process renews the leases it holds."),
    "LEASE_SWEEP_SECONDS": Variable(seconds, "5", "How often a worker looks for runs that need a runner."),
    "SHUTDOWN_GRACE_SECONDS": Variable(
        seconds, "20", "A stopping worker lets turns reach the end of their step this long."
    ),
    "STREAM_TTL_SECONDS": Variable(
        positive_integer, "3600", "How long the log of a turn can be replayed after its last write."
    ),
    "SOCKETS_PER_USER": Variable(positive_integer, "20", "Websockets of one user in one web process."),
    "SOCKET_RECHECK_SECONDS": Variable(seconds, "60", "How often an open socket's sign-in is looked at again."),
    "SIGN_UP_OPEN": Variable(boolean, "false", "Anyone may make an account; otherwise an operator does, in the admin."),
    "TRUSTED_PROXIES": Variable(whole_number, "0", "Proxies in front that set X-Forwarded-For and X-Forwarded-Proto."),
    "EMAIL_URL": Variable(str, "consolemail://", "How e-mail is sent, e.g. smtp+tls://user:password@host:587."),
    "DEFAULT_FROM_EMAIL": Variable(str, "Flightdeck <noreply@localhost>", "The sender of our e-mail."),
    "LOG_FORMAT": Variable(str, "json", "`json`, or `console` for people."),
    "LOG_LEVEL": Variable(str, "INFO", "The least severe level that is logged."),
}


def read(name: str) -> Any:
    """Return the parsed value of a variable of the table.

    Raises:
        ImproperlyConfigured: When its value can't be used; the message is one line that names it.
    """
    variable = VARIABLES[name]
    text = os.environ.get(name)
    if text is None and (path := os.environ.get(f"{name}_FILE")):
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: can't read {path}: {error.strerror}") from error
    try:
        return variable.parse(variable.default if text is None else text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} {error}.") from error


def require(name: str) -> Any:
    """Return the parsed value of a variable that must be set.

    Raises:
        ImproperlyConfigured: When it is unset or empty, or can't be used.
    """
    value = read(name)
    if not value:
        raise ImproperlyConfigured(f"{name} is required: {VARIABLES[name].meaning}")
    return value


def refuse_local_host(name: str, address: str) -> None:
    """Refuse a URL that leads to this machine or its network, as far as its text tells.

    Raises:
        ImproperlyConfigured: When it does; the message is one line that names the variable.
    """
    host = urlsplit(address).hostname or ""
    try:
        is_local = bool(host) and not ipaddress.ip_address(host).is_global
    except ValueError:
        is_local = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    if is_local:
        raise ImproperlyConfigured(
            f"{name} points at this machine or network; allow it with CHAT_ALLOW_LOCAL_MODEL_HOSTS=true."
        )
