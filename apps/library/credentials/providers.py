"""Who can be connected by OAuth 2, and how each of them does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from django.conf import settings


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthProvider:
    """A service that lets people connect their account.

    Attributes:
        name: What credentials of it are found by.
        title: What people see.
        authorize_url: Where people say yes.
        token_url: Where codes and refresh tokens are changed for access tokens.
        scopes: What is asked for when nobody asks for more.
        separator: Between scopes.
        extra: Further parameters of `authorize_url`.
        basic_auth: Whether the client names itself by HTTP Basic instead of in the body.
        json_body: Whether `token_url` takes JSON instead of a form.
    """

    name: str
    title: str
    authorize_url: str
    token_url: str
    scopes: tuple[str, ...] = ()
    separator: str = " "
    extra: Mapping[str, str] = field(default_factory=dict)
    basic_auth: bool = False
    json_body: bool = False


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What this installation is to a provider."""

    id: str
    secret: str = field(repr=False)


PROVIDERS: Mapping[str, OAuthProvider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            OAuthProvider(
                name="github",
                title="GitHub",
                authorize_url="https://github.com/login/oauth/authorize",
                token_url="https://github.com/login/oauth/access_token",  # noqa: S106 -- an address
                scopes=("repo",),
            ),
            OAuthProvider(
                name="google",
                title="Google",
                authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
                token_url="https://oauth2.googleapis.com/token",  # noqa: S106 -- an address
                scopes=("openid", "email"),
                # Only then Google gives a refresh token, and gives it again to who has connected before.
                extra={"access_type": "offline", "prompt": "consent", "include_granted_scopes": "true"},
            ),
            OAuthProvider(
                name="slack",
                title="Slack",
                authorize_url="https://slack.com/oauth/v2/authorize",
                token_url="https://slack.com/api/oauth.v2.access",  # noqa: S106 -- an address
                scopes=("chat:write", "channels:read"),
                separator=",",
            ),
            OAuthProvider(
                name="discord",
                title="Discord",
                authorize_url="https://discord.com/oauth2/authorize",
                token_url="https://discord.com/api/oauth2/token",  # noqa: S106 -- an address
                scopes=("identify",),
            ),
            OAuthProvider(
                name="notion",
                title="Notion",
                authorize_url="https://api.notion.com/v1/oauth/authorize",
                token_url="https://api.notion.com/v1/oauth/token",  # noqa: S106 -- an address
                extra={"owner": "user"},
                basic_auth=True,
                json_body=True,
            ),
            OAuthProvider(
                name="linear",
                title="Linear",
                authorize_url="https://linear.app/oauth/authorize",
                token_url="https://api.linear.app/oauth/token",  # noqa: S106 -- an address
                scopes=("read", "write"),
                separator=",",
            ),
        )
    }
)


def client_of(provider: str) -> OAuthClient | None:
    """Return what this installation is to a provider; None where OAUTH_CLIENTS doesn't tell."""
    found = settings.OAUTH_CLIENTS.get(provider)
    if not isinstance(found, Mapping) or not found.get("client_id"):
        return None
    return OAuthClient(str(found["client_id"]), str(found.get("client_secret", "")))
