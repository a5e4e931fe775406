"""The test suite: the same product on a database of its own, with short leases and cheap passwords."""

from __future__ import annotations

import tempfile
from pathlib import Path

from config.settings.base import *  # noqa: F403
from config.settings.base import DATABASES, STORAGES, VAR_DIR, workspace_storage

VAR_DIR.mkdir(mode=0o700, exist_ok=True)
SECRET_KEY = "only-for-tests"  # noqa: S105
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CHAT_ALLOW_LOCAL_MODEL_HOSTS = True
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = True
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ACCOUNT_RATE_LIMITS = False
_folder = tempfile.TemporaryDirectory(prefix="flightdeck-test-")  # goes with the process
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, because several threads and processes share it, as in the product.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(_folder.name) / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
STORAGES["workspace"] = workspace_storage("", Path(_folder.name) / "workspace")
