"""The chat API: sessions over DRF; sending and following over async views that stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.chat import queries, services
from apps.chat import serializers as shapes
from apps.chat.live import live
from apps.chat.models import Turn
from apps.chat.stream import chunks as c
from apps.chat.stream.follow import StreamExpired, turn_batches
from apps.chat.turns.start import Queued
from apps.runtime import sse
from apps.runtime.db import db
from apps.runtime.errors import DomainError
from apps.runtime.eventlog import BEGINNING, EventId
from apps.runtime.rest import PageQuerySerializer, caller_id

SEARCH_LENGTH = 200
NOT_FOUND = OpenApiResponse(shapes.ErrorSerializer, description="Unknown, deleted or somebody else's.")


class SessionQuerySerializer(PageQuerySerializer):
    """Which page of sessions is asked for."""

    search = serializers.CharField(
        required=False, allow_blank=True, max_length=SEARCH_LENGTH, help_text="Only titles that contain this."
    )


class SessionListView(APIView):
    """Your sessions with the copilot."""

    serializer_class = shapes.CreateSessionSerializer

    @extend_schema(
        operation_id="chat_sessions_list", parameters=[SessionQuerySerializer], responses=shapes.SessionPageSerializer
    )
    def get(self, request: Request) -> Response:
        """List your sessions, newest activity first."""
        page = SessionQuerySerializer.read(request)
        sessions, total = queries.list_sessions(user=request.user, **page)
        return Response(shapes.SessionPageSerializer({"sessions": sessions, "total": total}).data)

    @extend_schema(
        request=shapes.CreateSessionSerializer,
        responses={
            201: shapes.SessionSerializer,
            200: OpenApiResponse(shapes.SessionSerializer, description="The session that this graph has already."),
            404: OpenApiResponse(shapes.ErrorSerializer, description="The graph isn't in your library."),
        },
    )
    def post(self, request: Request) -> Response:
        """Make a session; with `builder_graph_id`, return the one of that graph of your library, made if need be."""
        data = shapes.CreateSessionSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        if graph_id := data.validated_data.get("builder_graph_id"):
            session, is_new = services.builder_session(user=request.user, graph_id=graph_id)
        else:
            session, is_new = services.create_session(user=request.user, dry_run=data.validated_data["dry_run"]), True
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(shapes.SessionSerializer(session).data, status=code)


class SessionView(APIView):
    """One session."""

    @extend_schema(
        parameters=[shapes.MessageQuerySerializer], responses={200: shapes.SessionDetailSerializer, 404: NOT_FOUND}
    )
    def get(self, request: Request, session_id: UUID) -> Response:
        """Return a session with a page of its messages: the newest page first, each in ascending order."""
        session = queries.access_session(request.user, session_id)
        query = shapes.MessageQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        turn = queries.active_turn(session.pk)
        before = query.validated_data.get("before_sequence")
        limit = query.validated_data["limit"]
        page = queries.message_page(session=session, limit=limit, before_sequence=before, turn=turn)
        body = {
            "id": session.pk,
            "title": session.title,
            "created_at": session.created_at,
            "updated_at": session.updated_at,
            "metadata": session.metadata,
            "messages": page.messages,
            "has_more_messages": page.has_more,
            "oldest_sequence": page.oldest_sequence,
            "total_prompt_tokens": session.prompt_tokens + (turn.prompt_tokens if turn else 0),
            "total_completion_tokens": session.completion_tokens + (turn.completion_tokens if turn else 0),
            "active_stream": turn and {"turn_id": turn.pk, "status": turn.status, "resume_after": turn.resume_after},
        }
        return Response(shapes.SessionDetailSerializer(body).data)

    @extend_schema(responses={204: None, 404: NOT_FOUND})
    def delete(self, request: Request, session_id: UUID) -> Response:
        """Delete a session; what runs in it is stopped first."""
        services.delete_session(user=request.user, session_id=session_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionTitleView(APIView):
    """A session's title."""

    serializer_class = shapes.TitleSerializer

    @extend_schema(request=shapes.TitleSerializer, responses={200: shapes.TitleSerializer, 404: NOT_FOUND})
    def patch(self, request: Request, session_id: UUID) -> Response:
        """Rename a session."""
        queries.access_session(request.user, session_id)  # a foreign id is unknown whatever the body says
        data = shapes.TitleSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        services.rename_session(user=request.user, session_id=session_id, title=data.validated_data["title"])
        return Response({"title": data.validated_data["title"]})


class SessionForkView(APIView):
    """A second try from some place of a conversation."""

    serializer_class = shapes.ForkSerializer

    @extend_schema(request=shapes.ForkSerializer, responses={201: shapes.SessionSerializer, 404: NOT_FOUND})
    def post(self, request: Request, session_id: UUID) -> Response:
        """Make a session that holds a copy of this one's history, up to and including a message."""
        queries.access_session(request.user, session_id)  # a foreign id is unknown whatever the body says
        data = shapes.ForkSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        place = data.validated_data["from_sequence"]
        session = services.fork_session(user=request.user, session_id=session_id, from_sequence=place)
        return Response(shapes.SessionSerializer(session).data, status=status.HTTP_201_CREATED)


class SessionCancelView(APIView):
    """The stop button."""

    @extend_schema(request=None, responses={200: shapes.CancelSerializer, 404: NOT_FOUND})
    def post(self, request: Request, session_id: UUID) -> Response:
        """Stop the running turn; having nothing to stop is no error."""
        answer = services.stop(user=request.user, session_id=session_id)
        return Response({"cancelled": answer.cancelled, **({"reason": answer.reason} if answer.reason else {})})


class PendingListView(APIView):
    """What waits for the running turn."""

    @extend_schema(responses={200: shapes.WaitingSerializer, 404: NOT_FOUND})
    def get(self, request: Request, session_id: UUID) -> Response:
        """Return the messages that wait, in order; looking takes none away. There are never more than ten."""
        session = queries.access_session(request.user, session_id)
        return Response(shapes.WaitingSerializer(queries.waiting(session.pk)).data)


class PendingMessageView(APIView):
    """One message that waits."""

    serializer_class = shapes.ChangePendingSerializer

    @extend_schema(request=shapes.ChangePendingSerializer, responses={200: shapes.WaitingSerializer, 404: NOT_FOUND})
    def patch(self, request: Request, session_id: UUID, item_id: UUID) -> Response:
        """Give it another text or place; 404 once the copilot has read it."""
        session = queries.access_session(request.user, session_id)  # a foreign id is unknown whatever the body says
        data = shapes.ChangePendingSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        services.change_pending(user=request.user, session_id=session_id, item_id=item_id, **data.validated_data)
        return Response(shapes.WaitingSerializer(queries.waiting(session.pk)).data)

    @extend_schema(responses={204: None, 404: NOT_FOUND})
    def delete(self, request: Request, session_id: UUID, item_id: UUID) -> Response:
        """Take it back; 404 once the copilot has read it."""
        services.delete_pending(user=request.user, session_id=session_id, item_id=item_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SuggestedPromptsView(APIView):
    """Prompts to begin with."""

    @extend_schema(responses=shapes.SuggestedPromptsSerializer)
    def get(self, request: Request) -> Response:
        """Return up to four prompts, some of them about your own agents when you have any."""
        return Response({"prompts": queries.suggested_prompts(caller_id(request))})


class _Door(APIView):
    """DRF's authentication, throttling and errors for the async views, which DRF itself can't serve."""

    def open(self, request: HttpRequest, session_id: UUID) -> tuple[Request, HttpResponse | None]:
        """Return the request with its person, or the refusal."""
        drf_request = self.initialize_request(request)
        self.request = drf_request
        self.args, self.kwargs, self.headers = (), {"session_id": session_id}, self.default_response_headers
        try:
            self.initial(drf_request)
        except (APIException, OperationalError, InterfaceError) as error:
            return drf_request, self.refuse(drf_request, error)
        return drf_request, None

    def refuse(self, request: Request, error: Exception) -> HttpResponse:
        """Return the answer that every API view gives to an error."""
        self.request = request
        answer = self.handle_exception(error)
        response = JsonResponse(answer.data, status=answer.status_code, safe=False)
        for name, value in answer.headers.items():
            response.setdefault(name, value)
        return response

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """Take every `Accept`: what is answered is a stream, or JSON when refused."""
        renderer = JSONRenderer()
        return renderer, renderer.media_type


@csrf_exempt  # DRF's authenticators check the token of signed-in browsers themselves
async def session_stream(request: HttpRequest, session_id: UUID) -> HttpResponseBase:
    """POST sends a message and streams its turn; GET follows the active turn from any place."""
    if request.method == "POST":
        return await send_and_stream(request, session_id)
    if request.method == "GET":
        return await resume_stream(request, session_id)
    return JsonResponse(
        {"detail": f'Method "{request.method}" not allowed.'}, status=405, headers={"Allow": "GET, POST"}
    )


async def send_and_stream(request: HttpRequest, session_id: UUID) -> HttpResponseBase:
    """Store a message, start its turn and stream it; a message that has to wait is answered with 202."""

    def take() -> tuple[UUID | None, HttpResponse | None]:
        door = _Door()
        asked, refusal = door.open(request, session_id)
        if refusal is not None:
            return None, refusal
        try:
            queries.access_session(asked.user, session_id)  # before the body: a foreign id must not tell them apart
            data = shapes.SendMessageSerializer(data=asked.data)
            data.is_valid(raise_exception=True)
            taken = services.send_message(user=asked.user, session_id=session_id, data=data.validated_data)
        except (APIException, DomainError, RequestDataTooBig, OperationalError, InterfaceError) as error:
            return None, door.refuse(asked, error)
        if isinstance(taken, Queued):
            return None, JsonResponse(shapes.queued_body(taken), status=status.HTTP_202_ACCEPTED)
        return taken.turn_id, None

    turn_id, answer = await db(take)
    return answer if turn_id is None else sse.response(turn_frames(turn_id, BEGINNING))  # type: ignore[return-value]


async def resume_stream(request: HttpRequest, session_id: UUID) -> HttpResponseBase:
    """Follow the active turn after `Last-Event-ID` or `?after=`; 204 when there is none."""
    text = request.headers.get("Last-Event-ID") or request.GET.get("after")

    def look() -> tuple[Turn | None, HttpResponse | None]:
        door = _Door()
        asked, refusal = door.open(request, session_id)
        if refusal is not None:
            return None, refusal
        try:
            queries.access_session(asked.user, session_id)
            return queries.active_turn(session_id), None
        except (DomainError, OperationalError, InterfaceError) as error:
            return None, door.refuse(asked, error)

    turn, refusal = await db(look)
    if refusal is not None:
        return refusal
    try:
        after = shapes.read_place(text)
    except ValueError:
        return JsonResponse({"after": ["This is no event id."]}, status=400)
    if turn is None:
        return HttpResponse(status=204)
    return sse.response(turn_frames(turn.pk, after))


async def turn_frames(turn_id: UUID, after: EventId) -> AsyncGenerator[bytes]:
    """Yield a turn's events as SSE frames; a reader that must read rows instead is told so, and the stream ends."""
    try:
        async with aclosing(turn_batches(live().hub, turn_id, after)) as batches:
            async for events in batches:
                yield b"".join([sse.frame(str(event.id), event.data) for event in events])
    except StreamExpired:
        sentence = "[code:stream_expired] This part of the stream is no longer kept. Load the conversation instead."
        for chunk in (c.Error(error_text=sentence), c.Finish()):
            yield sse.frame("", c.encode(chunk))
