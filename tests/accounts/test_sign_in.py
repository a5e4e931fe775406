"""Signing in, signing out, and who sees which page."""

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client

from apps.accounts.models import User
from tests.conftest import PASSWORD

LOGIN = "/accounts/login/"


@pytest.fixture
def throttled(settings):
    """Throttles as in the product."""
    del settings.ACCOUNT_RATE_LIMITS
    cache.clear()
    yield
    cache.clear()


def sign_in(client, login="owner@example.com", password=PASSWORD, **options):
    return client.post(LOGIN, {"login": login, "password": password}, **options)


@pytest.mark.parametrize("login", ["owner@example.com", "OWNER@Example.COM", "  owner@example.com "])
def test_the_right_password_signs_in(owner, client, login):
    answer = sign_in(client, login)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/copilot/")
    assert client.get("/api/chat/sessions").status_code == 200


def test_wrong_password_and_unknown_address_look_alike(owner, client):
    answers = [sign_in(client, login, "wrong password") for login in ("owner@example.com", "nobody@example.com")]
    texts = [answer.content.decode().replace("owner@", "x@").replace("nobody@", "x@") for answer in answers]
    errors = [answer.context["form"].errors for answer in answers]
    assert errors[0] == errors[1]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(texts[0]) == len(texts[1])
    assert client.get("/api/chat/sessions").status_code == 401


def test_a_deactivated_person_cannot_sign_in(owner, client):
    User.objects.filter(pk=owner.user.pk).update(is_active=False)
    sign_in(client)
    assert client.get("/api/chat/sessions").status_code == 401


def test_guessing_is_throttled(owner, client, throttled):
    for _ in range(6):
        sign_in(client, password="wrong password")
    answer = sign_in(client)
    assert "Too many failed" in answer.content.decode()
    assert client.get("/api/chat/sessions").status_code == 401


def test_throttles_of_one_account_leave_another_alone(owner, teammate, client, throttled):
    for _ in range(6):
        sign_in(client, password="wrong password")
    assert sign_in(client, "teammate@example.com").status_code == 302


def test_signing_out_ends_the_browser_session(owner):
    browser = Client()
    browser.force_login(owner.user)
    cookie = browser.cookies["sessionid"].value
    assert browser.get("/accounts/logout/").status_code == 200
    assert browser.get("/api/chat/sessions").status_code == 200
    assert browser.post("/accounts/logout/").headers["Location"] == LOGIN
    stolen = Client()
    stolen.cookies["sessionid"] = cookie
    assert stolen.get("/api/chat/sessions").status_code == 401


def test_sign_in_makes_a_new_session(owner, client):
    client.get("/settings/tokens")
    before = client.cookies.get("sessionid")
    sign_in(client)
    assert client.cookies["sessionid"].value != (before.value if before else "")
    assert client.cookies["sessionid"]["httponly"]
    assert client.cookies["sessionid"]["samesite"] == "Lax"


def test_sign_in_needs_the_csrf_token(owner):
    assert sign_in(Client(enforce_csrf_checks=True)).status_code == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_sign_in_leads_nowhere_else(owner, client, target):
    answer = client.post(f"{LOGIN}?next={target}", {"login": "owner@example.com", "password": PASSWORD, "next": target})
    assert answer.headers["Location"] == "/copilot/"


@pytest.mark.parametrize("address", ["/copilot/", "/settings/tokens"])
def test_pages_send_strangers_to_sign_in(db, client, address):
    answer = client.get(address)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{LOGIN}?next={address}")


@pytest.mark.parametrize("address", ["/copilot/", "/settings/tokens"])
def test_pages_open_for_signed_in_people(owner, client, address):
    client.force_login(owner.user)
    answer = client.get(address)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in answer.headers["Cache-Control"]


def test_the_admin_is_for_staff(owner, client):
    client.force_login(owner.user)
    assert client.get("/admin/").status_code == 302
    User.objects.filter(pk=owner.user.pk).update(is_staff=True, is_superuser=True)
    for address in ("/admin/", "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/accounts/apitoken/"):
        assert client.get(address).status_code == 200, address
    assert client.get("/admin/accounts/apitoken/add/").status_code == 403


def test_sign_up_is_closed_unless_opened(db, client, settings):
    fields = {"email": "new@example.com", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/accounts/signup/", fields).status_code == 200
    assert not User.objects.exists()
    settings.SIGN_UP_OPEN = True
    assert client.post("/accounts/signup/", fields).status_code == 302
    assert User.objects.get().email == "new@example.com"


def test_a_forgotten_password_tells_nobody_who_has_an_account(owner, client):
    for address in ("owner@example.com", "nobody@example.com"):
        answer = client.post("/accounts/password/reset/", {"email": address})
        assert answer.headers["Location"] == "/accounts/password/reset/done/"
    assert {message.to[0] for message in mail.outbox} <= {"owner@example.com", "nobody@example.com"}
    assert len([message for message in mail.outbox if message.to == ["owner@example.com"]]) == 1
