"""A question of a run as a form: what it is about can be changed before it is approved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from rest_framework.exceptions import ParseError

from apps.library.models import Execution, Review
from apps.runtime.rest import check_json

MOST_TEXT = 200_000


class Unreadable(Exception):
    """What was typed isn't what the question is about; the message says why."""


@dataclass(slots=True)
class Question:
    """A question, with what a person typed so far."""

    review: Review
    typed: str | None = None
    typed_message: str = ""
    error: str = ""

    @property
    def pk(self) -> UUID:
        """Its id."""
        return self.review.pk

    @property
    def execution(self) -> Execution:
        """The run that asks."""
        return self.review.execution

    @property
    def execution_id(self) -> UUID:
        """The id of that run."""
        return self.review.execution_id

    @property
    def instructions(self) -> str:
        """What is asked."""
        return self.review.instructions

    @property
    def created_at(self) -> datetime:
        """When it was asked."""
        return self.review.created_at

    @property
    def payload(self) -> Any:
        """What it is about."""
        return self.review.payload

    @property
    def is_editable(self) -> bool:
        """Whether that may be changed."""
        return self.review.is_editable

    @property
    def is_text(self) -> bool:
        """Whether that is a plain text and not JSON."""
        return isinstance(self.review.payload, str)

    @property
    def editable(self) -> str:
        """What the text field holds."""
        return self.original if self.typed is None else self.typed

    @property
    def original(self) -> str:
        """What the text field held at first."""
        payload = self.review.payload
        return payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, indent=2)

    def changed(self) -> Any:
        """Return what is to be approved instead of what was asked about; None when nothing was changed.

        Raises:
            Unreadable: When it can't be read.
        """
        if not self.is_editable or self.typed is None:
            return None
        # Browsers send lines ended as the network has them.
        typed = self.typed.replace("\r\n", "\n")
        if typed == self.original.replace("\r\n", "\n"):
            return None
        if len(typed) > MOST_TEXT or "\x00" in typed:
            raise Unreadable("This is too long." if len(typed) > MOST_TEXT else "This isn't text.")
        if self.is_text:
            return typed
        try:
            found = json.loads(typed)
            check_json(found)
        except RecursionError:
            raise Unreadable("This is nested too deep.") from None
        except ParseError as error:
            raise Unreadable(str(error.detail)) from None
        except ValueError as error:
            place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            raise Unreadable(f"This isn't JSON{place}.") from None
        if found is None:
            raise Unreadable("This can't be null.")
        return None if found == self.review.payload else found
