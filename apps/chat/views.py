"""The copilot page."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from apps.accounts.models import User
from apps.chat import queries
from apps.chat.models import MESSAGE_LIMIT, Turn
from apps.chat.turns.route import fast_provider


@require_GET
@login_required
@never_cache
@ensure_csrf_cookie
def copilot(request: HttpRequest) -> HttpResponse:
    """Show the page; conversations are loaded by the page itself."""
    user = request.user
    assert isinstance(user, User)
    provider = fast_provider()
    page_data = {
        "demo": provider.name == "demo",
        "model": provider.model(Turn.Tier.STANDARD),
        "user": {"email": user.email, "name": user.get_short_name()},
        "suggested_prompts": queries.suggested_prompts(user.pk),
        "message_limit": MESSAGE_LIMIT,
        "file_limit_bytes": settings.WORKSPACE_FILE_LIMIT_BYTES,
    }
    return render(request, "chat/copilot.html", {"page_data": page_data})
