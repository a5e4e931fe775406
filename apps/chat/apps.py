"""Conversations with the copilot."""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Sessions, turns, streaming and the copilot's tools."""

    name = "apps.chat"

    def ready(self) -> None:
        """Hear of ended sign-ins, so that open sockets are looked at."""
        from django.contrib.auth.signals import user_logged_out

        from apps.accounts import services as accounts
        from apps.chat import (
            autopilot,
            process,  # noqa: F401 -- joins Celery's worker signals
        )
        from apps.chat.live import live
        from apps.library.blocks.services import offered
        from apps.runtime.hub import provide_hub

        offered["ask_copilot"] = autopilot.ask_copilot
        offered["ask_cheap_model"] = autopilot.ask_cheap_model
        provide_hub(lambda: live().hub)
        accounts.on_sign_in_ended.append(tell_sockets)
        user_logged_out.connect(after_sign_out, dispatch_uid="chat-sockets")


def after_sign_out(sender: object, request: object, user: object, **kwargs: object) -> None:
    """Look at a person's sockets when one of their browsers signed out."""
    if (user_id := getattr(user, "pk", None)) is not None:
        if (browser := getattr(request, "session", None)) is not None:
            browser.flush()  # Django does so after this signal: sockets would look too early and find it valid
        tell_sockets(user_id)


def tell_sockets(user_id: UUID) -> None:
    """Have every process look at a person's open sockets."""
    from apps.runtime.redis import RedisError

    try:
        async_to_sync(get_channel_layer().group_send)(f"user.{user_id}", {"type": "sign_in_ended"})
    except RedisError:
        return  # sockets look by themselves every minute
