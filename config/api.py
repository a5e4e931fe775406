"""The one handler that gives errors of every API view their status and shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from apps.library.webhooks.errors import BadSignature
from apps.runtime import errors
from apps.runtime.rest import BodyTooLarge
from apps.workspace.errors import TooLarge

logger = structlog.get_logger(__name__)

#: HTTP status of each kind of domain error; a class's own entry wins over its bases'.
STATUS_OF: Mapping[type[errors.DomainError], int] = {
    BadSignature: status.HTTP_401_UNAUTHORIZED,
    errors.NotFound: status.HTTP_404_NOT_FOUND,
    errors.Invalid: status.HTTP_400_BAD_REQUEST,
    errors.PaymentRequired: status.HTTP_402_PAYMENT_REQUIRED,
    errors.Conflict: status.HTTP_409_CONFLICT,
    errors.LimitReached: status.HTTP_429_TOO_MANY_REQUESTS,
    errors.Unavailable: status.HTTP_503_SERVICE_UNAVAILABLE,
    TooLarge: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
}
RETRY_AFTER_SECONDS = 5


def error_status(error: errors.DomainError) -> int:
    """Return the HTTP status of a domain error."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return STATUS_OF[kind]
    return status.HTTP_500_INTERNAL_SERVER_ERROR


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Turn what a view raised into an answer; None lets it become a 500."""
    if isinstance(error, errors.DomainError):
        code = error_status(error)
        after = error.retry_after_seconds if isinstance(error, errors.LimitReached) else None
        return Response(error.body(), status=code, headers=retry_headers(code, after))
    if isinstance(error, OperationalError | InterfaceError):
        # A database that restarts; the caller may come again, and the log says why.
        logger.warning("database_unreachable", error=type(error).__name__)
        gone = errors.Unavailable("The database can't be reached right now; try again shortly.")
        return Response(gone.body(), status=503, headers=retry_headers(503))
    if isinstance(error, Http404):
        return Response({"detail": "Not found."}, status=status.HTTP_404_NOT_FOUND)
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        error = BodyTooLarge()
    return drf_exception_handler(error, dict(context))


def retry_headers(code: int, after_seconds: int | None = None) -> dict[str, str]:
    """Return the headers that tell a refused caller when to come again; soon, where nobody knows."""
    return {"Retry-After": str(after_seconds or RETRY_AFTER_SECONDS)} if code in {429, 503} else {}


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown address: JSON below `/api/`, a page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=status.HTTP_404_NOT_FOUND)
    return page_not_found(request, exception)
