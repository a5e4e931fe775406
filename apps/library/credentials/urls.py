"""Addresses of credentials, below `/api/library/`."""

from __future__ import annotations

from django.urls import path

from apps.library.credentials import api

urlpatterns = [
    path("credentials", api.CredentialListView.as_view(), name="credentials"),
    path("credentials/providers", api.ProviderListView.as_view(), name="credential-providers"),
    path("credentials/connect", api.ConnectView.as_view(), name="credential-connect"),
    path("credentials/<uuid:credential_id>", api.CredentialView.as_view(), name="credential"),
]
