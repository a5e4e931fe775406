"""One machine, one person, nothing configured: what `make run` uses."""

from __future__ import annotations

import os
import secrets
import sys

from config.settings.base import *  # noqa: F403
from config.settings.base import ALLOWED_HOSTS, INSTALLED_APPS, SECRET_KEY, VAR_DIR

VAR_DIR.mkdir(mode=0o700, exist_ok=True)


def kept_secret_key() -> str:
    """Return this checkout's own secret key, made on the first start and kept, so that sign-ins outlive restarts."""
    path = VAR_DIR / "secret_key"
    try:
        # O_EXCL: of several processes that start at once one makes the key, the others read it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(50))
    return path.read_text(encoding="ascii")


SECRET_KEY = SECRET_KEY or kept_secret_key()
# Only Django's own `runserver` needs daphne (to speak websockets), and importing it takes every process half a second.
if "runserver" in sys.argv[1:2]:
    INSTALLED_APPS = ["daphne", *INSTALLED_APPS]
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "localhost", "127.0.0.1", "[::1]"]
CHAT_ALLOW_LOCAL_MODEL_HOSTS = True
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = True
