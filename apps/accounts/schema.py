"""How the OpenAPI schema describes our ways to sign in."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class ApiTokenScheme(OpenApiAuthenticationExtension):
    """`Authorization: Token <key>`."""

    target_class = "apps.accounts.authentication.ApiTokenAuthentication"
    name = "ApiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the scheme. It is a header of our own form: `http` knows no `Token` scheme."""
        description = "`Token <key>`, with a key from Settings → API tokens."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}


class BrowserSessionScheme(OpenApiAuthenticationExtension):
    """A signed-in browser's cookie."""

    target_class = "apps.accounts.authentication.BrowserSessionAuthentication"
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the scheme."""
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
