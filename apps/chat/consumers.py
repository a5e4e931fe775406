"""The websocket: one a tab, many sessions on it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http.request import validate_host
from rest_framework.exceptions import ValidationError

from apps.accounts import services as accounts
from apps.chat import queries, services
from apps.chat.frames import BadFrame, event_id_of, first_problem, read_frame, uuid_of
from apps.chat.live import SessionFeed, live
from apps.chat.outbox import SLOW_SECONDS, Outbox, TooSlow
from apps.chat.serializers import SendMessageSerializer, queued_body
from apps.chat.stream.follow import StreamExpired
from apps.chat.turns.start import Queued
from apps.library import queries as library
from apps.runtime.db import db, db_until_done
from apps.runtime.errors import DomainError, Invalid, Unavailable
from apps.runtime.eventlog import BEGINNING, EventId
from apps.runtime.loop import end_tasks
from apps.runtime.redis import RedisError
from apps.runtime.sockets import FRAMES

logger = structlog.get_logger(__name__)

NOT_SIGNED_IN = 4401
ORIGIN_REFUSED = 4403
TOO_SLOW = 4408
TOO_MANY_SOCKETS = 4429
TOO_MANY_BAD_FRAMES = 4400

MOST_BAD_FRAMES = 10
BAD_FRAMES_SECONDS = 60.0
MOST_SUBSCRIPTIONS = 100


class ChatConsumer(AsyncWebsocketConsumer):
    """One tab's socket."""

    user_id: UUID | None = None
    is_closing = False

    async def connect(self) -> None:
        """Accept, then close with a code that a browser can see if there is no entry."""
        await self.accept()
        self.outbox = Outbox()
        self.subscriptions: dict[UUID, tuple[SessionFeed, asyncio.Task[None]]] = {}
        self.executions: dict[UUID, asyncio.Task[None]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.bad_frames: deque[float] = deque()
        if not self.origin_is_ours():
            await self.close(ORIGIN_REFUSED)
            return
        try:
            user = await db(self.signed_in)
        except (OperationalError, InterfaceError):
            await self.close(1013)  # try again later
            return
        if user is None:
            await self.close(NOT_SIGNED_IN)
            return
        if live().sockets[user.pk] >= settings.SOCKETS_PER_USER:
            await self.close(TOO_MANY_SOCKETS)
            return
        self.user = user
        self.user_id = user.pk
        live().sockets[user.pk] += 1
        live().listen(user.pk, self.outbox.put_now)
        self.spawn(self.send_for_ever())
        self.spawn(self.recheck_for_ever())
        self.spawn(self.join_group())

    def signed_in(self) -> Any:
        """Return the person whom the socket's key, or else its browser's session, signs in at this moment, or None."""
        key = accounts.key_in(dict(self.scope["headers"]).get(b"authorization", b""))
        if key is not None:
            return accounts.user_for_key(key)
        return accounts.browser_session_user(self.scope["cookies"].get(settings.SESSION_COOKIE_NAME, ""))

    def origin_is_ours(self) -> bool:
        """Return whether the page that opened the socket is ours; programs send no origin."""
        origin = dict(self.scope["headers"]).get(b"origin", b"").decode("latin-1")
        if not origin:
            return True
        if origin in settings.CSRF_TRUSTED_ORIGINS:
            return True
        host = dict(self.scope["headers"]).get(b"host", b"").decode("latin-1")
        parts = urlsplit(origin)
        return parts.netloc == host and validate_host((parts.hostname or "").lower(), settings.ALLOWED_HOSTS)

    async def disconnect(self, code: int) -> None:
        """Let go of everything that the socket held."""
        if self.user_id is not None:
            part = live()
            part.unlisten(self.user_id, self.outbox.put_now)
            part.sockets[self.user_id] -= 1
            if part.sockets[self.user_id] <= 0:
                del part.sockets[self.user_id]
            await self.leave_group()
        for session_id in list(self.subscriptions):
            self.drop(session_id)
        await end_tasks(*self.tasks)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand a message to its handler, without Channels' look after database connections in another thread.

        None of ours are used but within `db`, which looks after them itself.
        """
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"no handler for {message['type']}")
        await handler(message)

    # Frames in ------------------------------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do what a frame asks for; what can't be done is answered, and the socket stays open."""
        if self.user_id is None or self.is_closing:
            return
        client_message_id: Any = None
        try:
            await self.outbox.wait_for_room()  # who asks without reading the answers isn't asked on
            frame = read_frame(text_data, bytes_data)
            client_message_id = frame.get("client_message_id")
            await self.handle(frame)
        except TooSlow:
            await self.close(TOO_SLOW)
        except (OperationalError, InterfaceError):
            error: DomainError = Unavailable("The database can't be reached right now; try again shortly.")
            self.refuse(error, client_message_id)
        except DomainError as refused:
            self.refuse(refused, client_message_id)
            if isinstance(refused, BadFrame) and self.is_abusive():
                await self.close(TOO_MANY_BAD_FRAMES)

    async def handle(self, frame: dict[str, Any]) -> None:
        """Dispatch a frame by its type.

        Raises:
            DomainError: When it can't be done.
        """
        handlers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "ping": self.on_ping,
            "subscribe": self.on_subscribe,
            "subscribe_execution": self.on_subscribe_execution,
            "unsubscribe": self.on_unsubscribe,
            "message": self.on_message,
            "stop": self.on_stop,
        }
        kind = frame.get("type")
        handler = handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise BadFrame(f"Unknown frame type; known are {', '.join(handlers)}.")
        await handler(frame)

    async def on_ping(self, frame: dict[str, Any]) -> None:
        """Answer."""
        self.outbox.put_now({"type": "pong"})

    async def on_subscribe(self, frame: dict[str, Any]) -> None:
        """Follow a session from a place on."""
        session_id = uuid_of(frame, "session_id")
        turn_id = uuid_of(frame, "turn_id", required=False)
        after = event_id_of(frame)
        self.drop(session_id)
        self.check_subscriptions()
        feed = SessionFeed(live(), session_id)  # hears of turns that start while the rows are read
        try:
            found = await db(subscription_facts, self.user, session_id, turn_id)
        except BaseException:
            feed.close()
            raise
        newest = found["newest"]
        turn = newest if newest is not None and not newest.is_over else None
        lacking = [found["follow"], turn and turn.pk]
        feed.begin(list(dict.fromkeys(filter(None, lacking))), newest and newest.pk)
        self.outbox.put_now(
            {
                "type": "subscribed",
                "session_id": str(session_id),
                "turn": turn and {"id": str(turn.pk), "status": turn.status},
                "latest_sequence": found["latest_sequence"],
                "pending": found["waiting"],
            }
        )
        first = found["follow"] or (turn.pk if turn and turn_id is None else None)
        place = after if first is not None and (turn_id in {None, first}) else BEGINNING
        task = self.spawn(self.follow(feed, place))
        self.subscriptions[session_id] = (feed, task)

    async def on_subscribe_execution(self, frame: dict[str, Any]) -> None:
        """Follow a run of an agent: first a snapshot of it, then what changes, to its end."""
        execution_id = uuid_of(frame, "execution_id")
        self.drop_execution(execution_id)
        self.check_subscriptions()
        await db(library.access_execution, self.user.pk, execution_id)
        self.executions[execution_id] = self.spawn(self.follow_execution(execution_id))

    async def on_unsubscribe(self, frame: dict[str, Any]) -> None:
        """Stop following a session, or a run."""
        if "execution_id" in frame:
            self.drop_execution(uuid_of(frame, "execution_id"))
        else:
            self.drop(uuid_of(frame, "session_id"))

    def check_subscriptions(self) -> None:
        """Refuse another subscription when there are too many.

        Raises:
            Invalid: To do so.
        """
        if len(self.subscriptions) + len(self.executions) >= MOST_SUBSCRIPTIONS:
            raise Invalid(f"At most {MOST_SUBSCRIPTIONS} sessions and runs can be followed on one socket.")

    async def on_message(self, frame: dict[str, Any]) -> None:
        """Send a message; the answer is `accepted`, or `queued` when it waits for the turn in flight."""
        session_id = uuid_of(frame, "session_id")
        data = SendMessageSerializer(data=frame)
        try:
            data.is_valid(raise_exception=True)
        except ValidationError as error:
            await db(queries.access_session, self.user, session_id)  # a foreign id is unknown whatever the rest says
            raise Invalid(first_problem(error)) from error
        user = self.user
        taken = await db_until_done(services.send_message, user=user, session_id=session_id, data=data.validated_data)
        names = {"client_message_id": frame.get("client_message_id"), "session_id": str(session_id)}
        if isinstance(taken, Queued):
            self.outbox.put_now({"type": "queued", **names, **queued_body(taken)})
            return
        self.outbox.put_now({"type": "accepted", **names, "turn_id": str(taken.turn_id)})
        if held := self.subscriptions.get(session_id):
            held[0].hear(taken.turn_id)

    async def on_stop(self, frame: dict[str, Any]) -> None:
        """Stop the session's turn; its `abort` and `finish` come as events."""
        session_id = uuid_of(frame, "session_id")
        await db(services.stop, user=self.user, session_id=session_id)

    # Frames out -----------------------------------------------------------------------------------------------

    async def follow(self, feed: SessionFeed, after: EventId) -> None:
        """Pass a session's events on."""
        session_id = str(feed.session_id)
        try:
            async with aclosing(feed.events(after)) as batches:
                async for turn_id, events in batches:
                    head = f'{{"type":"event","session_id":"{session_id}","turn_id":"{turn_id}","event_id":"'
                    for (major, number), data, _ in events:
                        await self.outbox.put(f'{head}{major}-{number}","chunk":{data.decode()}}}')
        except StreamExpired:
            detail = "This part of the stream is no longer kept; load the conversation."
            self.outbox.put_now({"type": "error", "code": "stream_expired", "detail": detail, "session_id": session_id})
        except TooSlow:
            feed.close()  # first: closing waits until the client reads
            await self.close(TOO_SLOW)
        finally:
            feed.close()

    async def follow_execution(self, execution_id: UUID) -> None:
        """Pass on what a run tells, to its end."""
        task = asyncio.current_task()
        try:
            async with aclosing(library.follow_run(live().hub, execution_id, None)) as events:
                async for event in events:
                    if self.executions.get(execution_id) is not task:
                        return  # it was replaced, and couldn't be cancelled just then
                    head = f'{{"type":"execution","execution_id":"{execution_id}"'
                    place = f',"event_id":"{event.id}"' if event.id else ""
                    await self.outbox.put(f'{head}{place},"event":{event.data.decode()}}}')
        except TooSlow:
            await self.close(TOO_SLOW)
        finally:
            if self.executions.get(execution_id) is task:
                del self.executions[execution_id]

    def refuse(self, error: DomainError, client_message_id: Any) -> None:
        """Tell the client why a frame wasn't carried out."""
        echo = {"client_message_id": client_message_id} if isinstance(client_message_id, str) else {}
        self.outbox.put_now({"type": "error", **error.body(), "code": error.code, **echo})

    async def send_for_ever(self) -> None:
        """Send what is queued, as fast as the client takes it."""
        while True:
            texts = await self.outbox.get()
            if self.is_closing:
                return
            try:
                await self.send_texts(texts)
            except OSError:
                return  # the client went; `disconnect` follows

    async def send_texts(self, texts: list[str]) -> None:
        """Send frames, all of them in one go where the server can do that."""
        if FRAMES in (self.scope.get("extensions") or {}):
            await self.base_send({"type": FRAMES, "texts": texts})
            return
        for text in texts:
            await self.base_send({"type": "websocket.send", "text": text})

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the socket, once; what is still queued isn't sent."""
        if not self.is_closing:
            self.is_closing = True
            await super().close(code, reason)

    def drop(self, session_id: UUID) -> None:
        """End a subscription."""
        if held := self.subscriptions.pop(session_id, None):
            held[0].close()
            self.spawn(end_tasks(held[1]))

    def drop_execution(self, execution_id: UUID) -> None:
        """End a run's subscription."""
        if task := self.executions.pop(execution_id, None):
            self.spawn(end_tasks(task))

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Run work that ends with the socket."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.ended)
        return task

    def ended(self, task: asyncio.Task[None]) -> None:
        """Forget a task; say why when it broke."""
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("socket_task_broke", exc_info=error)

    # Sign-in --------------------------------------------------------------------------------------------------

    async def recheck_for_ever(self) -> None:
        """Close the socket once its sign-in has ended."""
        while True:
            await asyncio.sleep(settings.SOCKET_RECHECK_SECONDS)
            await self.recheck()

    async def recheck(self) -> None:
        """Look at the sign-in again."""
        try:
            user = await db(self.signed_in)
        except (OperationalError, InterfaceError):
            return  # nobody can tell; the next look will
        if user is None or user.pk != self.user_id:
            await self.close(NOT_SIGNED_IN)

    async def join_group(self) -> None:
        """Hear of sign-outs of this person at once, where Redis is there; the recheck finds them anyway."""
        while True:
            try:
                await get_channel_layer().group_add(f"user.{self.user_id}", self.channel_name)
            except RedisError:
                await asyncio.sleep(SLOW_SECONDS)
            else:
                return

    async def leave_group(self) -> None:
        """Stop hearing of sign-outs."""
        try:
            await get_channel_layer().group_discard(f"user.{self.user_id}", self.channel_name)
        except RedisError as error:
            logger.info("group_not_left", error=type(error).__name__)

    async def sign_in_ended(self, message: dict[str, Any]) -> None:
        """A sign-in of this person has ended; maybe this one."""
        await self.recheck()

    def is_abusive(self) -> bool:
        """Count a bad frame; True when there were too many of late."""
        now = time.monotonic()
        self.bad_frames.append(now)
        while self.bad_frames and self.bad_frames[0] < now - BAD_FRAMES_SECONDS:
            self.bad_frames.popleft()
        return len(self.bad_frames) >= MOST_BAD_FRAMES


def subscription_facts(user: Any, session_id: UUID, turn_id: UUID | None) -> dict[str, Any]:
    """Return what a subscriber is told, read at one time.

    Raises:
        NotFound: When the person has no such session.
    """
    queries.access_session(user, session_id)
    asked = queries.turn_of(session_id, turn_id) if turn_id else None
    return {
        "follow": asked.pk if asked else None,
        "newest": queries.newest_turn(session_id),
        "latest_sequence": queries.latest_sequence(session_id),
        "waiting": queries.waiting(session_id),
    }
