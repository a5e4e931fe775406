"""What the server tells a model of the person and their surroundings, before their first message.

It is written once, stored beside the message, and given to models unchanged in every later turn.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from apps.chat.turns.history import neutralised


def first_prefix(*, name: str, about: str, time_zone: str, now: datetime) -> str:
    """Return what goes before the first user message of a session.

    Args:
        name: What the person is called; may be empty.
        about: What they wrote about themselves and their business; may be empty.
        time_zone: Their IANA time zone.
        now: The present moment, aware.
    """
    blocks = (user_context(name=name, about=about), env_context(time_zone=time_zone, now=now))
    return "\n\n".join(block for block in blocks if block)


def user_context(*, name: str, about: str) -> str:
    """Return what is known of the person; empty where nothing is. Their words can't end the block."""
    facts = []
    if called := " ".join(name.split()):
        facts.append(f"Name: {neutralised(called)}")
    if written := about.strip():
        facts.append(f"What they wrote about themselves and their business:\n{neutralised(written)}")
    return block("user_context", facts) if facts else ""


def env_context(*, time_zone: str, now: datetime) -> str:
    """Return when and where the conversation begins."""
    today = now.astimezone(ZoneInfo(time_zone))
    facts = [
        f"Date: {today:%A, %Y-%m-%d} (when this conversation began)",
        f"Time zone: {time_zone}",
        "Running in: a self-hosted Flightdeck",
    ]
    return block("env_context", facts)


def block(tag: str, facts: list[str]) -> str:
    """Return facts between a trusted tag's two ends."""
    lines = "\n".join(facts)
    return f"<{tag}>\n{lines}\n</{tag}>"
