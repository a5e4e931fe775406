"""What people and operators see of usage, and whether its rows agree."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.accounts.models import User
from apps.chat.usage import windows
from apps.chat.usage.models import CostEntry, UsageOverride, UsageWindow
from tests.chat.usage_tools import NOON, pay

pytestmark = pytest.mark.django_db

USAGE = "/api/chat/usage"


# Seeing it ------------------------------------------------------------------------------------------------------


def test_people_see_percents_of_their_own_usage(owner, teammate, stranger):
    now = timezone.now()
    pay(owner, 250_000)

    answer = owner.client.get(USAGE)

    assert answer.json() == {
        "daily": {"percent_used": 25.0, "resets_at": windows.resets_at("daily", now).strftime("%Y-%m-%dT%H:%M:%SZ")},
        "weekly": {"percent_used": 5.0, "resets_at": windows.resets_at("weekly", now).strftime("%Y-%m-%dT%H:%M:%SZ")},
        "tier": "FREE",
        "reset_cost": 0,
    }
    assert teammate.client.get(USAGE).json()["daily"]["percent_used"] == 0.0
    assert stranger.client.get(USAGE).status_code == 401


@pytest.mark.parametrize("rows", [1, 3])
def test_usage_costs_the_same_however_much_was_used(owner, rows, django_assert_num_queries):
    for days in range(rows):
        pay(owner, 5, timezone.now() - timedelta(days=days))
    owner.client.get(USAGE)  # notes the token's first use
    with django_assert_num_queries(5):  # the token, the tier, live settings, the override, both windows
        owner.client.get(USAGE)


# Operators ------------------------------------------------------------------------------------------------------

LIMITS = "/api/admin/users/rate-limit"
OPERATORS = [
    ("get", LIMITS),
    ("post", f"{LIMITS}/reset"),
    ("get", f"{LIMITS}/tier"),
    ("post", f"{LIMITS}/tier"),
]


@pytest.fixture
def operator(teammate):
    User.objects.filter(pk=teammate.user.pk).update(is_staff=True)
    return teammate


@pytest.mark.parametrize(("method", "address"), OPERATORS)
def test_only_operators_get_in(owner, stranger, method, address):
    body = {"user_id": str(owner.user.pk), "tier": "ENTERPRISE"}
    assert getattr(owner.client, method)(address, body, format="json").status_code == 403
    assert getattr(stranger.client, method)(address, body, format="json").status_code == 401
    owner.user.refresh_from_db()
    assert owner.user.tier == "FREE"


@pytest.mark.parametrize("by", ["user_id", "email"])
def test_operators_see_limits_and_spend(owner, operator, by):
    pay(owner, 123)
    wanted = {"user_id": str(owner.user.pk), "email": " OWNER@example.com"}
    assert operator.client.get(LIMITS, {by: wanted[by]}).json() == {
        "user_id": str(owner.user.pk),
        "user_email": "owner@example.com",
        "daily_cost_limit_microdollars": 1_000_000,
        "weekly_cost_limit_microdollars": 5_000_000,
        "daily_cost_used_microdollars": 123,
        "weekly_cost_used_microdollars": 123,
        "tier": "FREE",
    }


def test_operators_get_404_for_unknown_people(operator):
    unknown = "00000000-0000-4000-8000-000000000000"
    for address in (LIMITS, f"{LIMITS}/tier"):
        assert operator.client.get(address, {"email": "nobody@example.com"}).status_code == 404
        assert operator.client.get(address, {"user_id": unknown}).status_code == 404
    for tail, more in (("reset", {}), ("tier", {"tier": "PRO"})):
        answer = operator.client.post(f"{LIMITS}/{tail}", {"user_id": unknown, **more}, format="json")
        assert answer.status_code == 404


@pytest.mark.parametrize("query", [{}, {"user_id": "x"}, {"email": "a@b.c", "user_id": str(NOON)}])
def test_operators_name_one_person(operator, query):
    assert operator.client.get(LIMITS, query).status_code == 400


@pytest.mark.parametrize(("weekly", "left"), [(False, 900), (True, 0)])
def test_operators_clear_windows(owner, operator, weekly, left):
    pay(owner, 900)
    body = {"user_id": str(owner.user.pk), **({"reset_weekly": True} if weekly else {})}
    answer = operator.client.post(f"{LIMITS}/reset", body, format="json").json()
    assert (answer["daily_cost_used_microdollars"], answer["weekly_cost_used_microdollars"]) == (0, left)
    call_command("reconcile_usage")  # what was forgiven is still accounted for


def test_operators_set_tiers(owner, operator):
    address = f"{LIMITS}/tier"
    body = {"user_id": str(owner.user.pk), "tier": "BUSINESS"}
    assert operator.client.post(address, body, format="json").json() == body
    assert operator.client.get(address, {"email": "owner@example.com"}).json() == body
    assert operator.client.post(address, {**body, "tier": "GOLD"}, format="json").status_code == 400
    assert operator.client.post(address, {**body, "typo": 1}, format="json").status_code == 400
    assert owner.client.get(USAGE).json()["tier"] == "BUSINESS"


def test_the_admin_shows_facts_and_edits_limits(client, owner):
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery staple"))
    pay(owner, 5)
    for name in ("usagewindow", "costentry"):
        assert client.get(f"/admin/chat/{name}/").status_code == 200
        assert client.get(f"/admin/chat/{name}/add/").status_code == 403
    entry = CostEntry.objects.get()
    assert client.post(f"/admin/chat/costentry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    form = {"user": str(owner.user.pk), "daily_limit_microdollars": "5", "weekly_limit_microdollars": ""}
    assert client.post("/admin/chat/usageoverride/add/", form).status_code == 302
    assert owner.client.get(USAGE).json()["daily"]["percent_used"] == 100.0
    form = {"key": "CHAT_WEEKLY_LIMIT_MICRODOLLARS", "value": "10"}
    for wrong in ({"value": "-1"}, {"value": "many"}, {"key": "CHAT_WEEKLY_LIMIT"}):
        assert client.post("/admin/accounts/livesetting/add/", form | wrong).status_code == 200
    assert client.post("/admin/accounts/livesetting/add/", form).status_code == 302
    assert owner.client.get(USAGE).json()["weekly"]["percent_used"] == 50.0
    assert client.post(f"/admin/accounts/user/{owner.user.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not CostEntry.objects.exists()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ["usagewindow", "costentry", "usageoverride"])
def test_operators_lists_cost_the_same_however_long(client, owner, teammate, name, rows, django_assert_num_queries):
    client.force_login(User.objects.create_superuser("root@example.com", "correct horse battery staple"))
    for number in range(rows):
        user = User.objects.create_user(f"{number}@example.com")
        CostEntry.objects.create(user=user, provider="demo", model="demo")
        UsageOverride.objects.create(user=user)
        UsageWindow.objects.create(user=user, kind="daily", starts_at=NOON)
    queries = 5 if name == "costentry" else 4  # browser session, operator, how many, the page; its filter by provider
    with django_assert_num_queries(queries):
        assert client.get(f"/admin/chat/{name}/").status_code == 200


# Reconciliation -------------------------------------------------------------------------------------------------


def test_windows_are_the_sums_of_1000_random_bookings(owner, teammate, capsys):
    chance = random.Random(11)
    for _ in range(1000):
        moment = timezone.now() - timedelta(seconds=chance.randrange(20 * 86_400))
        pay(chance.choice([owner, teammate]), chance.choice([0, 1, chance.randrange(50_000)]), moment)

    call_command("reconcile_usage")

    assert "Everything agrees." in capsys.readouterr().out
    for row in UsageWindow.objects.all():
        end = row.starts_at + windows.LENGTH[UsageWindow.Kind(row.kind)]
        entries = CostEntry.objects.filter(user=row.user_id, created_at__gte=row.starts_at, created_at__lt=end)
        assert row.used_microdollars == sum(entries.values_list("microdollars", flat=True))


def test_reconciling_names_what_differs(owner, teammate, capsys):
    pay(owner, 100)
    pay(teammate, 100)
    UsageWindow.objects.filter(user=owner.user, kind="weekly").update(used_microdollars=90)
    UsageWindow.objects.filter(user=teammate.user, kind="daily").delete()

    with pytest.raises(CommandError, match="2 differences"):
        call_command("reconcile_usage")

    out = capsys.readouterr().out
    assert f"user {owner.user.pk}: booked 100, counted 90" in out
    assert f"user {teammate.user.pk}: booked 100, counted 0" in out


def test_reconciling_compares_a_providers_export(owner, tmp_path, capsys):
    now = timezone.now()
    pay(owner, 2_000_000, now, model="small")
    pay(owner, 500_000, now, model="large")
    export = tmp_path / "activity.csv"
    day = f"{now:%Y-%m-%d}"
    export.write_text(f"date,model,usage\n{day},small,1.5\n{day},small,0.5004\n{day},large,0.7\n")

    with pytest.raises(CommandError, match="1 differences"):
        call_command("reconcile_usage", export=export)
    assert f"export {day} large: booked 500000, the provider says 700000" in capsys.readouterr().out

    export.write_text("when,what\n")
    with pytest.raises(CommandError, match="needs the columns"):
        call_command("reconcile_usage", export=export)
    export.write_text("date,model,cost\n2026-11-18,small,NaN\n")
    with pytest.raises(CommandError, match="Line 2"):
        call_command("reconcile_usage", export=export)
