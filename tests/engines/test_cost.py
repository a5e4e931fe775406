from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engines.base import Usage
from apps.engines.cost import parse_cost, parse_usage


@pytest.mark.parametrize(
    ("dollars", "microdollars"),
    [(0, 0), (0.0, 0), (0.001, 1_000), (1, 1_000_000), (0.1, 100_000), (0.0000005, 1), (0.0000004, 0), (1e-9, 0)],
)
def test_a_cost_becomes_whole_microdollars(dollars: float, microdollars: int) -> None:
    assert parse_cost(dollars) == microdollars


@pytest.mark.parametrize(
    "value", [None, "0.1", "", float("nan"), float("inf"), float("-inf"), -0.01, -1, True, False, [], {}, 1e12, 10**400]
)
def test_an_unusable_cost_is_logged_as_an_error(value: object, caplog: pytest.LogCaptureFixture) -> None:
    assert parse_usage({"prompt_tokens": 1, "completion_tokens": 1, "cost": value}) == Usage(
        prompt_tokens=1, completion_tokens=1
    )
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_missing_cost_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    usage = parse_usage({"prompt_tokens": 3, "completion_tokens": 4})
    assert usage == Usage(prompt_tokens=3, completion_tokens=4, cost_microdollars=None)
    assert not caplog.records


@pytest.mark.parametrize(
    "extra",
    [
        {"prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10}},
        {"prompt_tokens_details": {"cached_tokens": 60}, "cache_write_tokens": 10},
        {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 10},
        {"prompt_cache_hit_tokens": 60, "cache_write_tokens": 10},
        {"cached_tokens": 60, "prompt_tokens_details": None, "cache_write_tokens": 10},
    ],
)
def test_cached_tokens_are_not_counted_twice(extra: dict[str, Any]) -> None:
    assert parse_usage({"prompt_tokens": 100, "completion_tokens": 7, **extra}) == Usage(
        prompt_tokens=30, completion_tokens=7, cache_read_tokens=60, cache_write_tokens=10
    )


@pytest.mark.parametrize("tokens", [1e300, 10**400, 10**18, float("nan"), float("inf"), -1, "5", True, None])
def test_a_number_of_tokens_that_can_not_be_counts_as_none(tokens: object) -> None:
    usage = parse_usage({"prompt_tokens": tokens, "completion_tokens": 7, "cached_tokens": tokens})
    assert usage == Usage(completion_tokens=7)


def test_what_is_no_object_is_no_usage() -> None:
    assert parse_usage([1]) is None


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens"]), inner, max_size=2),
    max_leaves=4,
)
_keys = st.sampled_from(["prompt_tokens", "completion_tokens", "prompt_tokens_details", "cost", "cached_tokens"])


@given(st.dictionaries(_keys, _anything))
def test_no_figure_is_ever_negative(raw: dict[str, Any]) -> None:
    usage = parse_usage(raw)
    assert usage is not None
    assert min(usage.prompt_tokens, usage.completion_tokens, usage.cache_read_tokens, usage.cache_write_tokens) >= 0
    assert usage.cost_microdollars is None or usage.cost_microdollars >= 0
