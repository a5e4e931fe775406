"""Keys to other services: the list, adding, connecting and deleting. What a key holds is never shown again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from apps.accounts.models import User
from apps.library.blocks.registry import all_blocks
from apps.library.credentials import oauth, queries, services
from apps.library.credentials.providers import PROVIDERS, client_of
from apps.library.credentials.serializers import MAX_SECRET_CHARS
from apps.library.errors import CredentialInUse, CredentialInvalid
from apps.library.models import Credential
from apps.library.views.frame import page, page_number, paging, tell_error

CREDENTIALS_A_PAGE = 50
TITLE_LENGTH = 200
TYPES = (Credential.Type.API_KEY, Credential.Type.USER_PASSWORD, Credential.Type.HOST_SCOPED)
WORDS = {
    Credential.Type.API_KEY: "API key",
    Credential.Type.USER_PASSWORD: "User and password",
    Credential.Type.HOST_SCOPED: "Headers for a host",
    Credential.Type.OAUTH2: "Connected account",
}


@dataclass(slots=True)
class CredentialForm:
    """A new key as it was entered. Secrets aren't sent back to the page."""

    type: str = str(Credential.Type.API_KEY)
    provider: str = ""
    title: str = ""
    username: str = ""
    host: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, request: HttpRequest) -> CredentialForm:
        """Return what was sent, with what is wrong."""
        sent = {name: request.POST.get(name, "").replace("\x00", "").strip() for name in ("type", "provider", "title")}
        form = cls(
            type=sent["type"],
            provider=sent["provider"],
            title=sent["title"],
            username=request.POST.get("username", "").strip(),
            host=request.POST.get("host", "").strip(),
        )
        if form.type not in TYPES:
            form.type = str(Credential.Type.API_KEY)
        form.provider = form.provider.lower()
        if not form.provider:
            form.errors["provider"] = "Name the service, such as openai or github."
        form.title = form.title[:TITLE_LENGTH]
        form._read_values(request)
        return form

    def _read_values(self, request: HttpRequest) -> None:
        secrets = {name: request.POST.get(name, "") for name in ("api_key", "password", "headers")}
        for name, text in secrets.items():
            if len(text) > MAX_SECRET_CHARS or "\x00" in text:
                self.errors[name] = "This is too long."
        match self.type:
            case Credential.Type.USER_PASSWORD:
                self.values = {"username": self.username, "password": secrets["password"]}
            case Credential.Type.HOST_SCOPED:
                self.values = {"headers": self._headers(secrets["headers"])}
                if not self.host:
                    self.errors["host"] = "Say which host these headers may be sent to."
            case _:
                self.values = {"api_key": secrets["api_key"].strip()}
        for name, value in self.values.items():
            if not value:
                self.errors.setdefault(name, "This is needed.")

    def _headers(self, text: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in filter(str.strip, text.splitlines()):
            name, colon, value = line.partition(":")
            if not colon:
                self.errors["headers"] = "Write one header a line, like Authorization: Bearer …"
            found[name.strip()] = value.strip()
        return found


@page("GET", "POST")
def credential_list(request: HttpRequest, user: User) -> HttpResponse:
    """Show keys without what they hold; a POST adds one."""
    form = CredentialForm()
    if request.method == "POST":
        form = CredentialForm.read(request)
        if (made := _make(user, form)) is not None:
            messages.success(request, f"“{made.title}” is stored, encrypted. Your agents can use it now.")
            return redirect("library:credentials")
    number = page_number(request)
    rows, total = queries.list_credentials(
        user_id=user.pk, limit=CREDENTIALS_A_PAGE, offset=(number - 1) * CREDENTIALS_A_PAGE
    )
    context = {
        "rows": [(row, WORDS[row["type"]]) for row in rows],
        "paging": paging(request, number=number, size=CREDENTIALS_A_PAGE, total=total),
        "form": form,
        "types": [(str(kind), WORDS[kind]) for kind in TYPES],
        "services": _services(),
        "providers": [(name, found.title, client_of(name) is not None) for name, found in sorted(PROVIDERS.items())],
    }
    return render(request, "library/credentials.html", context, status=400 if form.errors else 200)


def _services() -> list[str]:
    """Return the names of services that blocks take keys of."""
    inputs = (facts for block in all_blocks().values() for facts in block.credentials_inputs().values())
    return sorted({name for facts in inputs for name in facts["credentials_provider"]})


def _make(user: User, form: CredentialForm) -> Credential | None:
    if form.errors:
        return None
    try:
        return services.create_credential(
            user_id=user.pk,
            provider=form.provider,
            type=form.type,
            title=form.title,
            values=form.values,
            host=form.host if form.type == Credential.Type.HOST_SCOPED else "",
        )
    except CredentialInvalid as error:
        form.errors["form"] = error.detail
        return None


@page("POST")
def connect(request: HttpRequest, user: User) -> HttpResponse:
    """Begin to connect an account; the page links to the service, because forms may not lead to other hosts."""
    provider = request.POST.get("provider", "")
    path = reverse("credential-connected")
    place = settings.PUBLIC_URL.rstrip("/") + path if settings.PUBLIC_URL else request.build_absolute_uri(path)
    try:
        address = oauth.begin(user_id=user.pk, provider=provider, redirect_uri=place)
    except CredentialInvalid as error:
        tell_error(request, error)
        return redirect("library:credentials")
    return render(request, "library/connect.html", {"address": address, "service": PROVIDERS[provider]})


@page("POST")
def delete(request: HttpRequest, user: User, credential_id: UUID) -> HttpResponse:
    """Delete a key; when agents use it, the page first says which."""
    try:
        services.delete_credential(user_id=user.pk, credential_id=credential_id, force="force" in request.POST)
    except CredentialInUse as error:
        context = {"agents": error.fields["agents"], "credential_id": credential_id}
        return render(request, "library/credential_in_use.html", context, status=409)
    messages.success(request, "The credential is deleted.")
    return redirect("library:credentials")
