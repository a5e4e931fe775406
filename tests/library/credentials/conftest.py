"""A provider of accounts on this machine, and people's credentials."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from apps.library import api_client
from apps.library.credentials import oauth, refresh
from apps.library.credentials.providers import PROVIDERS
from tests.library.http_service import Service, running_service


class OAuthServer(Service):
    """Speaks OAuth 2's authorization code with PKCE, and gives each refresh token once."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, dict[str, str]] = {}
        self.refresh_tokens: set[str] = set()
        self.refreshes = 0
        self.life_seconds: int | None = 3600
        self.pause_seconds = 0.0
        self.failure: tuple | None = None
        self.lock = threading.Lock()
        self.on("POST", "/token", self.token)

    def say_yes(self, authorize_url: str) -> dict[str, str]:
        """Do what a person's browser does; returns what the provider sends back with."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(authorize_url).query).items()}
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = query
        return {"code": code, "state": query["state"]}

    def token(self, request) -> tuple:
        time.sleep(self.pause_seconds)
        if self.failure is not None:
            return self.failure
        form = request.form()
        if (form.get("client_id"), form.get("client_secret")) != ("our-client", "our-client-secret"):
            return 401, {"error": "invalid_client"}
        with self.lock:
            return self.by_code(form) if form["grant_type"] == "authorization_code" else self.by_refresh(form)

    def by_code(self, form: dict[str, str]) -> tuple:
        asked = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not asked or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        return self.tokens(asked.get("scope", ""))

    def by_refresh(self, form: dict[str, str]) -> tuple:
        if form["refresh_token"] not in self.refresh_tokens:
            return 400, {"error": "invalid_grant"}
        self.refresh_tokens.remove(form["refresh_token"])
        self.refreshes += 1
        return self.tokens("")

    def tokens(self, scope: str) -> tuple:
        refresh_token = f"refresh-{secrets.token_hex(8)}"
        self.refresh_tokens.add(refresh_token)
        body = {
            "access_token": f"access-{secrets.token_hex(8)}",
            "refresh_token": refresh_token,
            "token_type": "bearer",
        }
        if scope:
            body["scope"] = scope
        return 200, body if self.life_seconds is None else {**body, "expires_in": self.life_seconds}


@pytest.fixture
def provider(settings, monkeypatch) -> Iterator[OAuthServer]:
    """A provider that plays GitHub; this installation is known to it."""
    with running_service(OAuthServer) as server:
        played = {
            **PROVIDERS,
            "github": replace(
                PROVIDERS["github"], authorize_url=f"{server.url}/authorize", token_url=f"{server.url}/token"
            ),
        }
        monkeypatch.setattr(oauth, "PROVIDERS", played)
        monkeypatch.setattr(refresh, "PROVIDERS", played)
        monkeypatch.setattr(api_client, "LOCAL_PLACES", frozenset({server.place}))
        settings.OAUTH_CLIENTS = {"github": {"client_id": "our-client", "client_secret": "our-client-secret"}}
        yield server
