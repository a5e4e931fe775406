"""Logs say what happened, never what people wrote or who they are."""

import json
import logging

import httpx2
import pytest
import structlog

from tests.chat.clients import new_session, say
from tests.chat.served import broker, eventually, signed_in  # noqa: F401 -- a fixture

WORDS = "my-very-private-question"
ANSWER = "my-very-private-answer"


@pytest.fixture
def lines():
    """Everything that any logger says, in the product's own form."""
    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append(root.handlers[0].format(record) if root.handlers else record.getMessage())

    root = logging.getLogger()
    listener, level = Listener(), root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    yield said
    root.removeHandler(listener)
    root.setLevel(level)


def test_no_words_keys_or_addresses_of_people_are_logged(live, model, lines):
    session = new_session(live)
    say(live, session, f"{WORDS} {model.script('private', [{'reasoning': ANSWER}, {'text': ANSWER}])}")
    say(live, session, f"{WORDS} {model.script('broken', [{'status': 400, 'body': {'error': {'message': ANSWER}}}])}")
    httpx2.patch(f"{live.url}/api/chat/sessions/{session}/title", headers=live.owner.headers, json={"title": WORDS})
    httpx2.get(f"{live.url}/api/chat/sessions", headers=live.owner.headers, params={"search": WORDS})
    httpx2.post(f"{live.url}/api/chat/sessions/{session}/stream", headers=live.owner.headers, json={"message": [WORDS]})
    httpx2.get(f"{live.url}/api/chat/sessions", headers={"Authorization": f"Token {WORDS}"})
    signed_in(live.owner).get("/settings/tokens", {"q": WORDS})
    eventually(lambda: any('"request"' in line or "request" in line for line in lines))
    ours = [line for line in lines if "httpcore2" not in line and "django.db.backends" not in line]
    text = "\n".join(ours)
    assert len(ours) > 5
    for secret in (WORDS, ANSWER, live.owner.key, live.owner.user.email):
        assert secret not in text, [line for line in ours if secret in line][:3]


def test_a_request_is_one_line_without_ids_or_query(client, db, lines):
    client.get("/healthz?secret=1")
    client.get("/api/chat/sessions/00000000-0000-0000-0000-000000000000?secret=1")
    said = [line for line in lines if "duration_ms" in line]
    assert len(said) == 2
    assert "api/chat/sessions/<uuid:session_id>" in said[1]
    assert "401" in said[1]
    assert "secret" not in "".join(said)
    assert "00000000-0000" not in said[1].replace("request_id", "")


def test_lines_are_json_objects_with_a_time_and_a_level(capsys):
    from config.logs import SHARED

    last = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    record = logging.LogRecord("some.library", logging.WARNING, __file__, 1, "it %s", ("broke",), None)
    line = json.loads(last.format(record))
    assert (line["event"], line["level"], line["logger"]) == ("it broke", "warning", "some.library")
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_told_without_its_text(lines):
    def fail():
        try:
            raise KeyError(WORDS)
        except KeyError as error:
            raise ExceptionGroup(WORDS, [OSError(28, WORDS), ValueError(WORDS)]) from error

    try:
        fail()
    except ExceptionGroup as error:
        structlog.get_logger("config").exception("it_broke")
        logging.getLogger("some.library").exception("It broke")
        error.__cause__ = error  # a circle ends
        logging.getLogger("some.library").exception("It broke")
    assert len(lines) == 3
    for line in lines:
        assert WORDS not in line
        assert "in fail" in line
        assert "builtins.ExceptionGroup" in line
        assert "builtins.OSError (ENOSPC)" in line
        assert "builtins.ValueError" in line
    assert all("builtins.KeyError" in line for line in lines[:2])


def test_a_task_that_breaks_is_told_without_its_words(lines):
    from config.celery import app

    @app.task(name="tests.broken")
    def broken(word):
        raise ValueError(word)

    broken.apply([WORDS])
    app.tasks.unregister("tests.broken")
    told = [line for line in lines if "tests.broken" in line]
    assert len(told) == 1
    assert "ValueError" in told[0]
    assert "in broken" in told[0]
    assert WORDS not in told[0]


def test_a_tick_that_finds_nothing_is_not_told(caplog):
    from celery.app.trace import LOG_SUCCESS
    from celery.beat import logger as beat
    from celery.worker.strategy import logger as strategy

    trace = logging.getLogger("celery.app.trace")
    tick, other = "apps.library.tasks.fire_due_schedules", "apps.workspace.tasks.remove_strays"
    for logger in (beat, strategy, trace):
        logger.setLevel(logging.INFO)
    try:
        for name in (tick, other):
            facts = {"name": name, "id": "1", "runtime": 1, "return_value": None}
            beat.info("Scheduler: Sending due task %s (%s)", "some-name", name)
            strategy.info("Task %(name)s[%(id)s] received", facts, extra={"data": facts})
            trace.info(LOG_SUCCESS, facts, extra={"data": facts})
            trace.error("Task %(name)s[%(id)s] failed", facts)
        beat.info("beat: Starting...")
    finally:
        for logger in (beat, strategy, trace):
            logger.setLevel(logging.NOTSET)
    told = [record.getMessage() for record in caplog.records if tick in record.getMessage()]
    assert told == [f"Task {tick}[1] failed"]
    assert sum(other in record.getMessage() for record in caplog.records) == 4
    assert "beat: Starting..." in caplog.messages
