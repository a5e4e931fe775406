"""Billing: people's credits."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """What people have paid for and what they spent of it."""

    name = "apps.billing"
