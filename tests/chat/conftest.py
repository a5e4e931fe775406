"""People and conversations for tests of the chat's surface."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rest_framework.test import APIClient


@pytest.fixture
def stranger():
    """Somebody who isn't signed in."""
    return SimpleNamespace(user=None, client=APIClient(), headers={})
