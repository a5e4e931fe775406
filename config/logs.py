"""Logs: structlog through the standard library's handlers, so that every library's lines have one shape."""

from __future__ import annotations

import errno
import logging
import logging.config
import traceback
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import structlog


def _without_colours(logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Drop the copy of each line that uvicorn adds for terminals."""
    event.pop("color_message", None)
    return event


def _exception_without_words(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    """Tell where an exception came from and what it is, but not its text.

    That may quote what people wrote, an address or a key: a database's error names the values that it refuses.
    """
    return "\n".join(_lines_of(exc_info[1], set()))


def _lines_of(error: BaseException, told: set[int]) -> Iterator[str]:
    told.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if earlier is not None and id(earlier) not in told:
        yield from _lines_of(earlier, told)
        yield "which led to:" if error.__cause__ else "while that was handled:"
    yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
    code = errno.errorcode.get(error.errno or 0) if isinstance(error, OSError) else None
    yield f"{type(error).__module__}.{type(error).__qualname__}" + (f" ({code})" if code else "")
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield "of which one is:"
            yield from _lines_of(one, told)


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    _without_colours,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.ExceptionRenderer(_exception_without_words),
]


#: What Celery tells of each task that is sent, received and done, by logger; its warnings and errors stay.
TASK_LOGGERS = ("celery.beat", "celery.worker.strategy", "celery.app.trace")
#: Tasks that come every few seconds and mostly find nothing to do: they say themselves when they did something.
QUIET_TASKS = frozenset({"apps.library.tasks.fire_due_schedules"})


class QuietTasks(logging.Filter):
    """Leaves out that a task of `QUIET_TASKS` was sent, has come and is done."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is written."""
        if record.levelno > logging.INFO or not record.args:
            return True
        # One logger gives the names one by one, the others a mapping.
        names = [record.args.get("name")] if isinstance(record.args, Mapping) else record.args
        return QUIET_TASKS.isdisjoint(name for name in names if isinstance(name, str))


class TasksWithoutWords(logging.Filter):
    """Takes the exception's text out of what Celery says of a task that broke; its traceback follows anyway."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record that tells of one, and have it written."""
        if isinstance(record.args, Mapping) and "exc" in record.args:
            kind = record.exc_info[0] if record.exc_info else None
            record.args = {**record.args, "exc": kind.__name__ if kind else "an exception"}
            record.__dict__.pop("data", None)  # Celery's copy of all that it knows
        return True


def logging_config(form: str, level: str) -> None:
    """Set up logging for this process.

    Args:
        form: `json` for machines, `console` for people.
        level: The least severe level that is written.
    """
    last = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "one": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": SHARED,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
                }
            },
            "filters": {"quiet_tasks": {"()": QuietTasks}, "without_words": {"()": TasksWithoutWords}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "one"}},
            "root": {"handlers": ["out"], "level": level.upper()},
            "loggers": {
                # Our own middleware writes one line a request, without query strings and addresses.
                "uvicorn.access": {"level": "WARNING"},
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.error": {"handlers": [], "propagate": True},
                **{name: {"filters": ["quiet_tasks", "without_words"]} for name in TASK_LOGGERS},
                "httpx2": {"level": "WARNING"},
                "openai": {"level": "WARNING"},
                # A refused page is in the request's own line already.
                "django.request": {"level": "ERROR"},
                "django.channels.server": {"level": "WARNING"},
            },
        }
    )
