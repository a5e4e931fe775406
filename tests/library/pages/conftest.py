"""Signed-in browsers of three people."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.chat.served import signed_in


@pytest.fixture
def browser(owner) -> Client:
    """The owner's browser."""
    return signed_in(owner)


@pytest.fixture
def their_browser(teammate) -> Client:
    """The team-mate's browser."""
    return signed_in(teammate)
