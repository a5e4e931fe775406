"""Accounts: people, their sign-in and their API tokens."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and how they prove who they are."""

    name = "apps.accounts"

    def ready(self) -> None:
        """Name our ways to sign in for the API's description."""
        from apps.accounts import schema  # noqa: F401 -- registers itself
