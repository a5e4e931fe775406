"""Logs: structlog through the standard library's handlers, so that every library's lines have one shape."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Mapping
from typing import Any

import structlog


def _without_colours(logger: object, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Drop the copy of each line that uvicorn adds for terminals."""
    event.pop("color_message", None)
    return event


SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    _without_colours,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
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
            "filters": {"quiet_tasks": {"()": QuietTasks}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "one"}},
            "root": {"handlers": ["out"], "level": level.upper()},
            "loggers": {
                # Our own middleware writes one line a request, without query strings and addresses.
                "uvicorn.access": {"level": "WARNING"},
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.error": {"handlers": [], "propagate": True},
                **{name: {"filters": ["quiet_tasks"]} for name in TASK_LOGGERS},
                "httpx2": {"level": "WARNING"},
                "openai": {"level": "WARNING"},
                # A refused page is in the request's own line already.
                "django.request": {"level": "ERROR"},
                "django.channels.server": {"level": "WARNING"},
            },
        }
    )
