"""The agent: what is frozen, the soft end and the hard end."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from apps.chat.agents.agent import Agent
from apps.chat.agents.conversation import Conversation, Conversations
from apps.chat.agents.holds import ClientHold, Closer, hold_client
from apps.engines.clients import OpenAIClients
from tests.agents.doubles import KINDS, NOW, Hold, Resource, make_agent, make_tools, with_resources

URL = "http://127.0.0.1:1/v1"  # nothing listens there


def test_effort_and_callbacks_are_set_in_place_and_the_prompt_object_stays() -> None:
    prompt = b"You are a copilot.".decode()  # an object of its own
    agent = make_agent(system_prompt=prompt, tools=make_tools())
    tools = agent.tools
    agent.reasoning_effort = "high"
    agent.callbacks = {"progress": print}
    assert agent.system_prompt is prompt
    assert agent.tools is tools
    assert agent.reasoning_effort == "high"
    assert agent.callbacks == {"progress": print}


@pytest.mark.parametrize("name", ["system_prompt", "tools", "client"])
def test_what_is_frozen_cant_be_set(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(make_agent(), name, "other")


def test_tool_schemas_are_frozen_copies() -> None:
    given = make_tools(["todo_write"])
    agent = make_agent(tools=given)
    schema = agent.tools[0].parameters
    given[0].parameters["properties"]["n"]["type"] = "string"
    assert schema["properties"]["n"]["type"] == "integer"
    for change in (
        lambda: schema.update(x=1),
        lambda: schema.pop("type"),
        lambda: schema.setdefault("x", 1),
        schema.clear,
        schema.popitem,
        lambda: schema.__setitem__("type", "array"),
        lambda: schema.__delitem__("type"),
        lambda: schema.__ior__({"x": 1}),
        lambda: schema["properties"]["n"].__setitem__("type", "string"),
    ):
        with pytest.raises(TypeError, match="frozen"):
            change()
    assert isinstance(schema["required"], tuple)


def test_frozen_schemas_are_encoded_like_the_given_ones_and_can_be_copied_for_marks() -> None:
    given = make_tools(["todo_write"])[0].parameters
    schema = make_agent(tools=make_tools(["todo_write"])).tools[0].parameters
    assert json.dumps(schema) == json.dumps(given)
    marked = copy.deepcopy(schema)
    marked["properties"]["n"]["cache_control"] = {"type": "ephemeral"}
    marked["required"].append("m")
    assert json.dumps(schema) == json.dumps(given)


def test_history_is_never_kept_by_an_agent() -> None:
    agent = make_agent()
    for name in ("messages", "history", "rows"):
        assert not hasattr(agent, name)
        with pytest.raises(AttributeError):
            setattr(agent, name, [])


def test_the_soft_end_lets_the_client_go_and_leaves_browser_and_processes_alone() -> None:
    hold = Hold()
    agent = make_agent(hold=hold)
    resources = with_resources(agent.conversation)
    assert agent.client is hold.client
    agent.release_clients()
    assert agent.client is None
    assert hold.releases == 1
    assert [resource.closes for resource in resources.values()] == [0, 0, 0, 0]


def test_both_ends_are_idempotent() -> None:
    hold = Hold()
    agent = make_agent(hold=hold)
    resources = with_resources(agent.conversation)
    for end in (agent.release_clients, agent.release_clients, agent.close, agent.close, agent.release_clients):
        end()
    assert hold.releases == 1
    assert {resource.closes for resource in resources.values()} == {1}


def test_close_ends_sandbox_processes_browser_and_children_and_drops_the_client() -> None:
    hold = Hold()
    agent = make_agent(hold=hold)
    resources = with_resources(agent.conversation)
    child = make_agent("child")
    of_child = with_resources(child.conversation)
    agent.conversation.add("child 2", child)
    agent.close()
    assert agent.client is None
    assert hold.releases == 1
    assert child.client is None
    assert {resource.closes for resource in [*resources.values(), *of_child.values()]} == {1}


def test_close_works_after_a_soft_end_as_well() -> None:
    agent = make_agent()
    resources = with_resources(agent.conversation)
    agent.release_clients()
    agent.close()
    assert {resource.closes for resource in resources.values()} == {1}


def test_ending_one_conversation_touches_no_other() -> None:
    conversations = Conversations()
    mine, other = (make_agent(name, conversation=conversations.of(name)) for name in ("mine", "other"))
    with_resources(mine.conversation)
    of_other = with_resources(other.conversation)
    client = other.client
    mine.release_clients()
    mine.close()
    assert other.client is client is not None
    assert {resource.closes for resource in of_other.values()} == {0}


def test_one_resource_that_cant_be_ended_doesnt_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Stuck:
        def close(self) -> None:
            raise OSError("secret words")

    agent = make_agent()
    resources = with_resources(agent.conversation)
    agent.conversation.add("stuck", Stuck())
    agent.close()
    assert {resource.closes for resource in resources.values()} == {1}
    assert "stuck could not be ended: OSError" in caplog.text
    assert "secret" not in caplog.text


def test_a_release_in_the_middle_of_a_turn_waits_for_its_end() -> None:
    hold = Hold()
    agent = make_agent(hold=hold)
    assert agent.begin_turn(NOW)
    agent.release_clients()
    assert agent.client is hold.client is not None
    agent.end_turn(NOW + 5)
    assert agent.client is None
    assert hold.releases == 1
    assert agent.last_activity_at == NOW + 5


def test_a_released_agent_begins_no_turn() -> None:
    agent = make_agent()
    agent.release_clients()
    assert not agent.begin_turn(NOW)
    assert not agent.is_mid_turn


def test_a_turn_notes_its_activity() -> None:
    agent = make_agent(idle_seconds=None)
    assert agent.last_activity_at is None
    agent.begin_turn(NOW)
    assert agent.is_mid_turn
    assert agent.last_activity_at == NOW
    agent.end_turn(NOW + 9)
    assert not agent.is_mid_turn
    assert agent.last_activity_at == NOW + 9


def test_the_next_agent_of_a_session_finds_its_resources() -> None:
    conversations = Conversations()
    first = make_agent(conversation=conversations.of("s"))
    resources = with_resources(first.conversation)
    first.release_clients()
    del first
    gc.collect()
    second = make_agent(conversation=conversations.of("s"))
    assert [second.conversation.get(kind) for kind in KINDS] == list(resources.values())


def test_conversations_that_own_nothing_take_no_memory() -> None:
    conversations = Conversations()
    conversation = conversations.of("s")
    assert conversations.of("s") is conversation
    conversation.add("sandbox", Resource())
    assert len(conversations) == 1
    conversation.forget("sandbox")
    assert len(conversations) == 0
    was = id(conversation)
    del conversation
    gc.collect()
    assert not conversations._known, was


def test_a_resource_that_comes_after_the_end_or_is_replaced_is_ended() -> None:
    conversation = Conversation("s")
    old, new, late = Resource(), Resource(), Resource()
    conversation.add("browser", old)
    conversation.add("browser", new)
    conversation.add("browser", new)
    assert (old.closes, new.closes) == (1, 0)
    conversation.close()
    conversation.add("sandbox", late)
    assert (new.closes, late.closes) == (1, 1)
    assert conversation.get("sandbox") is None


def test_a_session_that_ended_begins_anew() -> None:
    conversations = Conversations()
    old = conversations.of("s")
    resource = Resource()
    old.add("sandbox", resource)
    conversations.close("s")
    conversations.close("s")
    assert resource.closes == 1
    assert conversations.of("s") is not old
    assert len(conversations) == 0


async def test_a_client_is_let_go_on_its_loop_from_another_thread() -> None:
    threads: list[int] = []
    closer = Closer()

    async def let_go() -> None:
        threads.append(threading.get_ident())

    agent = make_agent(hold=ClientHold(object(), let_go, closer))
    await asyncio.to_thread(agent.release_clients)
    assert agent.client is None
    await closer.join()
    assert threads == [threading.get_ident()]


async def test_a_release_on_the_loop_itself_is_only_scheduled() -> None:
    done: list[str] = []
    closer = Closer()

    async def let_go() -> None:
        done.append("closed")

    hold = ClientHold(object(), let_go, closer)
    hold.release()
    hold.release()
    assert hold.client is None
    assert done == []
    await closer.join()
    assert done == ["closed"]


async def test_a_client_that_cant_be_closed_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    closer = Closer()

    async def let_go() -> None:
        raise OSError("secret words")

    ClientHold(object(), let_go, closer).release()
    await closer.join()
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text


def test_a_release_after_the_end_of_the_loop_does_nothing() -> None:
    async def make() -> ClientHold:
        async def let_go() -> None:
            raise AssertionError

        return ClientHold(object(), let_go, Closer())

    hold = asyncio.run(make())
    hold.release()
    assert hold.client is None


async def test_agents_share_a_client_that_the_last_one_closes() -> None:
    clients, closer = OpenAIClients(), Closer()
    agents = [make_agent(str(n), hold=await hold_client(clients, URL, "k", closer)) for n in range(3)]
    shared = agents[0].client
    assert all(agent.client is shared for agent in agents)
    for agent in agents[:2]:
        agent.release_clients()
    await closer.join()
    assert not shared.is_closed()
    agents[2].release_clients()
    await closer.join()
    assert shared.is_closed()
    assert clients.count() == 0


async def test_building_an_agent_does_no_network_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clients, closer = OpenAIClients(), Closer()
    async with clients.hold(URL, "warm"):
        pass  # the import is done before sockets are forbidden

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("an agent used the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    agent = make_agent(tools=make_tools(), hold=await hold_client(clients, "http://example.invalid/v1", "k", closer))
    assert agent.client is not None
    agent.close()
    await closer.join()
    monkeypatch.undo()
    assert clients.count() == 0


async def test_a_hold_shows_no_credential() -> None:
    clients, closer = OpenAIClients(), Closer()
    hold = await hold_client(clients, URL, "sk-secret", closer)
    assert "sk-secret" not in repr(hold) + repr(hold._let_go) + repr(make_agent(hold=hold))
    hold.release()
    await closer.join()


@pytest.mark.parametrize("module", ["cache", "signature", "agent", "pool", "holds", "conversation", "memory"])
def test_modules_are_importable_without_django(module: str) -> None:
    code = (
        f"import sys, apps.chat.agents.{module}\n"
        "sys.exit(any(name in sys.modules for name in ('django', 'redis', 'openai', 'anthropic')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_agent_without_a_client_ends_as_well() -> None:
    agent = Agent(session_id="s", system_prompt="p")
    assert agent.client is None
    agent.release_clients()
    agent.close()
    assert agent.conversation.is_closed
