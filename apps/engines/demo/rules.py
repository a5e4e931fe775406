"""What the real servers refuse: each function returns what is wrong with a request, or an empty text."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from apps.engines.demo.signatures import is_redacted, sign
from apps.engines.routes import is_anthropic

MOST_MARKS = 4
LEAST_BUDGET_TOKENS = 1_024
MOST_IMAGES = 100
MOST_IMAGE_BYTES = 20 * 1024 * 1024
ANTHROPIC_IMAGE_CHARACTERS = 5 * 1024 * 1024  # of one image, in base64
IMAGE_STARTS: Mapping[str, bytes | tuple[bytes, ...]] = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": b"RIFF",
}
_THOUGHTS = {"thinking", "redacted_thinking"}
_ANTHROPIC_FIELDS = {"cache_control", "reasoning"}


class _Wrong(Exception):
    """A request that is refused; the text says why."""


def openai_violation(body: Mapping[str, Any]) -> str:
    """Return why a chat completions request is refused, or an empty text."""
    return _violation(_check_openai, body)


def anthropic_violation(body: Mapping[str, Any]) -> str:
    """Return why a request of the Messages API is refused, or an empty text."""
    return _violation(_check_anthropic, body)


def _violation(check: Callable[[Mapping[str, Any]], None], body: Mapping[str, Any]) -> str:
    try:
        check(body)
    except _Wrong as wrong:
        return str(wrong)
    except (KeyError, TypeError, AttributeError):
        return "the request has not the shape of one"
    return ""


def _check_openai(body: Mapping[str, Any]) -> None:
    _check_fields(body)
    for message in body["messages"]:
        _check_openai_images(message)
    _check_openai_calls([message for message in body["messages"] if isinstance(message, Mapping)])


def _check_anthropic(body: Mapping[str, Any]) -> None:
    _check_budget(body)
    _check_marks(body)
    messages = [(message["role"], _blocks(message["content"])) for message in body["messages"]]
    for blocks in (_blocks(body.get("system", [])), *(blocks for _, blocks in messages)):
        _check_texts(blocks)
    _check_images(messages)
    _check_roles(messages)
    _check_anthropic_calls(messages)
    _check_thoughts(messages)
    if _thinks(body):
        _check_loop(messages)


def _check_fields(body: Mapping[str, Any]) -> None:
    if is_anthropic(str(body.get("model", ""))):
        return
    found = _ANTHROPIC_FIELDS & {key for part in _parts(body) for key in part}
    if found:
        raise _Wrong(f"unknown field: {', '.join(sorted(found))}")


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every object that may carry a field of another provider's."""
    yield body
    for group in ("messages", "tools"):
        for part in body.get(group) or ():
            yield part
            content = part.get("content") if isinstance(part, Mapping) else None
            yield from (block for block in content if isinstance(block, Mapping)) if isinstance(content, list) else ()


def _check_openai_calls(messages: Sequence[Mapping[str, Any]]) -> None:
    waiting: set[str] = set()
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                raise _Wrong("a tool message follows no call of its id")
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            raise _Wrong("an assistant message with tool_calls must be followed by a tool message for each")
        if message.get("role") == "assistant":
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
            if not waiting and not message.get("content"):
                raise _Wrong("an assistant message needs content or tool_calls")
    if waiting:
        raise _Wrong("tool_calls at the end have no tool messages")


def _thinks(body: Mapping[str, Any]) -> bool:
    return body.get("thinking", {}).get("type") in {"enabled", "adaptive"}


def _check_budget(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("max_tokens"), int) or body["max_tokens"] < 1:
        raise _Wrong("max_tokens: field required")
    if body.get("thinking", {}).get("type") != "enabled":
        return
    budget = body["thinking"].get("budget_tokens")
    if not isinstance(budget, int) or budget < LEAST_BUDGET_TOKENS:
        raise _Wrong(f"thinking.budget_tokens must be at least {LEAST_BUDGET_TOKENS}")
    if body["max_tokens"] <= budget:
        raise _Wrong("max_tokens must be greater than thinking.budget_tokens")


def _check_marks(body: Mapping[str, Any]) -> None:
    blocks = [*body.get("tools", []), *_blocks(body.get("system", []))]
    for message in body["messages"]:
        blocks += _blocks(message["content"])
    marked = [block for block in blocks if "cache_control" in block]
    if len(marked) > MOST_MARKS:
        raise _Wrong(f"a maximum of {MOST_MARKS} blocks with cache_control may be provided, found {len(marked)}")
    if any(block.get("type") in _THOUGHTS for block in marked):
        raise _Wrong("thinking blocks can't have cache_control")


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content)


def _check_texts(blocks: Sequence[Mapping[str, Any]]) -> None:
    if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
        raise _Wrong("text content blocks must contain non-whitespace text")


def _check_openai_images(message: Any) -> None:
    """Check that images come from users, as data URLs that hold what they say or as addresses."""
    content = message.get("content") if isinstance(message, Mapping) else None
    for part in content if isinstance(content, list) else ():
        if part["type"] != "image_url":
            continue
        if message["role"] != "user":
            raise _Wrong("image_url is only allowed for messages with role 'user'")
        url = part["image_url"]["url"]
        head, _, data = url.partition(";base64,")
        if head.startswith("data:"):
            _check_image(head.removeprefix("data:"), data, MOST_IMAGE_BYTES)
        elif not url.startswith("https://"):
            raise _Wrong("image_url must be a URL or a data URL")


def _check_images(messages: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    images = [(role, block) for role, blocks in messages for block in blocks if block["type"] == "image"]
    if len(images) > MOST_IMAGES:
        raise _Wrong(f"too many images: {len(images)} > {MOST_IMAGES}")
    for role, block in images:
        if role != "user":
            raise _Wrong("image blocks belong in user messages")
        source = block["source"]
        if source["type"] != "base64":
            raise _Wrong("image.source.type: must be base64")
        if len(source["data"]) > ANTHROPIC_IMAGE_CHARACTERS:
            raise _Wrong(f"image exceeds 5 MB maximum: {len(source['data'])} bytes > {ANTHROPIC_IMAGE_CHARACTERS}")
        _check_image(source["media_type"], source["data"], MOST_IMAGE_BYTES)


def _check_image(media_type: str, data: str, most: int) -> None:
    starts = IMAGE_STARTS.get(media_type)
    if starts is None:
        raise _Wrong(f"image: the media type must be one of {', '.join(IMAGE_STARTS)}")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise _Wrong("image: the data is not valid base64") from error
    if not content.startswith(starts):
        raise _Wrong(f"image: the data does not appear to be {media_type}")
    if len(content) > most:
        raise _Wrong("image: the data is too large")


def _check_roles(messages: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    if not messages or messages[0][0] != "user":
        raise _Wrong("the first message must use the user role")
    if any(role not in {"user", "assistant"} for role, _ in messages):
        raise _Wrong("a role is user or assistant")
    if any(before[0] == after[0] for before, after in pairwise(messages)):
        raise _Wrong("roles must alternate between user and assistant")
    if any(not blocks for _, blocks in messages):
        raise _Wrong("all messages must have non-empty content")
    if messages[-1][0] != "user":
        raise _Wrong("the conversation must end with a user message")


def _check_anthropic_calls(messages: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    waiting: list[str] = []
    seen: set[str] = set()
    for role, blocks in messages:
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            raise _Wrong("each tool_use block must have its tool_result block at the beginning of the next message")
        if any(block["type"] != "tool_result" for block in blocks[: len(results)]):
            raise _Wrong("tool_result blocks come first in their message")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use" and role == "assistant"]
        if seen & set(waiting) or len(set(waiting)) < len(waiting):
            raise _Wrong("tool_use ids must be unique")
        seen |= set(waiting)
    if waiting:
        raise _Wrong("tool_use blocks at the end have no tool_result")


def _check_thoughts(messages: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    for role, blocks in messages:
        for block in blocks:
            if block["type"] in _THOUGHTS and role != "assistant":
                raise _Wrong("thinking blocks belong in assistant messages")
            if block["type"] == "thinking" and not hmac.compare_digest(sign(block["thinking"]), block["signature"]):
                raise _Wrong("invalid signature in thinking block")
            if block["type"] == "redacted_thinking" and not is_redacted(block["data"]):
                raise _Wrong("invalid data in redacted_thinking block")


def _check_loop(messages: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    """Check that the first answer of the tool loop that is going on begins with its thoughts."""
    first: list[dict[str, Any]] | None = None
    for role, blocks in reversed(messages):
        if role == "assistant":
            first = blocks
        elif not any(block["type"] == "tool_result" for block in blocks):
            break
    if first is not None and first[0]["type"] not in _THOUGHTS:
        raise _Wrong("expected thinking or redacted_thinking: when thinking is enabled, a tool loop begins with it")
