"""Addresses of operators' usage endpoints, below `/api/admin/`."""

from django.urls import path

from apps.chat.usage import operator_api as api

urlpatterns = [
    path("users/rate-limit", api.RateLimitView.as_view(), name="admin-rate-limit"),
    path("users/rate-limit/reset", api.RateLimitResetView.as_view(), name="admin-rate-limit-reset"),
    path("users/rate-limit/tier", api.RateLimitTierView.as_view(), name="admin-rate-limit-tier"),
]
