"""The model server: a raw ASGI app, as it needs little and must start fast."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from apps.engines.demo import anthropic_wire, demo_script, openai_wire
from apps.engines.demo.conversation import Conversation, from_anthropic, from_openai
from apps.engines.demo.openai_wire import Answer, StreamCut
from apps.engines.demo.pacing import DEFAULT_WORDS_PER_SECOND, Pacer
from apps.engines.demo.prompt_cache import PromptCache
from apps.engines.demo.records import Record, Records
from apps.engines.demo.rules import anthropic_violation, openai_violation
from apps.engines.demo.script import Action, ScriptBook, ScriptError, Status, parse_script

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_TOO_LONG = {
    "error": {
        "message": "This model's maximum context length is shorter than the messages.",
        "type": "invalid_request_error",
        "code": "context_length_exceeded",
    }
}
_EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Wire:
    """A provider's protocol.

    Attributes:
        name: `openai` or `anthropic`.
        read: Reads a request's body.
        violation: Says why a request is refused; an empty text when it isn't.
        stream: Yields a streamed answer's bytes.
        whole: Returns the body of an answer that isn't streamed.
    """

    name: str
    read: Callable[[Mapping[str, Any]], Conversation]
    violation: Callable[[Mapping[str, Any]], str]
    stream: Callable[[Answer, Sequence[Action]], AsyncGenerator[bytes]]
    whole: Callable[[Answer, Sequence[Action]], Awaitable[bytes]]


class DemoServer:
    """An ASGI app that speaks OpenAI's and Anthropic's protocols.

    Routes:
        POST /v1/chat/completions: an answer, by the conversation's script or from the demo model.
        POST /v1/messages: the same on Anthropic's wire.
        GET /v1/models: the demo model.
        GET /healthz: `ok`.
        POST /script: registers a script (see `script.parse_script`), for conversations marked `[script:<name>]`.
        GET /requests, GET /requests?script=<name>: what was asked, oldest first.
        DELETE /requests: forgets it.
    """

    def __init__(self, *, words_per_second: float = DEFAULT_WORDS_PER_SECOND) -> None:
        """Start without scripts.

        Args:
            words_per_second: The demo model's pace; 0 for as fast as it can. Scripts have paces of their own.
        """
        self._pacer = Pacer(words_per_second)
        self._scripts = ScriptBook()
        self._records = Records()
        cache = PromptCache()
        self._openai = Wire("openai", from_openai, openai_violation, openai_wire.stream, openai_wire.whole)
        self._anthropic = Wire(
            "anthropic",
            from_anthropic,
            anthropic_violation,
            partial(anthropic_wire.stream, cache=cache),
            partial(anthropic_wire.whole, cache=cache),
        )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"no {scope['type']} here")
        match scope["method"], scope["path"]:
            case "POST", "/v1/chat/completions":
                await self._chat(self._openai, scope, receive, send)
            case "POST", "/v1/messages":
                await self._chat(self._anthropic, scope, receive, send)
            case "POST", "/script":
                await self._register(receive, send)
            case "GET", "/requests":
                names = parse_qs(scope["query_string"].decode()).get("script", [None])
                await _respond(send, 200, {"requests": self._records.as_json(names[0])})
            case "DELETE", "/requests":
                self._records.clear()
                await _respond(send, 200, {})
            case "GET", "/v1/models":
                models = [{"id": demo_script.MODEL, "object": "model", "created": 0, "owned_by": "flightdeck"}]
                await _respond(send, 200, {"object": "list", "data": models})
            case "GET", "/healthz":
                await _respond(send, 200, {"status": "ok"})
            case _:
                await _respond(send, 404, _error("There is nothing here.", "not_found_error"))

    async def _register(self, receive: Receive, send: Send) -> None:
        try:
            script = parse_script(await _read_json(receive))
        except ScriptError as error:
            await _respond(send, 400, _error(str(error), "invalid_request_error"))
            return
        self._scripts.register(script)
        await _respond(send, 200, {"name": script.name, "steps": len(script.steps)})

    async def _chat(self, wire: Wire, scope: Message, receive: Receive, send: Send) -> None:
        body = await _read_json(receive)
        if not isinstance(body, Mapping) or not isinstance(body.get("messages"), list):
            await _respond(send, 400, _error("A request has messages.", "invalid_request_error"))
            return
        beta = dict(scope["headers"]).get(b"anthropic-beta", b"").decode("latin-1")
        refused = wire.violation(body)
        if refused:
            self._records.add(Record(script=None, step=0, body=body, wire=wire.name, beta=beta, status=400))
            await _respond(send, 400, _error(refused, "invalid_request_error"))
            return
        conversation = wire.read(body)
        chore = demo_script.chore(conversation)
        # A title is asked for with the same words as the first step: it must not use the script up, or fail by it.
        script = None if chore is not None else self._scripts.known(conversation.script)
        step = conversation.step if script else 0
        record = Record(script=script, step=step, body=body, wire=wire.name, beta=beta)
        self._records.add(record)
        if self._scripts.refuses(conversation.script, body["messages"]):
            actions: list[Action] = [Status(400, _TOO_LONG)]
        else:
            actions = self._actions(script, conversation) if chore is None else chore
        answer = Answer(body=body, turn=conversation.turn, pacer=self._pacer)
        exchange = _Exchange(wire, record, send)
        await _unless_disconnected(exchange.run(answer, actions, streamed=bool(body.get("stream"))), receive, record)

    def _actions(self, script: str | None, conversation: Conversation) -> list[Action]:
        if script is None:
            return demo_script.reply(conversation)
        return self._scripts.actions(script, conversation.step)


class _Exchange:
    """One answer on its way to the client."""

    def __init__(self, wire: Wire, record: Record, send: Send) -> None:
        self._wire = wire
        self._record = record
        self._send = send

    async def run(self, answer: Answer, actions: list[Action], *, streamed: bool) -> None:
        """Send the answer, or the HTTP error that is scripted instead of one."""
        failure = next((action for action in actions if isinstance(action, Status)), None)
        try:
            if failure is not None:
                await self._wire.whole(answer, actions[: actions.index(failure)])  # for its silences
                await self._fail(failure)
            elif streamed:
                await self._stream(answer, actions)
            else:
                body = await self._wire.whole(answer, actions)
                await self._open(200, _JSON)
                await self._end(body)
        except StreamCut as cut:
            await self._open(200, _EVENT_STREAM)
            if not cut.is_abrupt:
                await self._end()
            # Else nothing: uvicorn closes the connection of an app that returns in the middle of a response.

    async def _stream(self, answer: Answer, actions: list[Action]) -> None:
        """Send a streamed answer; the headers go out with its first bytes, so that silence can come before them."""
        async with aclosing(self._wire.stream(answer, actions)) as pieces:
            async for piece in pieces:
                await self._open(200, _EVENT_STREAM)
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._open(200, _EVENT_STREAM)
        await self._end()

    async def _fail(self, failure: Status) -> None:
        kind = _ERROR_TYPES.get(failure.status, "server_error" if failure.status >= 500 else "invalid_request_error")
        body = failure.body or _error(f"The script answers with status {failure.status}.", kind)
        await self._open(failure.status, _JSON)
        await self._end(json.dumps(body).encode())

    async def _open(self, status: int, content_type: tuple[bytes, bytes]) -> None:
        if self._record.status is None:
            self._record.status = status
            await self._send({"type": "http.response.start", "status": status, "headers": [content_type]})

    async def _end(self, body: bytes = b"") -> None:
        # Noted first: once the client has the last byte it may close the connection at any moment.
        self._record.finished = True
        await self._send({"type": "http.response.body", "body": body})


async def _unless_disconnected(work: Coroutine[Any, Any, None], receive: Receive, record: Record) -> None:
    """Do the work, but drop it at once when the client closes the connection, also in the middle of a silence."""
    working, watching = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        record.closed_early = not working.done() and not record.finished
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
        record.closed_at = time.time()
    if not working.cancelled():
        working.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_json(receive: Receive) -> object:
    """Return a request's decoded body, or None if it isn't JSON."""
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    try:
        decoded: object = json.loads(b"".join(pieces))
    except ValueError:
        return None
    return decoded


async def _respond(send: Send, status: int, body: Mapping[str, Any]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [_JSON]})
    await send({"type": "http.response.body", "body": json.dumps(body, ensure_ascii=False).encode()})


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"type": "error", "error": {"message": message, "type": kind}}


def create_app(*, words_per_second: float = DEFAULT_WORDS_PER_SECOND) -> DemoServer:
    """Return a model server of its own, with its own scripts and records; see `DemoServer`."""
    return DemoServer(words_per_second=words_per_second)
