"""Managing webhooks over REST, for three people."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit

import pytest
from rest_framework.test import APIClient

from apps.library.models import Webhook, WebhookDelivery
from tests.library.schedules.rows import make_agent
from tests.library.webhooks.callers import (
    SECRET,
    WEBHOOKS,
    call,
    generic,
    github,
    make_preset,
    make_webhook,
    trigger_agent,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent(owner):
    return trigger_agent(owner)


def test_the_address_is_shown_once(owner, agent, settings):
    settings.PUBLIC_URL = "https://flightdeck.example/"
    made = make_webhook(owner, agent, name="Orders")
    assert made.pop("url").startswith(f"https://flightdeck.example{WEBHOOKS}/{made['id']}/")
    assert made.pop("made_secret") == ""
    assert made == {
        "id": made["id"],
        "agent_id": str(agent.pk),
        "agent_name": "Reacts",
        "preset_id": None,
        "name": "Orders",
        "provider": "generic",
        "is_signed": False,
        "is_enabled": True,
        "last_called_at": None,
        "created_at": made["created_at"],
        "deliveries": [],
    }
    assert owner.client.get(f"{WEBHOOKS}/{made['id']}").json() == made
    assert owner.client.get(WEBHOOKS).json() == {"webhooks": [made], "total": 1}


def test_without_a_public_address_it_is_where_it_was_asked(owner, agent):
    assert make_webhook(owner, agent)["url"].startswith("http://testserver/api/")


def test_a_secret_is_made_for_github(owner, agent):
    made = make_webhook(owner, agent, provider="github")
    assert made["is_signed"]
    assert len(made["made_secret"]) > 40
    assert call(made["url"], b"{}", github(b"{}", made["made_secret"])).status_code == 202


def test_an_agent_without_a_trigger_gets_none(owner):
    answer = owner.client.post(WEBHOOKS, {"agent_id": str(make_agent(owner).pk)}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_trigger")
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    "fields", [{"provider": "mail"}, {"secret": "short"}, {"name": "x" * 201}, {"preset_id": "x"}, {"owner": "me"}]
)
def test_what_can_not_be_kept_is_400(owner, agent, fields):
    answer = owner.client.post(WEBHOOKS, {"agent_id": str(agent.pk), **fields}, format="json")
    assert (answer.status_code, set(answer.json())) == (400, set(fields))


def test_it_is_changed(owner, agent):
    made = make_webhook(owner, agent)
    preset = make_preset(agent)
    address = f"{WEBHOOKS}/{made['id']}"

    def change(**fields):
        answer = owner.client.patch(address, fields, format="json")
        assert answer.status_code == 200, answer.content
        return answer.json()

    assert change(name="Orders", preset_id=str(preset.pk))["preset_id"] == str(preset.pk)
    assert change(secret=SECRET)["is_signed"]
    assert call(made["url"]).status_code == 401
    assert call(made["url"], b"{}", generic(b"{}")).status_code == 202
    assert not change(secret=None)["is_signed"]
    assert call(made["url"]).status_code == 202
    off = change(is_enabled=False, preset_id=None)
    assert (off["is_enabled"], off["preset_id"], off["name"]) == (False, None, "Orders")
    assert call(made["url"]).status_code == 404
    assert change() == off


def test_services_that_sign_keep_a_secret(owner, agent):
    made = make_webhook(owner, agent, provider="stripe")
    answer = owner.client.patch(f"{WEBHOOKS}/{made['id']}", {"secret": None}, format="json")
    assert (answer.status_code, set(answer.json())) == (400, {"secret"})


def test_a_new_address_replaces_the_old_one(owner, agent):
    made = make_webhook(owner, agent)
    rotated = owner.client.post(f"{WEBHOOKS}/{made['id']}/rotate").json()
    assert rotated["url"] != made["url"]
    assert call(made["url"]).status_code == 404
    assert call(rotated["url"]).status_code == 202


def test_the_latest_deliveries_are_shown(owner, agent):
    made = make_webhook(owner, agent)
    runs = [call(made["url"], headers={"X-Delivery-ID": f"d-{n}"}).json()["execution_id"] for n in range(6)]
    body = owner.client.get(f"{WEBHOOKS}/{made['id']}").json()
    assert [(row["delivery_id"], row["execution_id"], row["execution_status"]) for row in body["deliveries"]] == [
        (f"d-{n}", runs[n], "QUEUED") for n in (5, 4, 3, 2, 1)
    ]
    assert body["last_called_at"] is not None


def test_a_deleted_run_leaves_its_delivery(owner, agent):
    made = make_webhook(owner, agent)
    call(made["url"], headers={"X-Delivery-ID": "one"})
    WebhookDelivery.objects.get().execution.delete()
    (row,) = owner.client.get(f"{WEBHOOKS}/{made['id']}").json()["deliveries"]
    assert (row["execution_id"], row["execution_status"]) == (None, None)
    again = call(made["url"], headers={"X-Delivery-ID": "one"})
    assert (again.status_code, again.json()) == (200, {"execution_id": None, "is_new": False})


def test_webhooks_of_other_people_are_unknown(owner, teammate, agent):
    made = make_webhook(owner, agent)
    preset = make_preset(agent)
    unknown = {"detail": "Not found."}
    for webhook_id in (made["id"], uuid.uuid4()):
        address = f"{WEBHOOKS}/{webhook_id}"
        for answer in (
            teammate.client.get(address),
            teammate.client.patch(address, {"provider": "x"}, format="json"),
            teammate.client.delete(address),
            teammate.client.post(f"{address}/rotate"),
        ):
            assert (answer.status_code, answer.json()) == (404, unknown)
    assert teammate.client.get(WEBHOOKS).json() == {"webhooks": [], "total": 0}
    theirs = trigger_agent(teammate)
    for body in (
        {"agent_id": str(agent.pk)},
        {"agent_id": str(uuid.uuid4())},
        {"agent_id": str(theirs.pk), "preset_id": str(preset.pk)},
        {"agent_id": str(theirs.pk), "preset_id": str(uuid.uuid4())},
    ):
        answer = teammate.client.post(WEBHOOKS, body, format="json")
        assert (answer.status_code, answer.json()) == (404, unknown)
    assert call(made["url"]).status_code == 202


def test_a_preset_of_another_agent_is_unknown(owner, agent):
    preset = make_preset(trigger_agent(owner))
    made = make_webhook(owner, agent)
    answer = owner.client.patch(f"{WEBHOOKS}/{made['id']}", {"preset_id": str(preset.pk)}, format="json")
    assert answer.status_code == 404


def test_it_is_deleted(owner, agent):
    made = make_webhook(owner, agent)
    call(made["url"])
    assert owner.client.delete(f"{WEBHOOKS}/{made['id']}").status_code == 204
    assert owner.client.delete(f"{WEBHOOKS}/{made['id']}").status_code == 404
    assert call(made["url"]).status_code == 404


def test_strangers_get_401():
    address = f"{WEBHOOKS}/{uuid.uuid4()}"
    for method, where in (("get", WEBHOOKS), ("post", WEBHOOKS), ("get", address), ("post", f"{address}/rotate")):
        assert getattr(APIClient(), method)(where).status_code == 401


def test_pages_and_one_agent(owner, agent):
    ids = [make_webhook(owner, agent)["id"] for _ in range(3)]
    make_webhook(owner, trigger_agent(owner))
    page = owner.client.get(WEBHOOKS, {"agent_id": str(agent.pk), "limit": 2}).json()
    rest = owner.client.get(WEBHOOKS, {"agent_id": str(agent.pk), "limit": 2, "offset": 2}).json()
    assert (page["total"], rest["total"]) == (3, 3)
    assert {row["id"] for row in page["webhooks"] + rest["webhooks"]} == set(ids)


@pytest.mark.parametrize("rows", [1, 3])
def test_the_list_costs_the_same_however_long(owner, rows, django_assert_num_queries):
    for _ in range(rows):
        made = make_webhook(owner, trigger_agent(owner))
        for _ in range(rows):
            assert call(urlsplit(made["url"]).path).status_code == 202
    with django_assert_num_queries(4):  # the token, the page, its deliveries, how many
        body = owner.client.get(WEBHOOKS).json()
    assert [len(row["deliveries"]) for row in body["webhooks"]] == [rows] * rows
