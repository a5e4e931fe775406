"""Reading what a client sends over the websocket."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from rest_framework.exceptions import ParseError, ValidationError

from apps.chat.serializers import read_place
from apps.runtime.errors import Invalid
from apps.runtime.eventlog import EventId
from apps.runtime.rest import check_json

MOST_FRAME_BYTES = 1024 * 1024


class BadFrame(Invalid):
    """This frame can't be understood."""

    code = "bad_frame"


def uuid_of(frame: dict[str, Any], name: str, *, required: bool = True) -> Any:
    """Return a field as a UUID, or None when it may be absent and is.

    Raises:
        BadFrame: When it is no UUID.
    """
    value = frame.get(name)
    if value is None and not required:
        return None
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise BadFrame(f"{name} must be a UUID.") from error


def event_id_of(frame: dict[str, Any]) -> EventId:
    """Return `after` as an event id; the beginning when it is absent.

    Raises:
        BadFrame: When it is none.
    """
    try:
        return read_place(frame.get("after"))
    except ValueError as error:
        raise BadFrame("after must be an event id.") from error


def first_problem(error: ValidationError) -> str:
    """Return a sentence about the first field that can't be used."""
    details: Any = error.get_full_details()
    name, problems = next(iter(details.items()))
    return f"{name}: {problems[0]['message'] if isinstance(problems, list) else 'not usable.'}"


def read_frame(text_data: str | None, bytes_data: bytes | None) -> dict[str, Any]:
    """Return a frame as an object.

    Raises:
        BadFrame: When it is none.
    """
    if text_data is None or len(text_data) > MOST_FRAME_BYTES:
        raise BadFrame("A frame is a JSON text of at most 1 MiB.")
    try:
        frame = msgspec.json.decode(text_data)
        check_json(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadFrame("This frame is not readable JSON.") from error
    except ParseError as error:
        raise BadFrame("This frame is nested too deep, or has characters that can't be stored.") from error
    if not isinstance(frame, dict):
        raise BadFrame("A frame is a JSON object.")
    return frame
