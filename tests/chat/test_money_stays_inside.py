"""No figure of money reaches a person, save the credits that are their own."""

from __future__ import annotations

import inspect
import json
import re
import typing

import msgspec
import pytest
from rest_framework import serializers

from apps.accounts import serializers as account_shapes
from apps.billing import serializers as credit_shapes
from apps.chat import serializers as chat_shapes
from apps.chat.models import Message, Session, Turn
from apps.chat.stream import chunks
from apps.chat.usage import serializers as usage_shapes
from apps.chat.usage.models import CostEntry
from apps.engines.base import Usage
from apps.runtime.db import db
from tests.chat.clients import detail, new_session, say, socket_of
from tests.chat.served import broker  # noqa: F401 -- a fixture
from tests.chat.usage_tools import pay

MONEY = re.compile(r"cost|microdollar|cents|spen[dt]|usd|dollar|price|limit|charge|balance|amount", re.IGNORECASE)
#: A person's own credits, and what is asked of them.
ALLOWED = {
    "balance_cents",
    "amount_cents",
    "running_balance_cents",
    "reset_cost",
    "credits_charged",
    "remaining_balance",
}
FOR_OPERATORS = {
    usage_shapes.PersonLimitsSerializer,
    usage_shapes.PersonQuerySerializer,
    usage_shapes.ClearSerializer,
    usage_shapes.TierSerializer,
}
#: What only comes in: the size of a page.
QUERIES = {"PageQuerySerializer", "MessageQuerySerializer", "TransactionQuerySerializer", "SessionQuerySerializer"}


def schema_fields(schema, components, seen=()):
    """Yield the names of all number fields that a schema may hold."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            yield from schema_fields(components[name], components, (*seen, name))
        return
    for part in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(part, ()):
            yield from schema_fields(each, components, seen)
    if "items" in schema:
        yield from schema_fields(schema["items"], components, seen)
    for name, field in schema.get("properties", {}).items():
        if field.get("type") in {"number", "integer"}:
            yield name
        yield from schema_fields(field, components, seen)


def test_no_answer_in_the_schema_has_a_field_for_money(client, owner):
    client.force_login(owner.user)
    accept = {"Accept": "application/vnd.oai.openapi+json"}
    schema = client.get("/api/schema/", headers=accept).json()
    components = schema["components"]["schemas"]
    found = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            for answer in operation["responses"].values():
                for content in answer.get("content", {}).values():
                    found.setdefault(f"{method} {path}", set()).update(schema_fields(content["schema"], components))

    for_operators = {name for name in found if " /api/admin/" in name}
    # What runs of agents cost is paid with people's own credits, and they are told before and after.
    of_agents = {name for name in found if " /api/library/" in name or " /api/workspace/" in name}  # limits in bytes
    for_others = for_operators | of_agents
    shown = {field for name, fields in found.items() if name not in for_others for field in fields}
    assert {field for field in shown if MONEY.search(field)} == ALLOWED
    for name in found.keys() - for_others:
        if not name.endswith(("/api/credits/balance", "/api/credits/transactions", "/usage", "/usage/reset")):
            assert not {field for field in found[name] if MONEY.search(field)}, name
    # The walk finds what there is to find.
    assert "daily_cost_used_microdollars" in found["get /api/admin/users/rate-limit"]
    assert "percent_used" in found["get /api/chat/usage"]
    assert "sequence" in found["get /api/chat/sessions/{session_id}"]


def test_no_serializer_for_people_has_a_field_for_money():
    numbers = (serializers.IntegerField, serializers.FloatField, serializers.DecimalField)
    checked = set()
    for module in (account_shapes, chat_shapes, credit_shapes, usage_shapes):
        for name, shape in inspect.getmembers(module, inspect.isclass):
            if not issubclass(shape, serializers.Serializer) or shape in FOR_OPERATORS or name in QUERIES:
                continue
            checked.add(name)
            money = {
                field for field, kind in shape().fields.items() if isinstance(kind, numbers) and MONEY.search(field)
            }
            assert money <= ALLOWED, name
    assert {"UsageSerializer", "SessionDetailSerializer", "TransactionSerializer"} <= checked


def struct_fields(kind):
    """Yield the names of all fields of a chunk, those of what it holds included."""
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        if inspect.isclass(field.type) and issubclass(field.type, msgspec.Struct):
            yield from struct_fields(field.type)


def test_no_chunk_of_the_stream_has_a_field_for_money():
    kinds = typing.get_args(chunks.Chunk)
    assert len(kinds) >= 20
    names = {name for kind in kinds for name in struct_fields(kind)}
    assert {"delta", "messageMetadata", "prompt_tokens"} <= names
    assert not {name for name in names if MONEY.search(name)}


#: Sums that nothing else in an answer can be.
SPENT, DAILY, WEEKLY = 271_828, 31_415_927, 161_803_399


@pytest.mark.django_db
def test_no_answer_tells_what_was_spent_or_where_the_limit_is(owner, settings):
    settings.CHAT_DAILY_LIMIT_MICRODOLLARS, settings.CHAT_WEEKLY_LIMIT_MICRODOLLARS = DAILY, WEEKLY
    session = Session.objects.create(user=owner.user, title="A chat")
    turn = Turn.objects.create(session=session, status="completed", step=1, cost_microdollars=SPENT)
    Message.objects.create(session=session, turn=turn, sequence=1, step=1, role="assistant", content="Hello")
    pay(owner, None, usage=Usage(prompt_tokens=5, cost_microdollars=SPENT), session=session, turn=turn)

    answers = [
        owner.client.get(address)
        for address in (
            "/api/chat/usage",
            "/api/chat/sessions",
            f"/api/chat/sessions/{session.pk}",
            "/api/credits/balance",
            "/api/credits/transactions",
            "/api/accounts/tokens",
        )
    ]
    answers.append(owner.client.post("/api/chat/usage/reset"))
    pay(owner, DAILY)
    settings.CHAT_USAGE_RESET_COST_CENTS = 5
    answers += [owner.client.post("/api/chat/usage/reset"), owner.client.get("/api/chat/usage")]

    assert [answer.status_code for answer in answers] == [200] * 6 + [400, 402, 200]
    forbidden = {str(SPENT), str(DAILY), str(WEEKLY), str(SPENT + DAILY)}
    for answer in answers:
        numbers = set(re.findall(r"\d+", json.dumps(answer.json())))
        assert not numbers & forbidden


async def test_no_event_of_a_turn_tells_what_it_cost(live, model):
    used = {"prompt_tokens": 7, "completion_tokens": 5, "cost": SPENT / 1_000_000}
    marker = model.script("dear", [{"text": "Hello."}, {"usage": used}], repeat_last=True)
    session = await db(new_session, live)
    async with socket_of(live) as socket:
        await socket.send(type="subscribe", session_id=session)
        await socket.say(session, marker)
        await socket.until_chunk("finish")
        frames = json.dumps(socket.frames)
    events = json.dumps(await db(say, live, session, marker))

    assert await db(lambda: list(CostEntry.objects.values_list("microdollars", flat=True))) == [SPENT] * 2
    for told in (frames, events, json.dumps(await db(detail, live, session))):
        assert "Hello." in told
        assert str(SPENT) not in told
        assert str(2 * SPENT) not in told
        assert not {name for name in re.findall(r'"(\w+)":', told) if MONEY.search(name)}
