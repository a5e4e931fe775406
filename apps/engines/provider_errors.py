"""What a model server's failures mean. Nothing of a server's own text is passed on: it may quote a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from types import ModuleType

from apps.engines.base import BrokenStream, ContextTooLong, EngineError, ModelRefused, ModelUnreachable

# Besides 5xx, the statuses that mean "not now": 409 and 425 are answered to requests that overtook each other.
_TRANSIENT_STATUSES = {408, 409, 425, 429}
_TOO_LONG_STATUSES = {400, 413, 422}
_FIRST_SERVER_ERROR = 500

_TOO_LONG_CODES = {"context_length_exceeded", "request_too_large", "string_above_max_length"}
_TRANSIENT_CODES = {
    "rate_limit_exceeded",
    "rate_limit_error",
    "server_error",
    "overloaded_error",
    "api_error",
    "timeout",
    "timeout_error",
    "internal_error",
    "internal_server_error",
    "service_unavailable",
}
_REFUSED_CODES = {
    "insufficient_quota",
    "billing_error",
    "invalid_request_error",
    "invalid_api_key",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "model_not_found",
    "content_policy_violation",
}
# How OpenAI, OpenRouter, Anthropic, Google, vLLM, llama.cpp and Ollama put it.
_TOO_LONG_WORDS = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum (context|prompt)|(prompt|input|request) is too long"
    r"|too many (input )?tokens|(input|prompt) token (count|limit)|reduce the length",
    re.IGNORECASE,
)

_REFUSALS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "The model's provider didn't accept the key.",
    HTTPStatus.PAYMENT_REQUIRED: "The account at the model's provider has no credit left.",
    HTTPStatus.FORBIDDEN: "The key isn't allowed to use this model.",
    HTTPStatus.NOT_FOUND: "The model's provider doesn't know this model.",
}
_QUOTA = "The account at the model's provider has no credit left."


def translate(error: Exception, *, sdk: ModuleType, streaming: bool) -> EngineError:
    """Say what a failure of an SDK means.

    Args:
        error: What the SDK raised; a ValueError is JSON or text that couldn't be read or written.
        sdk: The module `openai` or `anthropic`, which name their errors alike.
        streaming: Whether the answer had begun, so that a lost connection has broken it off.
    """
    import httpx2

    if isinstance(error, sdk.APIStatusError):
        # An error within a stream comes with the stream's own status, which is no error.
        failed = error.status_code >= HTTPStatus.BAD_REQUEST
        return from_error_object(error.body, status=error.status_code if failed else None)
    if isinstance(error, sdk.APIConnectionError | httpx2.HTTPError):
        return BrokenStream() if streaming else ModelUnreachable()
    if isinstance(error, sdk.APIError) and not isinstance(error, sdk.APIResponseValidationError):
        return from_error_object(error.body)  # an error object within the stream
    return BrokenStream() if streaming else ModelRefused("The request to the model could not be written.")


def from_error_object(body: object, *, status: int | None = None) -> EngineError:
    """Say what an error object means, from its HTTP status, or from its own code when it came within a stream.

    Args:
        body: The decoded `error` object, or anything else a server sent instead of it.
        status: The response's status, if the error was a response of its own.
    """
    codes, message = _codes_and_message(body)
    if status is None:
        status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), None)
    if _is_too_long(status, codes, message):
        return ContextTooLong(status=status)
    if "insufficient_quota" in codes:  # OpenAI answers it with 429, but waiting doesn't help
        return ModelRefused(_QUOTA, status=status)
    if status is not None:
        if status >= _FIRST_SERVER_ERROR or status in _TRANSIENT_STATUSES:
            return ModelUnreachable(status=status)
        return ModelRefused(_REFUSALS.get(status, ""), status=status)
    if codes & _TRANSIENT_CODES:
        return ModelUnreachable()
    return ModelRefused() if codes & _REFUSED_CODES else BrokenStream()


def _is_too_long(status: int | None, codes: set[str], message: str) -> bool:
    if codes & _TOO_LONG_CODES or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True
    return (status is None or status in _TOO_LONG_STATUSES) and bool(_TOO_LONG_WORDS.search(message))


def _codes_and_message(body: object) -> tuple[set[str], str]:
    """Return what names the failure (code, type, status) and the text that may tell more."""
    if isinstance(body, str):
        return set(), body
    if not isinstance(body, Mapping):
        return set(), ""
    inner = body.get("error")
    if isinstance(inner, Mapping | str):  # servers that wrap it once more
        return _codes_and_message(inner)
    codes = {str(body[key]) for key in ("code", "type", "status") if isinstance(body.get(key), str | int)}
    metadata = body.get("metadata")
    # OpenRouter keeps the upstream provider's own words here, behind "Provider returned error".
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return codes, " ".join(text for text in (body.get("message"), raw) if isinstance(text, str))
