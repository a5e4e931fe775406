"""Pages about one's own account."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import queries, services
from apps.accounts.forms import ProfileForm
from apps.accounts.models import User
from apps.runtime.errors import NotFound

TOKENS_SHOWN = 100


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show what the person tells of themselves; a POST changes it."""
    user = request.user
    assert isinstance(user, User)
    form = ProfileForm(request.POST) if request.method == "POST" else ProfileForm.of(user)
    if form.is_bound and form.is_valid():
        services.change_profile(user=user, **form.cleaned_data)
        messages.success(request, "Your profile is saved.")
        return redirect("profile")
    return render(request, "settings/profile.html", {"form": form}, status=400 if form.is_bound else 200)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """List the person's API tokens; a POST makes one and shows its key, this once."""
    user = request.user
    assert isinstance(user, User)
    new_key = ""
    if request.method == "POST":
        name = request.POST.get("name", "").strip()
        if name:
            _, new_key = services.create_api_token(user=user, name=name)
        else:
            messages.error(request, "Give the token a name, so that you know it again.")
    rows, total = queries.list_api_tokens(user=user, limit=TOKENS_SHOWN, offset=0)
    return render(request, "settings/tokens.html", {"tokens": rows, "total": total, "new_key": new_key})


@login_required
@require_POST
def revoke_token(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """Revoke one of the person's API tokens and return to the list."""
    assert isinstance(request.user, User)
    try:
        services.revoke_api_token(user=request.user, token_id=token_id)
    except NotFound as error:
        raise Http404 from error
    messages.success(request, "The token is revoked. Programs that use it are refused from now on.")
    return redirect("tokens")
