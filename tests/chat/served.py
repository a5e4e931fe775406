"""The product behind a real web server, with turns that start without a broker: quicker, for tests of the web side.

A module that does `from tests.chat.served import broker` gets it with the fixture `live`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from django.test import Client


@pytest.fixture
def broker(transactional_db) -> Iterator[None]:
    """Celery runs each task where it is sent."""
    from config.celery import app

    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def eventually(check: Callable[[], Any], timeout: float = 10) -> Any:
    """Return what a check returns as soon as it is true."""
    deadline = time.monotonic() + timeout
    while not (found := check()):
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.02)
    return found


def stream_url(live: Any, session: str) -> str:
    return f"{live.url}/api/chat/sessions/{session}/stream"


def stop(live: Any, session: str) -> dict[str, Any]:
    answer = httpx2.post(f"{live.url}/api/chat/sessions/{session}/cancel", headers=live.owner.headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def signed_in(person: Any, **options: Any) -> Client:
    """Return a person's browser."""
    browser = Client(**options)
    browser.force_login(person.user)
    return browser


def place(event_id: str) -> tuple[int, int]:
    major, number = event_id.split("-")
    return int(major), int(number)
