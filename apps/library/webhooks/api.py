"""The webhooks API: managing them, and the address that other services call."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.library.webhooks import calls, deliver, queries, services
from apps.library.webhooks import serializers as shapes
from apps.runtime.rest import MAX_BODY_BYTES, BodyTooLarge, PatientThrottle, caller_id


def address(request: Request, webhook_id: UUID, path: str) -> str:
    """Return where a service calls."""
    local = reverse("library-webhook-call", args=[webhook_id, path])
    return settings.PUBLIC_URL.rstrip("/") + local if settings.PUBLIC_URL else request.build_absolute_uri(local)


class WebhookListView(APIView):
    """Your webhooks."""

    serializer_class = shapes.CreateWebhookSerializer

    @extend_schema(
        operation_id="library_webhooks_list",
        parameters=[shapes.WebhookQuerySerializer],
        responses=shapes.WebhookPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your webhooks with their latest deliveries, newest first."""
        page = shapes.WebhookQuerySerializer.read(request)
        webhooks, total = queries.list_webhooks(user_id=caller_id(request), **page)
        return Response(shapes.WebhookPageSerializer({"webhooks": webhooks, "total": total}).data)

    @extend_schema(
        operation_id="library_webhooks_create",
        request=shapes.CreateWebhookSerializer,
        responses={
            201: shapes.CreatedWebhookSerializer,
            404: OpenApiResponse(OpenApiTypes.OBJECT, description="You have no such agent, or it no such preset."),
            409: OpenApiResponse(OpenApiTypes.OBJECT, description="The agent has no trigger."),
        },
    )
    def post(self, request: Request) -> Response:
        """Make an address that starts an agent. The address is in this answer and nowhere else."""
        data = shapes.CreateWebhookSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        made, path, secret = services.create_webhook(user_id=caller_id(request), **data.validated_data)
        webhook = queries.find_webhook(user_id=caller_id(request), webhook_id=made.pk)
        body = {"webhook": webhook, "url": address(request, made.pk, path), "made_secret": secret}
        return Response(shapes.CreatedWebhookSerializer(body).data, status=status.HTTP_201_CREATED)


class WebhookView(APIView):
    """One webhook."""

    serializer_class = shapes.UpdateWebhookSerializer

    @extend_schema(operation_id="library_webhooks_retrieve", responses=shapes.WebhookSerializer)
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """Return a webhook with its latest deliveries."""
        webhook = queries.find_webhook(user_id=caller_id(request), webhook_id=webhook_id)
        return Response(shapes.WebhookSerializer(webhook).data)

    @extend_schema(
        operation_id="library_webhooks_update",
        request=shapes.UpdateWebhookSerializer,
        responses=shapes.WebhookSerializer,
    )
    def patch(self, request: Request, webhook_id: UUID) -> Response:
        """Change a webhook, or switch it on or off."""
        queries.find_webhook(user_id=caller_id(request), webhook_id=webhook_id)  # unknown whatever the body says
        data = shapes.UpdateWebhookSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        services.update_webhook(user_id=caller_id(request), webhook_id=webhook_id, **data.validated_data)
        webhook = queries.find_webhook(user_id=caller_id(request), webhook_id=webhook_id)
        return Response(shapes.WebhookSerializer(webhook).data)

    @extend_schema(operation_id="library_webhooks_delete", responses={204: None})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """Delete a webhook; its runs stay."""
        services.delete_webhook(user_id=caller_id(request), webhook_id=webhook_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class WebhookRotateView(APIView):
    """A webhook's secret path."""

    @extend_schema(operation_id="library_webhooks_rotate", request=None, responses=shapes.AddressSerializer)
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Give a webhook another address; the old one is unknown from now on."""
        path = services.rotate_path(user_id=caller_id(request), webhook_id=webhook_id)
        return Response({"url": address(request, webhook_id, path)})


class WebhookThrottle(PatientThrottle):
    """Calls of one webhook; counted after their signature, so that nobody else can use its rate up."""

    scope = "webhook"
    rate = "120/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        """Return what a webhook is counted under."""
        return self.cache_format % {"scope": self.scope, "ident": view.kwargs["webhook_id"]}


class WebhookCallView(APIView):
    """What other services call."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """Take every `Accept`: services send what they like, and read nothing but the status."""
        renderer = JSONRenderer()
        return renderer, renderer.media_type

    @extend_schema(
        operation_id="library_webhooks_call",
        auth=[],
        request={"application/json": OpenApiTypes.OBJECT},
        responses={
            200: OpenApiResponse(
                OpenApiTypes.OBJECT, description="Taken before, or a call that only tries the address."
            ),
            202: shapes.TakenSerializer,
            401: OpenApiResponse(OpenApiTypes.OBJECT, description="Not signed as it should be."),
            409: OpenApiResponse(OpenApiTypes.OBJECT, description="The agent can't be run at present."),
        },
    )
    def post(self, request: Request, webhook_id: UUID, secret_path: str) -> Response:
        """Start the agent once for each delivery, with the body as its trigger's payload."""
        webhook = deliver.find_webhook(webhook_id=webhook_id, path=secret_path)
        body = request.read(MAX_BODY_BYTES + 1)  # as it came: that is what is signed
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        deliver.check_call(webhook, request.headers, body)
        throttle = WebhookThrottle()
        if not throttle.allow_request(request, self):
            self.throttled(request, throttle.wait() or 0)
        call = calls.read(webhook.provider, request.headers, body)
        if call.greeting is not None:
            return Response(call.greeting)
        taken = deliver.take_delivery(webhook, call)
        shape = shapes.TakenSerializer(taken).data
        return Response(shape, status=status.HTTP_202_ACCEPTED if taken.is_new else status.HTTP_200_OK)
