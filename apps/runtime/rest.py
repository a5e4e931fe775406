"""What every API view shares: bounded JSON bodies, strict serializers, pages of lists."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.utils.http import parse_header_parameters
from rest_framework import exceptions, serializers, status
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.throttling import UserRateThrottle

from apps.runtime.redis import RedisError

MAX_BODY_BYTES = 1024 * 1024
MAX_JSON_DEPTH = 64


class BoundedJSONParser(JSONParser):
    """DRF's parser with a bound on size and depth: hostile bodies get a 400 or 413, never a stack overflow."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: When it isn't JSON, or is nested too deep.
            BodyTooLarge: When it is over `MAX_BODY_BYTES`.
            UnsupportedMediaType: When it is said to be in another encoding than UTF-8. Python has codecs that unpack,
                and a body of 1 MiB could become one of 1 GiB.
        """
        _, options = parse_header_parameters(media_type or "")
        if options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
            raise exceptions.UnsupportedMediaType(media_type or "")
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            parsed = super().parse(io.BytesIO(raw), media_type, {**(parser_context or {}), "encoding": "utf-8"})
        except (RecursionError, UnicodeDecodeError) as error:
            raise exceptions.ParseError("The body is not readable JSON.") from error
        check_json(parsed)
        return parsed


class PatientThrottle(UserRateThrottle):
    """DRF's throttle, which counts in Redis; while Redis is away nobody is refused."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Return whether this request is within the rate."""
        try:
            return bool(super().allow_request(request, view))
        except RedisError:
            return True


def caller_id(request: Request) -> UUID:
    """Return the id of the person who sent a request that passed the permissions."""
    assert request.user.pk is not None
    return request.user.pk


class BodyTooLarge(exceptions.APIException):
    """A body over the limit."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The body is too large; at most 1 MiB is taken."
    default_code = "too_large"


def check_json(value: Any, depth: int = 0) -> None:
    """Refuse JSON that a database or a serializer would choke on.

    Raises:
        ParseError: When it is nested deeper than `MAX_JSON_DEPTH`, its text has NUL characters or lone surrogates, or
            a number is larger than any that JSON can be written with again.
    """
    if depth > MAX_JSON_DEPTH:
        raise exceptions.ParseError("The body is nested too deep.")
    if isinstance(value, str):
        # PostgreSQL's text can hold neither.
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise exceptions.ParseError("Text may not contain NUL characters or lone surrogates.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise exceptions.ParseError("A number is too large.")  # 1e999 is read as infinity, which isn't JSON
    elif isinstance(value, dict):
        for key, item in value.items():
            check_json(key, depth + 1)
            check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)


class StrictSerializer(serializers.Serializer):
    """A serializer that names unknown keys instead of ignoring them."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated values.

        Raises:
            ValidationError: Also for every key that no field has.
        """
        if isinstance(data, Mapping) and (unknown := set(data) - set(self.fields)):
            raise serializers.ValidationError({str(key): ["Unknown field."] for key in sorted(unknown, key=str)})
        return super().to_internal_value(data)


class RefusalSerializer(serializers.Serializer):
    """Why something was refused; what a domain error's `body()` holds. A 404 names no code."""

    detail = serializers.CharField()
    code = serializers.CharField(required=False)


class PageQuerySerializer(serializers.Serializer):
    """`limit` and `offset` of a list."""

    limit = serializers.IntegerField(min_value=1, max_value=100, default=50, help_text="Rows a page.")
    offset = serializers.IntegerField(min_value=0, max_value=10**9, default=0, help_text="Rows to pass over.")

    @classmethod
    def read(cls, request: Request) -> Any:
        """Return the query's validated values.

        Raises:
            ValidationError: When one can't be used.
        """
        query = cls(data=request.query_params)
        query.is_valid(raise_exception=True)
        return query.validated_data
