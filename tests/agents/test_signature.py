"""Section 7's signature, input by input."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.chat.agents.signature import agent_signature
from tests.depth import depth

FACTS: dict[str, Any] = {
    "model": "anthropic/claude-sonnet-4-6",
    "provider": "openrouter",
    "base_url": "https://openrouter.ai/api/v1",
    "api_mode": "openai_chat",
    "credential": "sk-or-v1-0123456789abcdef",
    "toolsets": ["web", "todo", "files"],
    "instructions": "Answer in French.",
    "user": "7",
}
OTHERS: dict[str, Any] = {
    "model": "openai/gpt-4o",
    "provider": "openai",
    "base_url": "https://api.openai.com/v1",
    "api_mode": "anthropic_messages",
    "credential": "another-key",
    "toolsets": ["web", "todo"],
    "instructions": "Answer in German.",
    "user": "8",
}


def test_a_signature_is_a_stable_digest() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", agent_signature(**FACTS))
    assert agent_signature(**FACTS) == agent_signature(**FACTS)


def test_another_process_makes_the_same_signature() -> None:
    code = f"from apps.chat.agents.signature import agent_signature as s; print(s(**{FACTS!r}))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == agent_signature(**FACTS)


@pytest.mark.parametrize("fact", sorted(FACTS))
def test_each_input_alone_changes_it(fact: str) -> None:
    assert agent_signature(**{**FACTS, fact: OTHERS[fact]}) != agent_signature(**FACTS)


def test_every_input_is_tried_above() -> None:
    accepted = set(agent_signature.__kwdefaults__ or {}) | set(agent_signature.__annotations__) - {"return"}
    assert accepted == set(FACTS) == set(OTHERS)


def test_tokens_that_share_a_long_prefix_differ() -> None:
    start = "sk-or-v1-" + "a" * 500
    assert agent_signature(**{**FACTS, "credential": start + "1"}) != agent_signature(
        **{**FACTS, "credential": start + "2"}
    )


def test_tool_lists_that_differ_only_in_order_have_one_signature() -> None:
    turned = agent_signature(**{**FACTS, "toolsets": ["files", "todo", "web"]})
    repeated = agent_signature(**{**FACTS, "toolsets": ("todo", "web", "files", "web")})
    assert turned == repeated == agent_signature(**FACTS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "ab", "provider": "c"}, {"model": "a", "provider": "bc"}),
        ({"toolsets": ["ab", "c"]}, {"toolsets": ["a", "bc"]}),
        ({"toolsets": ["ab"]}, {"toolsets": ["a", "b"]}),
        ({"instructions": "x", "user": ""}, {"instructions": "", "user": "x"}),
        ({"instructions": "", "user": "", "toolsets": ["1"]}, {"instructions": "", "user": "1", "toolsets": []}),
        ({"base_url": "", "api_mode": "u"}, {"base_url": "u", "api_mode": ""}),
    ],
)
def test_moving_text_from_one_input_to_the_next_changes_it(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert agent_signature(**{**FACTS, **one}) != agent_signature(**{**FACTS, **other})


TEXT_INPUTS = ("model", "provider", "base_url", "api_mode", "instructions", "user")
KEY = {"toolsets": frozenset[str](), "credential": "k"}
#: Of so few letters that many examples are the same when they run together.
FEW = st.text("a", max_size=2)
TEXTS = st.fixed_dictionaries(
    {
        "model": FEW,
        "provider": FEW,
        "base_url": FEW,
        "api_mode": FEW,
        "instructions": FEW,
        "user": FEW,
        "toolsets": st.frozensets(FEW, max_size=2),
        "credential": st.just("k"),
    }
)


@settings(max_examples=depth(quick=300, full=300, deep=3000))  # equal ones are rare
@example(
    dict.fromkeys(TEXT_INPUTS, "") | {"model": "a"} | KEY, dict.fromkeys(TEXT_INPUTS, "") | {"provider": "a"} | KEY
)
@given(TEXTS, TEXTS)
def test_signatures_are_equal_exactly_when_the_inputs_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (agent_signature(**one) == agent_signature(**other)) == (one == other)


def test_absent_and_empty_are_the_same() -> None:
    nothing = {"base_url": None, "credential": None, "instructions": None}
    empty = {"base_url": "", "credential": "", "instructions": ""}
    assert agent_signature(**{**FACTS, **nothing}) == agent_signature(**{**FACTS, **empty})


def test_text_that_is_no_valid_unicode_has_a_signature() -> None:
    assert agent_signature(**{**FACTS, "instructions": "\ud800"}) != agent_signature(**FACTS)


def test_the_credential_is_neither_in_the_signature_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert FACTS["credential"] not in agent_signature(**FACTS)
    assert not caplog.records


@pytest.mark.parametrize("setting", ["reasoning_effort", "callbacks"])
def test_what_is_set_for_each_message_is_no_input(setting: str) -> None:
    with pytest.raises(TypeError):
        agent_signature(**FACTS, **{setting: "high"})
