"""Accounts: people, their sign-in and their API tokens."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and how they prove who they are."""

    name = "apps.accounts"
