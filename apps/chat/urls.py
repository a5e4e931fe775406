"""Addresses of the chat API."""

from django.urls import path

from apps.chat import api
from apps.chat.usage import api as usage_api

urlpatterns = [
    path("sessions", api.SessionListView.as_view(), name="chat-sessions"),
    path("sessions/<uuid:session_id>", api.SessionView.as_view(), name="chat-session"),
    path("sessions/<uuid:session_id>/title", api.SessionTitleView.as_view(), name="chat-session-title"),
    path("sessions/<uuid:session_id>/stream", api.session_stream, name="chat-session-stream"),
    path("sessions/<uuid:session_id>/fork", api.SessionForkView.as_view(), name="chat-session-fork"),
    path("sessions/<uuid:session_id>/cancel", api.SessionCancelView.as_view(), name="chat-session-cancel"),
    path("sessions/<uuid:session_id>/messages/pending", api.PendingListView.as_view(), name="chat-pending-messages"),
    path(
        "sessions/<uuid:session_id>/messages/pending/<uuid:item_id>",
        api.PendingMessageView.as_view(),
        name="chat-pending-message",
    ),
    path("suggested-prompts", api.SuggestedPromptsView.as_view(), name="chat-suggested-prompts"),
    path("usage", usage_api.UsageView.as_view(), name="chat-usage"),
    path("usage/reset", usage_api.UsageResetView.as_view(), name="chat-usage-reset"),
]
