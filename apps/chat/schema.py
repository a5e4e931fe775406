"""The part of the OpenAPI schema that is written by hand: the stream endpoint, which DRF's views can't serve."""

from __future__ import annotations

from typing import Any

PATH = "/api/chat/sessions/{session_id}/stream"
ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
STREAM = {
    "description": "The AI SDK's UI message stream (`x-vercel-ai-ui-message-stream: v1`); ends with `data: [DONE]`.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}
SESSION = {"in": "path", "name": "session_id", "required": True, "schema": {"type": "string", "format": "uuid"}}
MESSAGE = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string", "minLength": 1, "maxLength": 64000},
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


def refusals(*codes: int) -> dict[str, Any]:
    """Return the answers of refused requests."""
    words = {400: "Bad input.", 401: "Not signed in.", 403: "CSRF.", 404: "Not found.", 409: "Busy.", 413: "Too large."}
    words |= {415: "Not JSON.", 429: "Too many requests.", 503: "Try again shortly."}
    return {str(code): {"description": words[code], "content": ERROR} for code in codes}


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
            "responses": {"200": STREAM, **refusals(400, 401, 403, 404, 409, 413, 415, 429, 503)},
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
