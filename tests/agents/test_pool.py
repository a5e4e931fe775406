"""A worker process's agents, from turn to turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from apps.chat.agents.agent import Agent
from apps.chat.agents.conversation import Conversation
from apps.chat.agents.holds import ClientHold, Closer
from apps.chat.agents.pool import SWEEP_SECONDS, AgentPool
from tests.agents.doubles import KINDS, NOW, with_resources


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


class Builder:
    """Builds agents and notes which clients were closed."""

    def __init__(self) -> None:
        self.built: list[Agent] = []
        self.closed: list[str] = []

    async def __call__(self, conversation: Conversation, closer: Closer) -> Agent:
        name = f"{conversation.session_id} {len(self.built)}"

        async def let_go() -> None:
            self.closed.append(name)

        agent = Agent(
            session_id=conversation.session_id,
            system_prompt="You are a copilot.",
            hold=ClientHold(name, let_go, closer),
            conversation=conversation,
        )
        self.built.append(agent)
        return agent


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def build() -> Builder:
    return Builder()


@pytest.fixture
async def pool(clock: Clock) -> AsyncIterator[AgentPool]:
    made = AgentPool(max_size=2, idle_ttl_seconds=3600, sweep_seconds=0.001, now=clock)
    yield made
    await made.aclose()


async def settle() -> None:
    """Let what was scheduled on the loop run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_next_turn_gets_the_very_same_agent(pool: AgentPool, build: Builder, clock: Clock) -> None:
    async with pool.turn("s", "sig", build) as first:
        assert first.agent.is_mid_turn
        clock.at += 5
    assert not first.agent.is_mid_turn
    assert first.agent.last_activity_at == NOW + 5
    async with pool.turn("s", "sig", build) as second:
        assert second.agent is first.agent
    gauges = pool.gauges()
    assert (gauges.entries, gauges.hits, gauges.misses) == (1, 1, 1)


async def test_another_signature_builds_another_agent_that_finds_everything(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("s", "sig", build) as first:
        resources = with_resources(first.agent.conversation)
    async with pool.turn("s", "other", build) as second:
        assert second.agent is not first.agent
        assert second.agent.session_id == first.agent.session_id
        assert [second.agent.conversation.get(kind) for kind in KINDS] == list(resources.values())
    await settle()
    assert first.agent.client is None
    assert build.closed == ["s 0"]
    assert {resource.closes for resource in resources.values()} == {0}


async def test_a_fallback_builds_another_agent_after_a_successful_turn(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("s", "sig", build) as turn:
        turn.succeeded = turn.model_changed = True
    await settle()
    assert build.closed == ["s 0"]
    async with pool.turn("s", "sig", build) as after:
        assert after.agent is build.built[1]


async def test_a_fallback_keeps_the_agent_after_a_failed_turn(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("s", "sig", build) as turn:
        turn.model_changed = True
    async with pool.turn("s", "sig", build) as after:
        assert after.agent is turn.agent
        assert after.agent.client is not None


async def test_a_turn_that_raises_has_ended_and_counts_as_failed(pool: AgentPool, build: Builder) -> None:
    async def fail() -> None:
        async with pool.turn("s", "sig", build) as turn:
            turn.model_changed = True
            raise OSError("model away")

    with pytest.raises(OSError, match="model away"):
        await fail()
    (agent,) = build.built
    assert not agent.is_mid_turn
    assert pool.cache.get("s", "sig") is agent


async def test_a_running_turn_keeps_its_agent_when_the_session_is_reset(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("s", "sig", build) as turn:
        resources = with_resources(turn.agent.conversation)
        pool.reset_session("s")
        await settle()
        assert turn.agent.client is not None
    await settle()
    assert turn.agent.client is None
    assert build.closed == ["s 0"]
    assert {resource.closes for resource in resources.values()} == {0}


async def test_the_end_of_a_session_is_hard_and_touches_no_other(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("mine", "sig", build) as mine, pool.turn("other", "sig", build) as other:
        of_mine, of_other = (with_resources(turn.agent.conversation) for turn in (mine, other))
    pool.end_session("mine")
    pool.end_session("mine")
    await settle()
    assert mine.agent.client is None
    assert {resource.closes for resource in of_mine.values()} == {1}
    assert other.agent.client is not None
    assert {resource.closes for resource in of_other.values()} == {0}
    assert pool.cache.keys() == ["other"]


async def test_the_end_of_a_session_ends_what_outlived_its_agent(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("s", "sig", build) as turn:
        resources = with_resources(turn.agent.conversation)
    pool.reset_session("s")
    pool.end_session("s")
    assert {resource.closes for resource in resources.values()} == {1}


async def test_an_agent_that_cant_be_built_leaves_no_placeholder(pool: AgentPool, build: Builder) -> None:
    async def fail(conversation: Conversation, closer: Closer) -> Agent:
        assert pool.cache.keys() == ["s"]
        raise OSError("no prompt")

    with pytest.raises(OSError, match="no prompt"):
        async with pool.turn("s", "sig", fail):
            raise AssertionError
    assert pool.cache.keys() == []


async def test_agents_being_built_block_nobodys_eviction(pool: AgentPool, build: Builder) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(conversation: Conversation, closer: Closer) -> Agent:
        started.set()
        await go_on.wait()
        return await build(conversation, closer)

    async def turn() -> Agent:
        async with pool.turn("slow", "sig", slowly) as taken:
            return taken.agent

    slow = asyncio.create_task(turn())
    await started.wait()
    for key in ("a", "b", "c"):
        async with pool.turn(key, "sig", build):
            pass
    assert pool.cache.keys() == ["b", "c"]
    go_on.set()
    agent = await slow
    assert pool.cache.keys() == ["c", "slow"]
    assert agent.client is not None


async def test_an_agent_released_between_look_up_and_begin_is_built_anew(pool: AgentPool, build: Builder) -> None:
    async with pool.turn("s", "sig", build) as first:
        pass
    first.agent.release_clients()  # as by another thread
    async with pool.turn("s", "sig", build) as second:
        assert second.agent is not first.agent
        assert second.agent.client is not None


async def test_the_sweep_runs_again_and_again_on_the_loop(pool: AgentPool, build: Builder, clock: Clock) -> None:
    pool.start()
    for key in ("a", "b"):
        async with pool.turn(key, "sig", build):
            clock.at += 3601
            async with asyncio.timeout(20):
                while pool.gauges().mid_turn_skips == 0 and key == "a":
                    await asyncio.sleep(0)
        clock.at += 3601
        async with asyncio.timeout(20):
            while pool.gauges().entries:
                await asyncio.sleep(0)
    assert pool.gauges().evictions["idle"] == 2
    await settle()
    assert build.closed == ["a 0", "b 1"]


async def test_a_sweep_that_fails_isnt_the_last(
    pool: AgentPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    again = asyncio.Event()
    calls: list[int] = []

    def sweep() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("secret words")
        again.set()
        return 0

    monkeypatch.setattr(pool, "sweep", sweep)
    pool.start()
    async with asyncio.timeout(20):
        await again.wait()
    assert "could not be swept: OSError" in caplog.text
    assert "secret" not in caplog.text


def test_the_pause_between_sweeps_is_five_minutes() -> None:
    assert SWEEP_SECONDS == 300


async def test_closing_waits_until_all_clients_are_let_go(clock: Clock, build: Builder) -> None:
    pool = AgentPool(now=clock)
    pool.start()
    for key in ("a", "b"):
        async with pool.turn(key, "sig", build) as turn:
            resources = with_resources(turn.agent.conversation)
    await pool.aclose()
    assert build.closed == ["a 0", "b 1"]
    assert {resource.closes for resource in resources.values()} == {1}
    assert pool.gauges().entries == 0
