"""Reading the container's limit and this process's memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apps.chat.agents.memory import memory_limit_bytes, resident_bytes


@pytest.mark.parametrize(
    ("text", "limit"), [("536870912\n", 536870912), ("max\n", None), ("0\n", None), ("", None), ("soon", None)]
)
def test_the_limit_of_version_2_of_control_groups(tmp_path: Path, text: str, limit: int | None) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert memory_limit_bytes(tmp_path) == limit


@pytest.mark.parametrize(("text", "limit"), [("1073741824\n", 1073741824), ("9223372036854771712\n", None)])
def test_the_limit_of_version_1_of_control_groups(tmp_path: Path, text: str, limit: int | None) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(text)
    assert memory_limit_bytes(tmp_path) == limit


def test_there_is_no_limit_without_control_groups(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) is None


def test_resident_memory_is_counted_in_pages(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("1000 300 20 1 0 100 0\n")
    assert resident_bytes(statm) == 300 * os.sysconf("SC_PAGE_SIZE")
    assert resident_bytes(tmp_path / "none") is None


def test_this_process_uses_memory() -> None:
    used = resident_bytes()
    assert used is not None
    assert 1_000_000 < used < 1 << 40
