"""What the tests of blocks share."""

from __future__ import annotations

import pytest

from apps.runtime.children import close_children


@pytest.fixture(scope="session", autouse=True)
def end_children():
    """Children serve all tests of the process, as they serve all runs of a worker."""
    yield
    close_children()
