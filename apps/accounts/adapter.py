"""How django-allauth behaves here."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is open only where the operator opened it."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether strangers may make an account."""
        return bool(settings.SIGN_UP_OPEN)
