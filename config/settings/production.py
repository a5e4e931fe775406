"""A deployment behind a TLS proxy. What is missing stops the start."""

from __future__ import annotations

from config.env import refuse_local_host, require
from config.settings.base import *  # noqa: F403
from config.settings.base import (
    ANTHROPIC_BASE_URL,
    CHAT_ALLOW_LOCAL_MODEL_HOSTS,
    OPENAI_BASE_URL,
    STORAGES,
    TRUSTED_PROXIES,
)

if not CHAT_ALLOW_LOCAL_MODEL_HOSTS:
    for _name, _url in (("OPENAI_BASE_URL", OPENAI_BASE_URL), ("ANTHROPIC_BASE_URL", ANTHROPIC_BASE_URL)):
        refuse_local_host(_name, _url)
for _name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL"):
    require(_name)

DEBUG = False
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "config.storage.StaticFilesStorage"}}
