"""Three people and the running product, for every test."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import hypothesis
import pytest
import uvicorn
from django.db import connections
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.accounts.services import create_api_token
from apps.engines.demo.running import DemoHandle, running_demo
from config.web import server_config
from tests.services import free_port

PASSWORD = "correct horse battery staple"


def make_person(email: str) -> SimpleNamespace:
    """Return a stored user with an API token and a client that uses it."""
    user = User.objects.create_user(email, PASSWORD)
    _, key = create_api_token(user=user, name="tests")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {key}")
    return SimpleNamespace(user=user, key=key, client=client, headers={"Authorization": f"Token {key}"})


@pytest.fixture
def owner(db):
    """Whose things the tests are about."""
    return make_person("owner@example.com")


@pytest.fixture
def teammate(db):
    """Somebody else of the same installation."""
    return make_person("teammate@example.com")


@pytest.fixture(scope="session")
def model() -> Iterator[DemoHandle]:
    """The scripted model server, over real HTTP."""
    with running_demo(words_per_second=0) as handle:
        yield handle


class WebServer:
    """The whole ASGI application behind a real uvicorn, on a thread."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Serve; once more on the same port after `stop`."""
        config = server_config(port=self.port)
        config.timeout_graceful_shutdown = 2
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 20
        while not self.server.started:
            if time.monotonic() > deadline or not self.thread.is_alive():
                raise RuntimeError("the web server did not start")
            time.sleep(0.01)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/chat/"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="session")
def web_server() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.stop()


@pytest.fixture
def makes_titles() -> bool:
    """Whether first turns have titles made beside them; a module about titles says True."""
    return False


@pytest.fixture
def turns(transactional_db, settings, model, makes_titles, monkeypatch) -> Iterator[SimpleNamespace]:
    """A worker's loop with its turns in this process, fed by Celery tasks that run as they are sent."""
    from apps.chat import process
    from apps.chat.turns.title import TitleMaker

    if not makes_titles:
        monkeypatch.setattr(TitleMaker, "begin", lambda self, turn: None)
    settings.DEMO_MODEL_URL = model.url
    settings.LEASE_RENEW_SECONDS = 0.5
    settings.LEASE_SWEEP_SECONDS = 0.5
    settings.SHUTDOWN_GRACE_SECONDS = 2
    model.clear()
    thread, running = process.start()
    yield SimpleNamespace(thread=thread, process=running, worker=running.worker)
    process.stop(2)


@pytest.fixture
def broker(transactional_db) -> Iterator[None]:
    """A real Celery worker on a thread, behind the real broker."""
    from celery.contrib.testing.worker import start_worker

    from config.celery import app

    app.control.purge()
    with start_worker(
        app, pool="threads", concurrency=4, perform_ping_check=False, queues=["turns", "default"], shutdown_timeout=20
    ):
        yield


@pytest.fixture
def live(web_server, turns, broker, owner) -> SimpleNamespace:
    """The product, ready to be used over HTTP and websockets by `owner`."""
    return SimpleNamespace(url=web_server.url, ws_url=web_server.ws_url, turns=turns, owner=owner, server=web_server)


@pytest.fixture(autouse=True)
def close_thread_connections() -> Iterator[None]:
    """Give connections of this thread back, so that the database can be flushed and dropped."""
    yield
    with suppress(RuntimeError):
        connections.close_all()


hypothesis.settings.register_profile("suite", max_examples=200, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=3000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))
