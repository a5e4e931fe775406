"""Scripted answers: several steps with reasoning, text and tools, and what must be seen of them in the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

SENTENCE = (
    "the answer goes on while processes end and others begin it is stored step by step and nothing of it is shown "
    "twice naïve façade “quoted” 東京 done"
)
WORDS = SENTENCE.split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slow a scripted model is."""

    chunk: int = 6  # characters a delta
    delay: float = 0.06  # seconds before each delta
    rounds: tuple[int, int] = (1, 3)  # tool rounds at least and at most
    words: tuple[int, int] = (8, 22)  # words of a text at least and at most
    tool_seconds: tuple[float, float] = (0.1, 0.8)


@dataclass(slots=True, kw_only=True)
class Plan:
    """One scripted answer.

    Attributes:
        name: The script's; its marker goes into the user's message.
        steps: What the model server is told.
        texts: The visible texts in order.
        keys: The tool calls' keys, and whether each tool is idempotent.
    """

    name: str
    steps: list[list[dict[str, Any]]]
    texts: list[str]
    keys: dict[str, bool] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """What the person writes."""
        return f"Please do it [script:{self.name}]"


def make_plan(rng: random.Random, name: str, pace: Pace) -> Plan:
    """Return a random answer: tool rounds, then a closing text."""
    plan = Plan(name=name, steps=[], texts=[])
    for round_number in range(rng.randint(*pace.rounds)):
        step: list[dict[str, Any]] = []
        if rng.random() < 0.5:
            step.append(_speech(rng, pace, "reasoning"))
        if rng.random() < 0.7:
            step.append(_speech(rng, pace, "text"))
            plan.texts.append(step[-1]["text"])
        for position in range(rng.choice((1, 1, 2))):
            key = f"{name}-{round_number}-{position}"
            plan.keys[key] = rng.random() < 0.5
            step.append(_tool(rng, pace, key, is_idempotent=plan.keys[key]))
        plan.steps.append(step)
    last = [_speech(rng, pace, "reasoning")] if rng.random() < 0.3 else []
    last.append(_speech(rng, pace, "text"))
    plan.texts.append(last[-1]["text"])
    plan.steps.append(last)
    return plan


def _speech(rng: random.Random, pace: Pace, kind: str) -> dict[str, Any]:
    words = rng.choices(WORDS, k=rng.randint(*pace.words))
    return {kind: " ".join(words).capitalize() + ".", "chunk": pace.chunk, "delay": pace.delay}


def _tool(rng: random.Random, pace: Pace, key: str, *, is_idempotent: bool) -> dict[str, Any]:
    arguments = {"key": key, "seconds": round(rng.uniform(*pace.tool_seconds), 2)}
    return {"tool": "idempotent_step" if is_idempotent else "outside_step", "arguments": arguments, "parts": 3}
