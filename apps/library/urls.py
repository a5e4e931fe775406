"""The library's API, a room at a time."""

from __future__ import annotations

from django.urls import include, path

from apps.library.briefing_api import BriefingView

urlpatterns = [
    path("briefing", BriefingView.as_view(), name="library-briefing"),
    path("", include("apps.library.graphs.urls")),
    path("", include("apps.library.executor.urls")),
    path("", include("apps.library.schedules.urls")),
    path("", include("apps.library.reviews.urls")),
    path("", include("apps.library.webhooks.urls")),
    path("", include("apps.library.credentials.urls")),
]
