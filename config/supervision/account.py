"""The demo sign-in of a local installation: one operator, whose password and API key stay in the var folder."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import transaction

from apps.accounts.models import User
from apps.accounts.services import create_api_token, user_for_key
from apps.billing import services as billing
from apps.library.graphs.examples import load_examples
from config.supervision.state import write_private

EMAIL = "demo@flightdeck.local"
FILE_NAME = "demo.json"
#: What the demo account may spend on agents, so that examples which ask a model can be tried.
DEMO_CREDITS_CENTS = 1_000


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """How to sign in: in a browser, and as a program."""

    email: str
    password: str
    token: str


def ensure_demo_account(var: Path) -> DemoAccount:
    """Make the demo account, or mend it so that what `demo.json` says opens the door.

    It is an operator, so that the admin can be looked at: only local installations call this.

    Args:
        var: The var folder; `demo.json` in it is made when it is missing.

    Returns:
        What signs in from now on. An unchanged account is not written to.
    """
    path = var / FILE_NAME
    kept = _read(path)
    account = _ensure(kept or DemoAccount(EMAIL, secrets.token_urlsafe(12), ""))
    if account != kept:
        write_private(path, asdict(account))
    return account


@transaction.atomic
def _ensure(wanted: DemoAccount) -> DemoAccount:
    known = User.objects.filter(email=wanted.email).first()
    user = known or User(email=wanted.email)
    if not (user.is_superuser and user.is_staff and user.is_active and user.check_password(wanted.password)):
        user.is_superuser = user.is_staff = user.is_active = True
        user.set_password(wanted.password)
        user.save()
    if known is None:  # later, what was deleted stays deleted, and what was spent stays spent
        load_examples(user.pk)
        billing.grant(user_id=user.pk, amount_cents=DEMO_CREDITS_CENTS, key=f"demo-account:{user.pk}")
    if wanted.token and user_for_key(wanted.token) == user:
        return wanted
    _, key = create_api_token(user=user, name="Demo")
    return DemoAccount(wanted.email, wanted.password, key)


def _read(path: Path) -> DemoAccount | None:
    """Return what is kept, or None when there is nothing usable: it is then made anew."""
    try:
        return DemoAccount(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
