"""Addresses of reviews, below `/api/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.reviews import api

urlpatterns = [
    path("reviews", api.ReviewListView.as_view(), name="library-reviews"),
    path("reviews/actions", api.ReviewActionsView.as_view(), name="library-review-actions"),
    path(
        "executions/<uuid:execution_id>/reviews",
        api.ExecutionReviewListView.as_view(),
        name="library-execution-reviews",
    ),
]
