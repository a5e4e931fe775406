"""Webhooks of an agent: making one, whose address is shown once, pausing and deleting."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from apps.accounts.models import User
from apps.library.graphs import queries as graph_queries
from apps.library.models import Webhook
from apps.library.views.frame import as_id, page, tell_error
from apps.library.webhooks import queries, services
from apps.library.webhooks.errors import NoTrigger

NAME_LENGTH = 200
SECRET_LENGTH = 500


@page("POST")
def create(request: HttpRequest, user: User, agent_id: UUID) -> HttpResponse:
    """Make a webhook and show its address, this once."""
    agent = graph_queries.access_agent(user.pk, agent_id)
    provider = request.POST.get("provider", "")
    try:
        webhook, path, secret = services.create_webhook(
            user_id=user.pk,
            agent_id=agent.pk,
            name=request.POST.get("name", "").replace("\x00", "").strip()[:NAME_LENGTH],
            provider=provider if provider in Webhook.Provider.values else str(Webhook.Provider.GENERIC),
            preset_id=as_id(request.POST.get("preset", "")),
            secret=request.POST.get("secret", "").replace("\x00", "").strip()[:SECRET_LENGTH],
        )
    except NoTrigger as error:
        tell_error(request, error)
        return redirect("library:agent", agent.pk)
    return render(
        request,
        "library/webhook.html",
        {"agent": agent, "webhook": webhook, "address": _address(request, webhook.pk, path), "secret": secret},
    )


@page("POST")
def rotate(request: HttpRequest, user: User, webhook_id: UUID) -> HttpResponse:
    """Give a webhook another address and show it, this once."""
    webhook = queries.find_webhook(user_id=user.pk, webhook_id=webhook_id)
    path = services.rotate_path(user_id=user.pk, webhook_id=webhook_id)
    context = {"agent": webhook.agent, "webhook": webhook, "address": _address(request, webhook_id, path)}
    return render(request, "library/webhook.html", context)


def _address(request: HttpRequest, webhook_id: UUID, path: str) -> str:
    place = reverse("library-webhook-call", args=[webhook_id, path])
    return settings.PUBLIC_URL.rstrip("/") + place if settings.PUBLIC_URL else request.build_absolute_uri(place)


@page("POST")
def switch(request: HttpRequest, user: User, webhook_id: UUID) -> HttpResponse:
    """Switch a webhook off or on."""
    webhook = queries.find_webhook(user_id=user.pk, webhook_id=webhook_id)
    is_enabled = request.POST.get("is_enabled") == "1"
    services.update_webhook(user_id=user.pk, webhook_id=webhook_id, is_enabled=is_enabled)
    messages.success(request, f"The webhook is {'on' if is_enabled else 'off'}.")
    return redirect("library:agent", webhook.agent_id)


@page("POST")
def delete(request: HttpRequest, user: User, webhook_id: UUID) -> HttpResponse:
    """Delete a webhook; its runs stay."""
    webhook = queries.find_webhook(user_id=user.pk, webhook_id=webhook_id)
    services.delete_webhook(user_id=user.pk, webhook_id=webhook_id)
    messages.success(request, "The webhook is deleted. Calls to its address are refused from now on.")
    return redirect("library:agent", webhook.agent_id)
