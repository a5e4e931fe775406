"""Addresses of webhooks, below `/api/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.webhooks import api

urlpatterns = [
    path("webhooks", api.WebhookListView.as_view(), name="library-webhooks"),
    path("webhooks/<uuid:webhook_id>", api.WebhookView.as_view(), name="library-webhook"),
    path("webhooks/<uuid:webhook_id>/rotate", api.WebhookRotateView.as_view(), name="library-webhook-rotate"),
    # Below the others: a secret path is none of their names.
    path("webhooks/<uuid:webhook_id>/<str:secret_path>", api.WebhookCallView.as_view(), name="library-webhook-call"),
]
