"""Addresses of the credits API."""

from django.urls import path

from apps.billing import api

urlpatterns = [
    path("balance", api.BalanceView.as_view(), name="credits-balance"),
    path("transactions", api.TransactionListView.as_view(), name="credits-transactions"),
]
