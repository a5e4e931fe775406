"""The demo sign-in of a local installation."""

from __future__ import annotations

import json
import stat

import pytest

from apps.accounts.models import ApiToken, User
from apps.accounts.services import revoke_api_token, user_for_key
from apps.billing.models import CreditTransaction
from config.supervision.account import ensure_demo_account

pytestmark = pytest.mark.django_db


def test_the_first_start_makes_an_operator_and_keeps_how_to_sign_in(tmp_path):
    account = ensure_demo_account(tmp_path)

    user = User.objects.get()
    assert (user.email, user.is_staff, user.is_superuser) == ("demo@flightdeck.local", True, True)
    assert user.check_password(account.password)
    assert user_for_key(account.token) == user
    kept = tmp_path / "demo.json"
    assert json.loads(kept.read_text()) == {
        "email": account.email,
        "password": account.password,
        "token": account.token,
    }
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_later_starts_change_nothing(tmp_path):
    first = ensure_demo_account(tmp_path)
    hashed = User.objects.get().password

    assert ensure_demo_account(tmp_path) == first
    assert User.objects.get().password == hashed
    assert ApiToken.objects.count() == 1


def test_a_new_database_gets_the_kept_password(tmp_path):
    first = ensure_demo_account(tmp_path)
    CreditTransaction.objects.all().delete()
    User.objects.all().delete()

    again = ensure_demo_account(tmp_path)

    assert (again.email, again.password) == (first.email, first.password)
    assert user_for_key(again.token) == User.objects.get()


def test_a_revoked_key_is_replaced(tmp_path):
    first = ensure_demo_account(tmp_path)
    revoke_api_token(user=User.objects.get(), token_id=ApiToken.objects.get().pk)

    again = ensure_demo_account(tmp_path)

    assert again.token != first.token
    assert user_for_key(again.token) == User.objects.get()


def test_a_lost_file_makes_a_new_password(tmp_path):
    first = ensure_demo_account(tmp_path)
    (tmp_path / "demo.json").write_text("{")

    again = ensure_demo_account(tmp_path)

    assert again.password != first.password
    assert User.objects.get().check_password(again.password)
