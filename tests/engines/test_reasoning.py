from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.engines.base import ReasoningDelta, TextDelta
from apps.engines.reasoning import ReasoningReader, ThinkTagSplitter

Pieces = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("delta", "shown"),
    [
        ({}, ""),
        ({"content": "hi"}, ""),
        ({"reasoning": "a"}, "a"),
        ({"reasoning_content": "b"}, "b"),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "c"}]}, "c"),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "d"}]}, "d"),
        ({"reasoning_details": [{"text": "e"}, {"summary": "f"}, {"type": None, "text": "g"}]}, "efg"),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "text": "x"}]}, ""),
        ({"reasoning_details": [{"type": "something.new", "text": "x"}]}, ""),
        ({"reasoning_details": [{"type": "reasoning.text", "signature": "x"}]}, ""),
        ({"reasoning_details": [{"type": "reasoning.text", "text": None}, {"text": "h"}]}, "h"),
        ({"reasoning": "a", "reasoning_content": "b", "reasoning_details": [{"text": "c"}]}, "a"),
        ({"reasoning": None, "reasoning_content": "b", "reasoning_details": [{"text": "c"}]}, "b"),
        ({"reasoning": "", "reasoning_details": [{"text": "c"}]}, "c"),
    ],
)
def test_reasoning_is_found_in_three_shapes(
    delta: dict[str, Any], shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert ReasoningReader().read(delta) == shown
    assert not caplog.records


@pytest.mark.parametrize(
    ("delta", "shown"),
    [
        ({"reasoning": 5, "reasoning_content": "b"}, ""),
        ({"reasoning_content": ["secret"]}, ""),
        ({"reasoning_details": "secret"}, ""),
        ({"reasoning_details": {"text": "secret"}}, ""),
        ({"reasoning_details": ["secret", {"text": "ok"}]}, "ok"),
        ({"reasoning_details": [{"text": {"secret": 1}}, {"text": "ok"}]}, "ok"),
        ({"reasoning_details": [{"type": ["secret"], "text": "x"}]}, ""),
    ],
)
def test_malformed_reasoning_is_skipped_and_logged_once_without_its_words(
    delta: dict[str, Any], shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    reader = ReasoningReader()
    assert reader.read(delta) == shown
    assert reader.read(delta) == shown
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def split(*chunks: str) -> Pieces:
    """Return (kind, text) of what the splitter makes of an answer, neighbours of a kind put together."""
    splitter = ThinkTagSplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)] + splitter.flush()
    pieces: Pieces = []
    for event in events:
        assert event.text
        kind = "think" if isinstance(event, ReasoningDelta) else "text"
        if pieces and pieces[-1][0] == kind:
            pieces[-1] = (kind, pieces[-1][1] + event.text)
        else:
            pieces.append((kind, event.text))
    return pieces


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("hello", [("text", "hello")]),
        ("<think>a</think>b", [("think", "a"), ("text", "b")]),
        ("<thinking>a</thinking>b", [("think", "a"), ("text", "b")]),
        ("<THINK>a</Think>b", [("think", "a"), ("text", "b")]),
        ("\n <think>\na\n</think>\n\nb", [("think", "a\n"), ("text", "b")]),
        ("<think>\n\n</think>\n\nb", [("text", "b")]),
        ("x <think>a</think> y", [("text", "x "), ("think", "a"), ("text", " y")]),
        ("<think>a</think><think>b</think>c", [("think", "ab"), ("text", "c")]),
        ("<think>a</thinking></think>b", [("think", "a</thinking>"), ("text", "b")]),
        ("<think>never closed", [("think", "never closed")]),
        ("<think>cut </thi", [("think", "cut </thi")]),
        ("a </think> b", [("text", "a </think> b")]),
        ("1 < 2 <thin> <thinker> <<think>a</think>", [("text", "1 < 2 <thin> <thinker> <"), ("think", "a")]),
        ("ends with <thi", [("text", "ends with <thi")]),
        ("use `<think>` tags", [("text", "use `<think>` tags")]),
        ("``<think>`` and <think>a</think>.", [("text", "``<think>`` and "), ("think", "a"), ("text", ".")]),
        ("```\n<think>\n\nx</think>\n```\n<think>a", [("text", "```\n<think>\n\nx</think>\n```\n"), ("think", "a")]),
        ("a stray ` here\n\n<think>a</think>", [("text", "a stray ` here\n\n"), ("think", "a")]),
        ("  indented", [("text", "  indented")]),
        (" \n ", []),
    ],
)
def test_think_tags_are_routed(answer: str, expected: Pieces) -> None:
    assert split(answer) == expected
    assert split(*answer) == expected


_bits = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<thinking>",
        "</thinking>",
        "<",
        "<thi",
        ">",
        "`",
        "```",
        "\n",
        "\n\n",
        " ",
        "a",
        "é",
        "<T",
    ]
)


@given(st.lists(_bits, max_size=12), st.data())
def test_the_cuts_make_no_difference(bits: list[str], data: st.DataObject) -> None:
    answer = "".join(bits)
    places = sorted(data.draw(st.sets(st.integers(0, len(answer)))))
    chunks = [answer[start:end] for start, end in zip([0, *places], [*places, len(answer)], strict=True)]
    assert split(*chunks) == split(answer)


@given(st.lists(_bits, max_size=12))
def test_nothing_is_lost_but_tags_and_space(bits: list[str]) -> None:
    answer = "".join(bits)
    rest = iter(answer)
    for _, text in split(answer):
        for char in text:
            assert char in rest  # consumes: every character comes back, in order
    kept = "".join(text for _, text in split(answer))
    if "<think" not in answer.lower():
        assert kept.strip() == answer.strip()


def test_a_flush_gives_up_a_half_tag() -> None:
    splitter = ThinkTagSplitter()
    assert splitter.feed("a <thi") == [TextDelta("a ")]
    assert splitter.flush() == [TextDelta("<thi")]
    assert splitter.flush() == []
