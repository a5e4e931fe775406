"""Makes signed-in people with sessions: `python -m bench.people PEOPLE SESSIONS_EACH` prints them as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def make_people(count: int, sessions_each: int) -> list[dict[str, Any]]:
    """Return the browser's cookie, an API key and the session ids of each."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from apps.accounts.models import User
    from apps.accounts.services import create_api_token
    from apps.chat.models import Session

    people = []
    for number in range(count):
        user = User(email=f"bench{number}@example.com")
        user.set_unusable_password()
        user.save()
        store = SessionStore()
        store[SESSION_KEY] = str(user.pk)
        store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        store[HASH_SESSION_KEY] = user.get_session_auth_hash()
        store.save()
        sessions = Session.objects.bulk_create(Session(user=user) for _ in range(sessions_each))
        people.append(
            {
                "cookie": f"{settings.SESSION_COOKIE_NAME}={store.session_key}",
                "key": create_api_token(user=user, name="bench")[1],
                "sessions": [str(session.pk) for session in sessions],
            }
        )
    return people


if __name__ == "__main__":
    django.setup()
    from django.db import transaction

    with transaction.atomic():
        made = make_people(int(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(json.dumps(made))
