"""How a request proves who sent it."""

from __future__ import annotations

from typing import Any

from rest_framework import authentication, exceptions
from rest_framework.request import Request

from apps.accounts import services


class ApiTokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Token <key>`, for programs."""

    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the key's owner, or None when the request carries no token.

        Raises:
            AuthenticationFailed: When it carries one that is malformed, unknown or revoked.
        """
        key = services.key_in(authentication.get_authorization_header(request))
        if key is None:
            return None
        user = services.user_for_key(key)
        if user is None:
            raise exceptions.AuthenticationFailed("This token is unknown or revoked.")
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that makes refusals a 401 and not a 403."""
        return self.keyword


class BrowserSessionAuthentication(authentication.SessionAuthentication):
    """A signed-in browser; unsafe methods need the CSRF token."""
