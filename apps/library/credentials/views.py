"""The page to which services send people back who connected an account."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from apps.library.credentials import oauth
from apps.library.errors import ConnectionRefused, CredentialInvalid
from apps.runtime.errors import DomainError, Unavailable


@login_required
@never_cache
@require_GET
def connected(request: HttpRequest) -> HttpResponse:
    """Finish connecting an account and say how it went.

    It is a GET that writes, as OAuth wants it; the state makes sure that this person began it.
    """
    assert request.user.pk is not None
    state, code = request.GET.get("state", ""), request.GET.get("code", "")
    try:
        made = oauth.finish(user_id=request.user.pk, state=state, code="" if "error" in request.GET else code)
    except (ConnectionRefused, CredentialInvalid, Unavailable) as error:
        refusal: DomainError = error
        return render(request, "library/connected.html", {"refusal": refusal.detail}, status=400)
    response = render(request, "library/connected.html", {"credential": made})
    response["Referrer-Policy"] = "no-referrer"
    return response
