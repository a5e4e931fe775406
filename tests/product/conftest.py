"""The product as `make run` starts it."""

from __future__ import annotations

from tests.ops.conftest import installation  # noqa: F401 -- a fixture
