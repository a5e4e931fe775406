"""What models can do and cost."""

from __future__ import annotations

import pytest

from apps.engines.base import Usage
from apps.engines.catalog import ModelFacts, facts, parse_table, price


def test_the_longest_name_counts_with_or_without_a_vendor():
    assert facts("openai/gpt-4o-mini-2024").input_price == 0.15
    assert facts("gpt-4o").input_price == 2.5
    assert facts("anthropic/claude-sonnet-4-6").thinking
    assert facts("somebody/else") == ModelFacts()


def test_an_installations_own_table_is_asked_first():
    table = parse_table('{"claude-sonnet-4": {"context_tokens": 1000, "input_price": 1}}')

    assert facts("anthropic/claude-sonnet-4-6", table) == ModelFacts(context_tokens=1000, input_price=1)


def test_every_part_has_its_price():
    used = Usage(prompt_tokens=1000, completion_tokens=100, cache_read_tokens=10_000, cache_write_tokens=400)
    sonnet = facts("claude-sonnet-4-6")

    assert price(used, sonnet) == 1000 * 3 + 100 * 15 + 10_000 * 0.3 + 400 * 3.75
    assert price(used, sonnet, cache_ttl="1h") == 1000 * 3 + 100 * 15 + 10_000 * 0.3 + 400 * 6


def test_no_price_is_no_cost():
    assert price(Usage(prompt_tokens=1), ModelFacts()) is None
    assert price(Usage(completion_tokens=1), ModelFacts(input_price=1.0)) is None


@pytest.mark.parametrize(
    "text", ["[]", '{"a": 1}', '{"a": {"colour": 1}}', '{"a": {"thinking": 1}}', '{"a": {"input_price": -1}}', "{"]
)
def test_a_wrong_table_is_refused(text):
    with pytest.raises(ValueError, match=r"[a-z]"):
        parse_table(text)
