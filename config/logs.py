"""Logs: structlog through the standard library's handlers, so that every library's lines have one shape."""

from __future__ import annotations

import logging
import logging.config
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
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "one"}},
            "root": {"handlers": ["out"], "level": level.upper()},
            "loggers": {
                # Our own middleware writes one line a request, without query strings and addresses.
                "uvicorn.access": {"level": "WARNING"},
                "uvicorn": {"handlers": [], "propagate": True},
                "uvicorn.error": {"handlers": [], "propagate": True},
                "httpx2": {"level": "WARNING"},
                "openai": {"level": "WARNING"},
                # A refused page is in the request's own line already.
                "django.request": {"level": "ERROR"},
                "django.channels.server": {"level": "WARNING"},
            },
        }
    )
