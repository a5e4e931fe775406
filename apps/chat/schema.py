"""The part of the OpenAPI schema that is written by hand: the stream endpoint, which DRF's views can't serve."""

from __future__ import annotations

from typing import Any

PATH = "/api/chat/sessions/{session_id}/stream"
ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
EVENT = {  # what one frame holds
    "type": "object",
    "required": ["data"],
    "properties": {
        "id": {"type": "string", "description": "Where a client that comes back goes on."},
        "data": {"type": "string", "description": "A chunk as JSON; `[DONE]` at the end."},
    },
}
STREAM = {
    "description": "The AI SDK's UI message stream (`x-vercel-ai-ui-message-stream: v1`); ends with `data: [DONE]`.",
    "content": {"text/event-stream": {"schema": EVENT}},
}
QUEUED = {
    "description": "A turn is in flight; the message waits and enters it between two steps, or starts the next one.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["buffer_length", "max_buffer_length", "turn_in_flight"],
                "properties": {
                    "buffer_length": {"type": "integer"},
                    "max_buffer_length": {"type": "integer"},
                    "turn_in_flight": {"type": "boolean"},
                },
            }
        }
    },
}
SESSION = {"in": "path", "name": "session_id", "required": True, "schema": {"type": "string", "format": "uuid"}}
MESSAGE = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string", "minLength": 1, "maxLength": 64000, "pattern": "\\S"},
        "context": {
            "type": "object",
            "nullable": True,
            "properties": {
                "url": {"type": "string", "maxLength": 2000},
                "content": {"type": "string", "maxLength": 32000},
            },
        },
        "file_ids": {"type": "array", "maxItems": 20, "items": {"type": "string", "format": "uuid"}},
        "mode": {"type": "string", "enum": ["fast", "extended_thinking"]},
        "model": {"type": "string", "enum": ["standard", "advanced"]},
        "client_message_id": {"type": "string", "format": "uuid"},
    },
}

#: Bad fields come as field → messages, a body that is no JSON as `detail`.
BAD_INPUT = {"application/json": {"schema": {"type": "object", "additionalProperties": {}}}}
REFUSALS = {
    400: "Bad input.",
    401: "Not signed in.",
    403: "CSRF.",
    404: "Unknown, deleted or somebody else's.",
    406: "No such format.",
    413: "Too large.",
    415: "Not JSON.",
    429: "Too many requests.",
    503: "Try again shortly.",
}


def refusals(*codes: int) -> dict[str, Any]:
    """Return the answers of refused requests."""
    return {
        str(code): {"description": REFUSALS[code], "content": BAD_INPUT if code == 400 else ERROR} for code in codes
    }


def add_refusals(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add to every operation the refusals that any of them may give."""
    for path, operations in result["paths"].items():
        for operation in operations.values():
            codes = [400, 401, 403, 429, 503]
            codes += [413, 415] if "requestBody" in operation else []
            codes += [404] if "{" in path else []
            for code, answer in refusals(*codes).items():
                operation["responses"].setdefault(code, answer)
    return result


def add_stream_endpoint(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the stream endpoint to the generated schema."""
    security: list[dict[str, list[str]]] = [{"ApiToken": []}, {"cookieAuth": []}]
    result["paths"][PATH] = {
        "post": {
            "operationId": "chat_sessions_stream_create",
            "description": "Send a message; the answer is the turn's stream. A client that goes away stops nothing.",
            "tags": ["chat"],
            "security": security,
            "parameters": [SESSION],
            "requestBody": {"required": True, "content": {"application/json": {"schema": MESSAGE}}},
            "responses": {
                "200": STREAM,
                "202": QUEUED,
                **refusals(400, 401, 403, 404, 413, 415, 429, 503),
            },
        },
        "get": {
            "operationId": "chat_sessions_stream_retrieve",
            "description": "Follow the active turn, from the beginning or after an event.",
            "tags": ["chat"],
            "security": security,
            "parameters": [
                SESSION,
                {"in": "query", "name": "after", "schema": {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,15}$"}},
                {"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"}},
            ],
            "responses": {
                "200": STREAM,
                "204": {"description": "No turn is active."},
                **refusals(400, 401, 404, 429, 503),
            },
        },
    }
    return result
