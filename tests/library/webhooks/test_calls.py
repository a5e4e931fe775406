"""Calls of other services: who may, what the agent is given, and once."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit

import httpx2
import pytest
from django.db import connection

from apps.library.errors import CapReached, GraphInvalid
from apps.library.models import Execution, Node, Webhook, WebhookDelivery
from apps.library.webhooks import deliver
from apps.library.webhooks.errors import BadSignature
from apps.library.webhooks.signatures import check_signature
from tests.billing.crowds import at_once
from tests.library.webhooks.callers import (
    SECRET,
    SIGN,
    WEBHOOKS,
    call,
    generic,
    github,
    make_preset,
    make_webhook,
    slack,
    stripe,
    trigger_agent,
)

pytestmark = pytest.mark.django_db
UNKNOWN = {"detail": "Not found."}


@pytest.fixture
def agent(owner):
    return trigger_agent(owner, constants={"from": "the graph"})


@pytest.fixture
def webhook(owner, agent):
    """An unsigned webhook."""
    return make_webhook(owner, agent)


def payload():
    """Return what the only run's only trigger was given."""
    run = Execution.objects.get()
    (given,) = run.node_input_masks.values()
    return given["payload"]


# What the agent is given ------------------------------------------------------------------------------------------


def test_a_call_starts_the_agent_with_its_body(owner, agent, webhook):
    answer = call(webhook["url"], {"order": 7})

    assert answer.status_code == 202
    run = Execution.objects.get()
    assert answer.json() == {"execution_id": str(run.pk), "is_new": True}
    assert (run.user_id, run.agent_id, run.trigger, run.status) == (owner.user.pk, agent.pk, "webhook", "QUEUED")
    assert run.node_input_masks == {str(Node.objects.get().pk): {"payload": {"order": 7}}}
    assert (run.inputs, run.preset_id) == ({}, None)
    assert Webhook.objects.get().last_called_at is not None


def test_a_preset_gives_inputs_and_constants(owner, agent):
    preset = make_preset(agent, topic="news", constants={"shop": 3})
    preset.credential_inputs = {"github": "abc"}
    preset.save()
    webhook = make_webhook(owner, agent, preset_id=str(preset.pk))

    assert call(webhook["url"], {"order": 7}).status_code == 202

    run = Execution.objects.get()
    assert (run.inputs, run.credential_inputs, run.preset_id) == ({"topic": "news"}, {"github": "abc"}, preset.pk)
    assert run.node_input_masks == {
        str(Node.objects.get().pk): {"payload": {"order": 7}, "constants": {"shop": 3}},
    }


@pytest.mark.parametrize(
    ("body", "kind", "given"),
    [
        (b"", "application/json", {}),
        (b"[1, 2]", "application/json", {"body": [1, 2]}),
        (b'{"a": 1}', "application/vnd.event+json; charset=utf-8", {"a": 1}),
        (b"a=1&b=&c=x%20y", "application/x-www-form-urlencoded", {"a": "1", "b": "", "c": "x y"}),
        (b"payload=%7B%22a%22%3A1%7D", "application/x-www-form-urlencoded", {"a": 1}),
        ("plain téxt".encode(), "text/plain", {"body": "plain téxt"}),
    ],
)
def test_bodies_of_all_kinds(webhook, body, kind, given):
    assert call(webhook["url"], body, kind=kind).status_code == 202
    assert payload() == given


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b'{"a": NaN}', "application/json"),
        (b'{"a": 1e999}', "application/json"),
        (b'{"a": "\\u0000"}', "application/json"),
        (b'{"a": "\\ud800"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"9" * 10_000, "application/json"),
        (b"\xff\xfe", "text/plain"),
        (b"payload=%7B", "application/x-www-form-urlencoded"),
        (b"a=1&" * 5000, "application/x-www-form-urlencoded"),
    ],
)
def test_bodies_that_can_not_be_read_are_400(webhook, body, kind):
    assert call(webhook["url"], body, kind=kind).status_code == 400
    assert not Execution.objects.exists()


def test_a_body_of_a_mebibyte_is_taken_and_no_more(webhook):
    most = 1024 * 1024
    fits, over = (json.dumps({"a": "x" * (size - 9)}).encode() for size in (most, most + 1))
    assert (len(fits), len(over)) == (most, most + 1)
    assert call(webhook["url"], fits).status_code == 202
    assert call(webhook["url"], over).status_code == 413


def test_a_body_that_does_not_say_its_length_is_bounded_too(web_server, transactional_db, owner):
    webhook = make_webhook(owner, trigger_agent(owner))

    def pieces(count):
        yield b'"'
        for _ in range(count):
            yield b"x" * 65536
        yield b'"'

    address = web_server.url + urlsplit(webhook["url"]).path
    headers = {"Content-Type": "application/json"}
    assert httpx2.post(address, content=pieces(17), headers=headers, timeout=30).status_code == 413
    assert httpx2.post(address, content=pieces(1), headers=headers, timeout=30).status_code == 202
    assert len(payload()["body"]) == 65536


# Who may call -----------------------------------------------------------------------------------------------------


def test_unknown_ids_and_wrong_paths_are_the_same_404(owner, teammate, agent, webhook):
    other = make_webhook(teammate, trigger_agent(teammate))
    off, locked = make_webhook(owner, agent), make_webhook(teammate, trigger_agent(teammate))
    Webhook.objects.filter(pk=off["id"]).update(is_enabled=False)
    path = webhook["url"].rsplit("/", 1)[1]
    addresses = [
        f"{WEBHOOKS}/{uuid.uuid4()}/{path}",
        f"{WEBHOOKS}/{webhook['id']}/{path[:-1]}",
        f"{WEBHOOKS}/{webhook['id']}/{path}x",
        f"{WEBHOOKS}/{other['id']}/{path}",
        off["url"],
    ]
    answers = [call(address, b"x" * 2_000_000) for address in addresses]
    teammate.user.is_active = False
    teammate.user.save()
    answers.append(call(locked["url"]))

    assert {(answer.status_code, json.dumps(answer.json())) for answer in answers} == {(404, json.dumps(UNKNOWN))}
    heads = [{name: value for name, value in answer.items() if name != "X-Request-ID"} for answer in answers]
    assert all(head == heads[0] for head in heads)
    assert not Execution.objects.exists()


def test_only_posts_are_taken(client, webhook):
    assert client.get(urlsplit(webhook["url"]).path).status_code == 405


@pytest.mark.parametrize("provider", SIGN)
def test_a_signed_call_is_taken(owner, agent, provider):
    webhook = make_webhook(owner, agent, provider=provider, secret=SECRET)
    body = b'{"a": 1}'
    assert call(webhook["url"], body, SIGN[provider](body)).status_code == 202
    assert payload() == {"a": 1}


def wrong(provider):
    """Return headers that must not open a webhook, whatever exactly is wrong with them."""
    body = b'{"a": 1}'
    sign = SIGN[provider]
    good = sign(body)
    tampered = {name: value[:-1] + ("0" if value[-1] != "0" else "1") for name, value in good.items()}
    yield from (sign(body, "another secret"), sign(b'{"a": 2}'), {}, tampered)
    yield dict.fromkeys(good, "")
    yield dict.fromkeys(good, "é")
    yield from (SIGN[other](body) for other in SIGN if other != provider)
    if provider == "generic":
        yield {"X-Webhook-Secret": SECRET[:-1]}
    if provider in {"slack", "stripe"}:
        yield from (sign(body, at=time.time() - 900), sign(body, at=time.time() + 900))
        yield {name: value.replace(str(int(time.time()))[:6], "999999") for name, value in good.items()}


@pytest.mark.parametrize("provider", SIGN)
def test_every_wrong_signature_is_the_same_401(owner, agent, provider):
    webhook = make_webhook(owner, agent, provider=provider, secret=SECRET)
    answers = [call(webhook["url"], b'{"a": 1}', headers) for headers in wrong(provider)]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (401, b'{"detail":"The call isn\'t signed as it should be.","code":"bad_signature"}')
    }
    assert not Execution.objects.exists()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(("provider", "sign"), [("slack", slack), ("stripe", stripe)])
def test_a_signed_time_may_be_five_minutes_off(provider, sign):
    headers = sign(b"{}", at=1_000_000)
    for now in (999_700, 1_000_000, 1_000_300):
        check_signature(provider, SECRET.encode(), headers, b"{}", now)
    for now in (999_699, 1_000_301):
        with pytest.raises(BadSignature):
            check_signature(provider, SECRET.encode(), headers, b"{}", now)


def test_any_service_may_send_the_secret_itself(owner, agent):
    webhook = make_webhook(owner, agent, secret=SECRET)
    assert call(webhook["url"], headers={"X-Webhook-Secret": SECRET}).status_code == 202


def test_the_secret_that_a_trigger_names_is_asked_for(owner):
    webhook = make_webhook(owner, trigger_agent(owner, secret_token=SECRET))
    assert webhook["is_signed"]
    assert call(webhook["url"]).status_code == 401
    assert call(webhook["url"], headers={"X-Webhook-Secret": SECRET}).status_code == 202


@pytest.mark.parametrize("provider", ["slack", "stripe"])
def test_without_their_secret_services_that_sign_are_refused(owner, agent, provider):
    webhook = make_webhook(owner, agent, provider=provider)
    assert call(webhook["url"], b"{}", SIGN[provider](b"{}", "")).status_code == 401


def test_a_secret_that_no_key_opens_any_more_refuses_calls(owner, agent, settings):
    webhook = make_webhook(owner, agent, secret=SECRET)
    settings.SECRET_KEY = "another"
    assert call(webhook["url"], headers={"X-Webhook-Secret": SECRET}).status_code == 401


def test_calls_that_only_try_the_address_are_answered(owner, agent):
    hub = make_webhook(owner, agent, provider="github", secret=SECRET)
    ping = b'{"zen": "Keep it logically awesome."}'
    answer = call(hub["url"], ping, github(ping, event="ping"))
    assert (answer.status_code, answer.json()) == (200, {"status": "pong"})
    chat = make_webhook(owner, agent, provider="slack", secret=SECRET)
    question = b'{"type": "url_verification", "challenge": "abc"}'
    answer = call(chat["url"], question, slack(question))
    assert (answer.status_code, answer.json()) == (200, {"challenge": "abc"})
    assert call(hub["url"], ping, github(ping, "wrong", event="ping")).status_code == 401
    assert not Execution.objects.exists()


# Once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "headers", "body"),
    [
        ("generic", {"X-Delivery-ID": "one"}, b"{}"),
        ("generic", {"Idempotency-Key": "x" * 500}, b"{}"),
        ("github", {}, b"{}"),
        ("slack", {}, b'{"event_id": "Ev1"}'),
        ("slack", {}, b"command=%2Fgo"),
        ("stripe", {}, b'{"id": "evt_1"}'),
    ],
)
def test_a_delivery_that_is_sent_again_starts_nothing(owner, agent, provider, headers, body):
    webhook = make_webhook(owner, agent, provider=provider, secret=SECRET)
    signed = {**SIGN[provider](body), **headers}
    kind = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"

    first, second = (call(webhook["url"], body, signed, kind) for _ in range(2))

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json() == {"execution_id": first.json()["execution_id"], "is_new": False}
    assert Execution.objects.count() == 1


def test_an_event_that_is_sent_again_later_starts_nothing(owner, agent):
    webhook = make_webhook(owner, agent, provider="stripe", secret=SECRET)
    body = b'{"id": "evt_1"}'
    answers = [call(webhook["url"], body, stripe(body, at=time.time() - shift)) for shift in (100, 0)]
    assert [answer.status_code for answer in answers] == [202, 200]


def test_without_an_id_every_call_is_a_new_one(webhook):
    assert [call(webhook["url"], {"a": 1}).status_code for _ in range(2)] == [202, 202]
    assert Execution.objects.count() == 2


def test_ids_count_for_each_webhook_alone(owner, agent, webhook):
    other = make_webhook(owner, agent)
    for each in (webhook, other):
        assert call(each["url"], headers={"X-Delivery-ID": "one"}).status_code == 202


@pytest.mark.parametrize("error", [CapReached(), GraphInvalid([{"message": "Secret words of the graph."}])])
def test_what_could_not_be_started_may_come_again(webhook, monkeypatch, error):
    def start_execution(**wanted):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(deliver, "start_execution", start_execution)
        answer = call(webhook["url"], headers={"X-Delivery-ID": "one"})
    assert (answer.status_code, answer.json()) == (
        409, {"detail": "The agent can't be run at present.", "code": "agent_unavailable"},
    )  # fmt: skip
    assert Webhook.objects.get().last_called_at is None
    assert call(webhook["url"], headers={"X-Delivery-ID": "one"}).status_code == 202


def test_an_agent_that_lost_its_trigger_is_unavailable(agent, webhook):
    Node.objects.all().delete()
    assert call(webhook["url"]).status_code == 409


@pytest.mark.django_db(transaction=True)
def test_twenty_deliveries_at_once_start_one_run(web_server, owner):
    webhook = make_webhook(owner, trigger_agent(owner), provider="github", secret=SECRET)
    body = b'{"ref": "main"}'
    address = web_server.url + urlsplit(webhook["url"]).path
    headers = {"Content-Type": "application/json", **github(body)}

    answers = at_once([lambda: httpx2.post(address, content=body, headers=headers, timeout=60)] * 20)

    assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 19}
    assert len({answer.json()["execution_id"] for answer in answers}) == 1
    assert Execution.objects.count() == WebhookDelivery.objects.count() == 1


def test_a_path_that_is_rotated_meanwhile_is_unknown(owner, webhook):
    read = Webhook.objects.get()
    owner.client.post(f"{WEBHOOKS}/{webhook['id']}/rotate")
    with pytest.raises(deliver.NotFound):
        deliver.take_delivery(read, deliver.Call("one", {}))
    assert not Execution.objects.exists()


# How often --------------------------------------------------------------------------------------------------------


def test_calls_are_limited_for_each_webhook(owner, agent, monkeypatch):
    from apps.library.webhooks.api import WebhookThrottle

    monkeypatch.setattr(WebhookThrottle, "rate", "3/hour")
    webhook, other = make_webhook(owner, agent, secret=SECRET), make_webhook(owner, agent, secret=SECRET)
    body = b"{}"
    for _ in range(5):
        assert call(webhook["url"], body, generic(body, "wrong")).status_code == 401  # uses nothing up
    assert [call(webhook["url"], body, generic(body)).status_code for _ in range(3)] == [202] * 3
    refused = call(webhook["url"], body, generic(body))
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 3600
    assert call(other["url"], body, generic(body)).status_code == 202


def test_the_secret_is_in_no_row(owner, agent):
    webhook = make_webhook(owner, agent, secret=SECRET)
    path = webhook["url"].rsplit("/", 1)[1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM library_webhook")
        row = b" ".join(bytes(value) if not isinstance(value, str) else value.encode() for value in cursor.fetchone()
                        if isinstance(value, str | bytes | memoryview))  # fmt: skip
    assert SECRET.encode() not in row
    assert path.encode() not in row
