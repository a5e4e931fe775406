"""What every page may know about the installation."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def facts(request: HttpRequest) -> dict[str, bool]:
    """Return a template's facts: whether strangers may make an account."""
    return {"sign_up_open": settings.SIGN_UP_OPEN}
