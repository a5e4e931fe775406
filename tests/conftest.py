"""Three people and the running product, for every test."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest
import uvicorn
from django.db import connection, connections, transaction
from django.test import TransactionTestCase
from rest_framework.test import APIClient
from servestatic.middleware import ServeStaticMiddleware

from apps.accounts.models import User
from apps.accounts.services import create_api_token
from apps.engines.demo.running import DemoHandle, running_demo
from config.web import server_config
from tests.depth import depth
from tests.services import free_port

#: How long a test that is marked `long` may take before it counts as stuck.
LONG_SECONDS = depth(quick=600, full=600, deep=7200)

PASSWORD = "correct horse battery staple"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests: one that began last would keep a single processor busy while the others are done.

    They may take as long as they need, on a busy machine and in depth, but not for ever.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: looking through it took a tenth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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


#: What migrations put in, and no test takes out.
KEPT_TABLES = {"django_content_type", "auth_permission"}


@pytest.fixture(scope="session", autouse=True)
def look_for_static_files_once() -> Iterator[None]:
    """Look for the files of pages once: each test client makes middleware of its own, which would do so anew."""
    look = ServeStaticMiddleware.add_files_from_finders
    first: list[ServeStaticMiddleware] = []

    def add_files(middleware: ServeStaticMiddleware) -> None:
        if first:
            middleware.files.update(first[0].files)
            middleware.directories[:] = first[0].directories
        else:
            look(middleware)
            first.append(middleware)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", add_files)
        yield


@pytest.fixture(scope="session", autouse=True)
def empty_tables_quickly() -> Iterator[None]:
    """Empty tables after tests with real transactions by DELETE, whose foreign keys are checked at the commit.

    Django's own way truncates, which makes PostgreSQL write new files for each table, and then fills in again what
    migrations put in: together most of such a test's time.
    """

    def empty_tables(case: TransactionTestCase) -> None:
        tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
        with transaction.atomic(), connection.cursor() as cursor:
            for table in set(tables) - KEPT_TABLES:
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")  # noqa: S608 -- our own tables

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture(autouse=True)
def close_thread_connections() -> Iterator[None]:
    """Give connections of this thread back, so that the database can be flushed and dropped."""
    yield
    with suppress(RuntimeError):
        connections.close_all()
