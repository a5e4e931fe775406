"""What agents remember: whose it is, who shares it, and that writes that come at once don't clash."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from pydantic import ValidationError

from apps.library.errors import BlockError
from apps.library.models import StoredValue
from apps.library.stored_values import recall_value, store_value
from apps.runtime.db import db
from tests.conftest import make_person
from tests.library.blocks.running import block, run

GRAPH, OTHER_GRAPH = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def people(transactional_db):
    """Two people; coroutines reach the database through threads of their own."""
    return make_person("owner@example.com").user, make_person("stranger@example.com").user


async def remember(user, key, value, graph_id=GRAPH, **pins):
    return await run("PersistInformation", {"key": key, "value": value, **pins}, user_id=user.pk, graph_id=graph_id)


async def recall(user, key, graph_id=GRAPH, **pins):
    outputs = await run("RetrieveInformation", {"key": key, **pins}, user_id=user.pk, graph_id=graph_id)
    ((pin, value),) = outputs
    assert pin == "value"
    return value


async def test_a_value_is_remembered_and_replaced(people):
    owner, _ = people
    assert await recall(owner, "key") is None
    assert await recall(owner, "key", default_value=[0]) == [0]
    for value in ({"a": ["ü", None]}, 0, False, "", [], None, "last"):
        assert await remember(owner, "key", value) == [("value", value)]
        assert await recall(owner, "key", default_value="default") == value
    assert await db(StoredValue.objects.count) == 1


async def test_a_dry_run_remembers_nothing(people):
    owner, _ = people
    facts = {"user_id": owner.pk, "graph_id": GRAPH, "is_dry_run": True}
    assert await run("PersistInformation", {"key": "key", "value": 1}, **facts) == [("value", 1)]
    assert await recall(owner, "key") is None


async def test_values_are_of_an_agent_or_of_all_and_never_of_others(people):
    owner, stranger = people
    await remember(owner, "key", "mine")
    await remember(owner, "key", "all", scope="across_agents")
    assert await recall(owner, "key") == "mine"
    assert await recall(owner, "key", OTHER_GRAPH) is None
    assert await recall(owner, "key", OTHER_GRAPH, scope="across_agents") == "all"
    for scope in ("within_agent", "across_agents"):
        assert await recall(stranger, "key", scope=scope) is None
    await remember(stranger, "key", "theirs")
    assert await recall(owner, "key") == "mine"
    assert await recall(owner, "other key", default_value="none") == "none"


async def test_what_is_too_large_is_refused(people):
    owner, _ = people
    for key in ("", "x" * 301):
        with pytest.raises(BlockError, match="between 1 and 300"):
            await remember(owner, key, 1)
        with pytest.raises(BlockError, match="between 1 and 300"):
            await recall(owner, key)
    with pytest.raises(BlockError, match="larger than 1 MB"):
        await remember(owner, "key", "x" * (1024 * 1024))
    for kind in ("PersistInformation", "RetrieveInformation"):
        with pytest.raises(ValidationError):
            block(kind).Input.model_validate({"key": "k", "value": 1, "scope": "everywhere"})
        with pytest.raises(ValidationError):
            block(kind).Input.model_validate({})


@pytest.mark.parametrize("graph_id", [GRAPH, None])
def test_writes_at_once_leave_one_row(people, graph_id):
    owner, _ = people
    barrier = threading.Barrier(6)

    def write(number: int) -> None:
        barrier.wait()
        try:
            for turn in range(5):
                store_value(user_id=owner.pk, graph_id=graph_id, key=f"key {turn}", value=number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(write, range(6)))
    assert StoredValue.objects.count() == 5
    for turn in range(5):
        assert recall_value(user_id=owner.pk, graph_id=graph_id, key=f"key {turn}") in range(6)
