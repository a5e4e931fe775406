"""Shapes of the webhooks API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.library.models import Webhook
from apps.runtime.rest import PageQuerySerializer, StrictSerializer


class WebhookQuerySerializer(PageQuerySerializer):
    """Which page of webhooks is asked for."""

    agent_id = serializers.UUIDField(required=False, help_text="Only those of this agent.")


class CreateWebhookSerializer(StrictSerializer):
    """A new webhook."""

    agent_id = serializers.UUIDField()
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    provider = serializers.ChoiceField(choices=Webhook.Provider.choices, default=Webhook.Provider.GENERIC)
    preset_id = serializers.UUIDField(required=False, allow_null=True, help_text="Whose inputs the runs have.")
    secret = serializers.CharField(
        required=False,
        min_length=8,
        max_length=200,
        help_text="What calls are signed with. One is made for GitHub; Slack and Stripe give you theirs.",
    )


class UpdateWebhookSerializer(StrictSerializer):
    """What is to be different."""

    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    is_enabled = serializers.BooleanField(required=False)
    preset_id = serializers.UUIDField(required=False, allow_null=True)
    secret = serializers.CharField(
        required=False, allow_null=True, min_length=8, max_length=200, help_text="Null: calls aren't signed."
    )


class DeliverySerializer(serializers.Serializer):
    """One call that was taken."""

    delivery_id = serializers.CharField()
    execution_id = serializers.UUIDField(allow_null=True, help_text="Null: the run was deleted since.")
    execution_status = serializers.CharField(source="execution.status", allow_null=True, default=None)
    received_at = serializers.DateTimeField()


class WebhookSerializer(serializers.Serializer):
    """A webhook."""

    id = serializers.UUIDField()
    agent_id = serializers.UUIDField()
    agent_name = serializers.CharField(source="agent.graph.name")
    preset_id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField(allow_blank=True)
    provider = serializers.ChoiceField(choices=Webhook.Provider.choices)
    is_signed = serializers.SerializerMethodField(help_text="Whether a secret is set.")
    is_enabled = serializers.BooleanField()
    last_called_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    deliveries = DeliverySerializer(source="latest_deliveries", many=True, help_text="The latest five.")

    def get_is_signed(self, webhook: Webhook) -> bool:
        """Return whether calls are signed."""
        return webhook.secret is not None


class AddressSerializer(serializers.Serializer):
    """A webhook's address, at the one moment when it can be read."""

    url = serializers.CharField(help_text="Where the service calls. It can't be shown again.")


class CreatedWebhookSerializer(WebhookSerializer):
    """A new webhook, with what can't be shown again."""

    url = serializers.CharField(help_text="Where the service calls. It can't be shown again.")
    made_secret = serializers.CharField(
        allow_blank=True, help_text="The secret, when it was made here. It can't be shown again."
    )

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return the webhook's shape with the address and the secret beside it."""
        shape = WebhookSerializer(instance["webhook"]).data
        return {**shape, "url": instance["url"], "made_secret": instance["made_secret"]}


class WebhookPageSerializer(serializers.Serializer):
    """A page of webhooks, newest first."""

    webhooks = WebhookSerializer(many=True)
    total = serializers.IntegerField()


class TakenSerializer(serializers.Serializer):
    """What became of a call."""

    execution_id = serializers.UUIDField(allow_null=True)
    is_new = serializers.BooleanField(help_text="False: this delivery was taken before, and starts nothing.")
