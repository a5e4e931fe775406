"""Addresses of the accounts API."""

from django.urls import path

from apps.accounts import (
    api,
    schema,  # noqa: F401 -- names our ways to sign in for the API's description, where addresses are known at all
)

urlpatterns = [
    path("me", api.MeView.as_view(), name="me"),
    path("tokens", api.ApiTokenListView.as_view(), name="api-tokens"),
    path("tokens/<uuid:token_id>", api.ApiTokenView.as_view(), name="api-token"),
]
