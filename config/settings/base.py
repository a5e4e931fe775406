"""What all settings share. `config/env.py` holds the table of environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF

from config.env import BASE_DIR, read
from config.logs import logging_config

VAR_DIR = Path(read("VAR_DIR") or BASE_DIR / "var").resolve()

SECRET_KEY = read("SECRET_KEY")
DEBUG = read("DEBUG")
ALLOWED_HOSTS = read("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = read("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "channels",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.accounts",
    "apps.billing",
    "apps.workspace",
    "apps.library",
    "apps.chat",
    "config",
]

MIDDLEWARE = [
    "config.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.pages.facts",
            ]
        },
    }
]

# Times and words
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False


# Databases
def database(url: str) -> dict[str, Any]:
    """Return Django's settings for a database URL, alike in every process of the product.

    SQLite: WAL, and every transaction IMMEDIATE, so that a writer waits for its turn instead of failing in the middle.
    PostgreSQL: a pool whose connections are checked when they are taken out, so that a restarted server is survived.
    """
    parsed = dict(environ.Env.db_url_config(url or f"sqlite:///{VAR_DIR / 'flightdeck.sqlite3'}"))
    if parsed["ENGINE"].endswith("sqlite3"):
        parsed["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,  # seconds that a writer waits for another
            # Without waiting for the disk at each commit: what is committed outlives every killed process, but the last
            # moments before the machine's power goes may be lost. The file itself stays whole.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    else:
        parsed["CONN_HEALTH_CHECKS"] = True
        parsed["OPTIONS"] = {
            "pool": {"min_size": 0, "max_size": read("DATABASE_POOL_SIZE"), "timeout": 10},
            "connect_timeout": 5,
        }
    return parsed


def workspace_storage(url: str, folder: Path) -> dict[str, Any]:
    """Return Django's settings for where workspace files lie: a folder, `s3://bucket/prefix` or `gs://bucket/prefix`."""
    parsed = urlsplit(url)
    if not url:
        # Nobody but the product reads these; they never have an address of their own.
        options: dict[str, Any] = {"location": folder, "base_url": None, "file_permissions_mode": 0o600}
        return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}
    place = {"bucket_name": parsed.netloc, "location": parsed.path.strip("/"), "file_overwrite": False}
    if parsed.scheme == "s3":
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**place, "querystring_expire": 300}}
    return {"BACKEND": "storages.backends.gcloud.GoogleCloudStorage", "OPTIONS": {**place, "expiration": 300}}


DATABASES = {"default": database(read("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Redis: events and wake-ups, never the only copy of anything
REDIS_URL = read("REDIS_URL") or "redis://127.0.0.1:6379/0"
REDIS_PREFIX = read("REDIS_PREFIX")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": REDIS_PREFIX},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# Celery: starts runs and timed work; it never carries tokens
CELERY_BROKER_URL = read("CELERY_BROKER_URL") or REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # a task is only a wake-up: the lease in the row decides who runs
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "apps.chat.tasks.run_turn": {"queue": "turns"},
    "apps.library.tasks.run_execution": {"queue": "graphs"},
}
CELERY_TASK_PUBLISH_RETRY = False  # whoever publishes must not hang on a broker that is down
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"socket_connect_timeout": 2, "socket_timeout": 10, "global_keyprefix": f"{REDIS_PREFIX}:"}
    if CELERY_BROKER_URL.startswith(("redis", "unix"))
    else {}
)
SCHEDULE_TICK_SECONDS = read("SCHEDULE_TICK_SECONDS")
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "clear-expired-sign-ins": {"task": "apps.accounts.tasks.clear_expired_sign_ins", "schedule": 24 * 3600.0},
    "remove-stray-blobs": {"task": "apps.workspace.tasks.remove_strays", "schedule": 3600.0},
    # A tick that nobody took in time is worth nothing: the next one does the same.
    "fire-due-schedules": {
        "task": "apps.library.tasks.fire_due_schedules",
        "schedule": SCHEDULE_TICK_SECONDS,
        "options": {"expires": SCHEDULE_TICK_SECONDS},
    },
}

# People
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "copilot"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "apps.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_SESSION_REMEMBER = True
SIGN_UP_OPEN = read("SIGN_UP_OPEN")

# E-mail
vars().update(environ.Env.email_url_config(read("EMAIL_URL")))
DEFAULT_FROM_EMAIL = read("DEFAULT_FROM_EMAIL")

# Files that belong to pages
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
SERVESTATIC_ALLOW_ALL_ORIGINS = False

# Browser-side safety. No page needs inline script, eval or another host.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes of a request body that is not a file
TRUSTED_PROXIES = read("TRUSTED_PROXIES")

# The API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.accounts.authentication.ApiTokenAuthentication",
        "apps.accounts.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["apps.runtime.rest.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["apps.runtime.rest.PatientThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "1200/min"},
    "EXCEPTION_HANDLER": "config.api.exception_handler",
    "NUM_PROXIES": TRUSTED_PROXIES,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Flightdeck",
    "VERSION": "0.1.0",
    "DESCRIPTION": "Copilots that reason, call tools and stream their answers live.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.chat.schema.add_stream_endpoint",
        "apps.chat.schema.add_refusals",
    ],
}

# Models. With no key at all the offline demo model answers.
OPENROUTER_API_KEY = read("OPENROUTER_API_KEY")
OPENAI_API_KEY = read("OPENAI_API_KEY")
OPENAI_BASE_URL = read("OPENAI_BASE_URL")
ANTHROPIC_API_KEY = read("ANTHROPIC_API_KEY")
ANTHROPIC_BASE_URL = read("ANTHROPIC_BASE_URL")
DEMO_MODEL_URL = read("DEMO_MODEL_URL")
CHAT_ALLOW_LOCAL_MODEL_HOSTS = read("CHAT_ALLOW_LOCAL_MODEL_HOSTS")
CHAT_MODEL = read("CHAT_MODEL")
CHAT_ADVANCED_MODEL = read("CHAT_ADVANCED_MODEL")
CHAT_MAX_THINKING_TOKENS = read("CHAT_MAX_THINKING_TOKENS")
CHAT_THINKING_EFFORT = read("CHAT_THINKING_EFFORT")

# Turns
CHAT_DEFAULT_MODE = read("CHAT_DEFAULT_MODE")
CHAT_TITLE_MODEL = read("CHAT_TITLE_MODEL")
CHAT_PROMPT_CACHE_TTL = read("CHAT_PROMPT_CACHE_TTL")
CHAT_MODEL_FACTS = read("CHAT_MODEL_FACTS")
CHAT_DAILY_LIMIT_MICRODOLLARS = read("CHAT_DAILY_LIMIT_MICRODOLLARS")
CHAT_WEEKLY_LIMIT_MICRODOLLARS = read("CHAT_WEEKLY_LIMIT_MICRODOLLARS")
CHAT_USAGE_RESET_COST_CENTS = read("CHAT_USAGE_RESET_COST_CENTS")
CHAT_MAX_DAILY_RESETS = read("CHAT_MAX_DAILY_RESETS")
# What operators may also set in the admin, while everything runs.
LIVE_SETTINGS = (
    "CHAT_DAILY_LIMIT_MICRODOLLARS",
    "CHAT_WEEKLY_LIMIT_MICRODOLLARS",
    "CHAT_USAGE_RESET_COST_CENTS",
    "CHAT_MAX_DAILY_RESETS",
)
CHAT_AGENT_CACHE_SIZE = read("CHAT_AGENT_CACHE_SIZE")
CHAT_AGENT_IDLE_SECONDS = read("CHAT_AGENT_IDLE_SECONDS")
CHAT_TOOL_MODULES = read("CHAT_TOOL_MODULES")
CHAT_MAX_TOOL_ROUNDS = read("CHAT_MAX_TOOL_ROUNDS")
CHAT_TOOL_TIMEOUT_SECONDS = read("CHAT_TOOL_TIMEOUT_SECONDS")
CHAT_DELTA_WINDOW_SECONDS = read("CHAT_DELTA_WINDOW_SECONDS")
TURN_CONCURRENCY = read("TURN_CONCURRENCY")
LEASE_SECONDS = read("LEASE_SECONDS")
LEASE_RENEW_SECONDS = read("LEASE_RENEW_SECONDS")
LEASE_SWEEP_SECONDS = read("LEASE_SWEEP_SECONDS")
SHUTDOWN_GRACE_SECONDS = read("SHUTDOWN_GRACE_SECONDS")
STREAM_TTL_SECONDS = read("STREAM_TTL_SECONDS")
SOCKETS_PER_USER = read("SOCKETS_PER_USER")
SOCKET_RECHECK_SECONDS = read("SOCKET_RECHECK_SECONDS")

# Agents
LIBRARY_BLOCK_MODULES = read("LIBRARY_BLOCK_MODULES")
GRAPH_CONCURRENCY = read("GRAPH_CONCURRENCY")
NODE_CONCURRENCY = read("NODE_CONCURRENCY")
CREDENTIAL_KEYS = read("CREDENTIAL_KEYS")
OAUTH_CLIENTS = read("OAUTH_CLIENTS")
PUBLIC_URL = read("PUBLIC_URL")

# Workspaces: where files lie, and how much of them
WORKSPACE_FILE_LIMIT_BYTES = read("WORKSPACE_FILE_LIMIT_BYTES")
WORKSPACE_QUOTA_BYTES = read("WORKSPACE_QUOTA_BYTES")
CLAMD_URL = read("CLAMD_URL")
CLAMD_FAIL_OPEN = read("CLAMD_FAIL_OPEN")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR_DIR / "media"}},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "workspace": workspace_storage(read("WORKSPACE_STORAGE_URL"), VAR_DIR / "workspace"),
}

# Logs: one JSON object a line, with ids and never with words of people
LOGGING_CONFIG = None
logging_config(read("LOG_FORMAT"), read("LOG_LEVEL"))
