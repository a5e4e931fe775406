"""Section 7's table, row by row, and what else it requires of the cache."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from apps.chat.agents.agent import BUILDING, Agent
from apps.chat.agents.cache import REASONS, AgentCache, Entry, enforce_cap
from tests.agents.doubles import NOW, make_agent, with_resources

TTL = 3600.0
MEGABYTE = 1 << 20


class Bench:
    """A cache with a still clock and no memory limit, whose releases are noted and really done."""

    def __init__(self, max_size: int = 3, **options: Any) -> None:
        self.released: list[Any] = []
        self.locked_at_release: list[bool] = []
        self.active: set[int] = set()
        options.setdefault("memory_limit", lambda: None)
        options.setdefault("release", self.release)
        self.cache = AgentCache(max_size, TTL, self.is_active, now=lambda: NOW, **options)

    def is_active(self, key: object, agent: Any) -> bool:
        return id(agent) in self.active

    def release(self, agent: Agent) -> None:
        self.locked_at_release.append(self.cache._lock.locked())
        self.released.append(agent)
        agent.release_clients()

    def put(self, *keys: str, active: bool = False, **facts: Any) -> list[Agent]:
        """Insert new agents in this order."""
        agents = [make_agent(key, **facts) for key in keys]
        for key, agent in zip(keys, agents, strict=True):
            if active:
                self.active.add(id(agent))
            self.cache.put(key, agent, "sig")
        return agents

    def evictions(self) -> dict[str, int]:
        """Those that there were, by reason."""
        return {reason: count for reason, count in self.cache.gauges().evictions.items() if count}


# The table


def test_same_conversation_same_signature_gives_the_very_same_agent_and_makes_it_most_recent() -> None:
    bench = Bench()
    a, b, _ = bench.put("a", "b", "c")
    assert bench.cache.get("a", "sig") is a
    bench.put("d")
    assert bench.released == [b]
    assert bench.cache.keys() == ["c", "a", "d"]


def test_keys_that_share_their_first_8_characters_are_two_conversations() -> None:
    bench = Bench()
    one, other = bench.put("12345678-one", "12345678-other")
    assert bench.cache.get("12345678-other", "sig") is other
    assert bench.cache.get("12345678-one", "sig") is one
    assert bench.released == []


def test_another_signature_releases_the_old_agent() -> None:
    bench = Bench()
    a, b = bench.put("a", "b")
    assert bench.cache.get("a", "other") is None
    assert bench.released == [a]
    assert a.client is None
    assert b.client is not None
    assert bench.cache.keys() == ["b"]
    assert bench.evictions() == {"signature": 1}


def test_replacing_an_entry_releases_the_old_agent_and_makes_the_new_one_most_recent() -> None:
    bench = Bench()
    old, _ = bench.put("a", "b")
    new = make_agent("a")
    bench.cache.put("a", new, "other")
    assert bench.released == [old]
    assert old.client is None
    assert bench.cache.keys() == ["b", "a"]
    assert bench.cache.get("a", "other") is new
    assert bench.evictions() == {"signature": 1}


def test_putting_the_same_agent_again_doesnt_release_it() -> None:
    bench = Bench()
    a, _ = bench.put("a", "b")
    bench.cache.put("a", a, "other")
    assert bench.released == []
    assert bench.cache.get("a", "other") is a
    assert bench.cache.keys() == ["b", "a"]


def test_a_fallback_drops_the_agent_after_a_successful_turn() -> None:
    bench = Bench()
    a, b = bench.put("a", "b")
    assert bench.cache.finish_turn("a", a, succeeded=True, model_changed=True)
    assert bench.released == [a]
    assert bench.cache.keys() == ["b"]
    assert bench.cache.get("b", "sig") is b


@pytest.mark.parametrize("model_changed", [True, False])
def test_a_fallback_never_drops_the_agent_after_a_failed_turn(model_changed: bool) -> None:
    bench = Bench()
    (a,) = bench.put("a")
    assert not bench.cache.finish_turn("a", a, succeeded=False, model_changed=model_changed)
    assert bench.released == []
    assert bench.cache.get("a", "sig") is a


def test_a_successful_turn_without_a_model_switch_keeps_its_agent() -> None:
    bench = Bench()
    (a,) = bench.put("a")
    assert not bench.cache.finish_turn("a", a, succeeded=True)
    assert bench.cache.get("a", "sig") is a


def test_the_end_of_an_older_agents_turn_leaves_the_newer_agent_alone() -> None:
    bench = Bench()
    (a,) = bench.put("a")
    assert not bench.cache.finish_turn("a", make_agent("a"), succeeded=True, model_changed=True)
    assert bench.cache.get("a", "sig") is a
    assert not bench.cache.finish_turn("gone", a, succeeded=True, model_changed=True)


def test_a_reset_drops_that_entry_and_others_stay() -> None:
    bench = Bench()
    a, b = bench.put("a", "b")
    assert bench.cache.evict("a")
    assert not bench.cache.evict("a")
    assert bench.released == [a]
    assert bench.cache.get("a", "sig") is None
    assert bench.cache.get("b", "sig") is b
    assert b.client is not None
    assert bench.evictions() == {"reset": 1}


def test_effort_and_callbacks_change_in_place_on_the_cached_agent() -> None:
    bench = Bench()
    (a,) = bench.put("a")
    prompt = a.system_prompt
    a.reasoning_effort, a.callbacks = "high", {"progress": print}
    again = bench.cache.get("a", "sig")
    assert again is a
    assert again.system_prompt is prompt
    assert again.reasoning_effort == "high"


def test_beyond_the_cap_the_least_recently_used_go_oldest_first() -> None:
    bench = Bench()
    a, b, c = bench.put("a", "b", "c")
    bench.put("d", "e", "f")
    assert bench.released == [a, b, c]
    assert bench.cache.keys() == ["d", "e", "f"]
    assert bench.evictions() == {"cap": 3}


def test_the_cap_is_128_and_the_ttl_an_hour_by_default() -> None:
    cache = AgentCache(memory_limit=lambda: None, now=lambda: NOW)
    for n in range(130):
        cache.put(str(n), make_agent(str(n)), "sig")
    assert len(cache) == 128
    cache.put("fresh", make_agent(idle_seconds=3600), "sig")
    cache.put("stale", make_agent(idle_seconds=3600.1), "sig")
    assert cache.sweep_idle() == 1
    assert "stale" not in cache


def test_mid_turn_in_the_excess_window_is_skipped_and_no_newer_entry_goes_in_its_place() -> None:
    bench = Bench(2)
    bench.put("a", active=True)
    bench.put("b", "c")
    assert bench.released == []
    assert bench.cache.keys() == ["a", "b", "c"]
    assert bench.cache.gauges().mid_turn_skips == 1


def test_the_cache_over_its_cap_goes_back_to_it_at_the_next_insert() -> None:
    bench = Bench(2)
    (a,) = bench.put("a", active=True)
    b, c = bench.put("b", "c")
    bench.active.clear()
    bench.put("d")
    assert bench.released == [a, b]
    assert len(bench.cache) == 2
    assert c.client is not None


def test_only_the_mid_turn_ones_of_the_excess_window_stay() -> None:
    bench = Bench(2)
    (a,) = bench.put("a", active=True)
    b, _, _ = bench.put("b", "c", "d")  # at d the window is a and b
    assert bench.released == [b]
    assert bench.cache.keys() == ["a", "c", "d"]
    assert a.client is not None


def test_a_skip_logs_a_warning_that_says_mid_turn(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(1)
    bench.put("a", active=True)
    assert not caplog.records
    bench.put("b")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "mid-turn" in record.getMessage()


def test_enforcing_the_cap_by_itself_says_how_many_went(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(2)
    bench.put("a", "b", active=True)
    bench.put("c", "d", active=True)
    assert bench.cache.enforce_cap() == 0
    bench.active.clear()
    caplog.clear()
    assert bench.cache.enforce_cap() == 2
    assert bench.cache.keys() == ["c", "d"]
    assert not caplog.records


def test_a_placeholder_isnt_mid_turn_and_blocks_nobodys_eviction(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(2)
    bench.active.add(id(BUILDING))  # even a caller that holds it for active doesn't make it so
    bench.cache.put("a", BUILDING, "sig")
    b, *_ = bench.put("b", "c", "d")
    assert bench.cache.keys() == ["c", "d"]
    assert bench.released == [b]
    assert bench.evictions() == {"cap": 1}
    assert not caplog.records


def test_a_placeholder_is_never_handed_out_swept_or_released() -> None:
    bench = Bench()
    bench.cache.put("a", BUILDING, "sig")
    assert bench.cache.get("a", "sig") is None
    assert bench.cache.sweep_idle() == 0
    assert bench.cache.keys() == ["a"]
    agent = make_agent("a")
    bench.cache.put("a", agent, "sig")
    assert bench.cache.get("a", "sig") is agent
    assert bench.released == []
    assert bench.evictions() == {}


def test_an_abandoned_placeholder_goes_and_an_agent_in_its_place_stays() -> None:
    bench = Bench()
    bench.cache.put("a", BUILDING, "sig")
    bench.cache.abandon_building("a")
    bench.put("b")
    bench.cache.abandon_building("b")
    assert bench.cache.keys() == ["b"]


def test_idle_longer_than_the_ttl_is_swept() -> None:
    bench = Bench()
    bench.put("edge", idle_seconds=TTL)
    (stale,) = bench.put("stale", idle_seconds=TTL + 1)
    assert bench.cache.sweep_idle() == 1
    assert bench.released == [stale]
    assert bench.cache.keys() == ["edge"]
    assert bench.evictions() == {"idle": 1}
    assert bench.cache.sweep_idle() == 0


def test_an_insert_sweeps_too_but_not_what_it_inserts() -> None:
    bench = Bench()
    (stale,) = bench.put("stale", idle_seconds=TTL + 1)
    assert bench.released == []
    bench.put("new")
    assert bench.released == [stale]


def test_an_idle_agent_that_is_mid_turn_isnt_swept() -> None:
    bench = Bench()
    bench.put("a", idle_seconds=TTL * 9, active=True)
    assert bench.cache.sweep_idle() == 0
    assert bench.cache.keys() == ["a"]
    assert bench.cache.gauges().mid_turn_skips == 1
    bench.active.clear()
    assert bench.cache.sweep_idle() == 1


def test_an_agent_without_an_activity_timestamp_is_never_swept() -> None:
    bench = Bench()
    bench.put("a", idle_seconds=None)
    bench.cache.put("b", object(), "sig")
    assert bench.cache.sweep_idle() == 0
    assert bench.cache.keys() == ["a", "b"]


def test_with_a_plain_dict_cap_enforcement_does_nothing_and_doesnt_raise() -> None:
    plain = {"a": 1, "b": 2, "c": 3}
    assert enforce_cap(plain) == 0
    assert plain == {"a": 1, "b": 2, "c": 3}
    store: dict[Any, Entry] = {}
    bench = Bench(1, entries=store, memory_limit=lambda: 1, memory_used=lambda: 1)
    agents = bench.put(*map(str, range(20)))
    assert bench.cache.enforce_cap() == enforce_cap(bench.cache) == 0
    assert bench.cache.enforce_memory() == 0
    assert [entry.agent for entry in store.values()] == agents
    assert bench.cache.get("0", "sig") is agents[0]
    assert bench.released == []


def test_enforcing_the_cap_of_a_cache_by_the_function_does_it() -> None:
    bench = Bench(1)
    (a,) = bench.put("a", active=True)
    bench.put("b")
    bench.active.clear()
    assert enforce_cap(bench.cache) == 1
    assert bench.released == [a]


# Eviction is soft


def test_eviction_is_soft_the_client_goes_and_what_belongs_to_the_conversation_stays() -> None:
    for evict in ("cap", "sweep", "signature", "replace", "reset", "memory"):
        used = [0]
        cache = AgentCache(10, TTL, now=lambda: NOW, memory_limit=lambda: 100, memory_used=lambda used=used: used[0])
        agent = make_agent("a", idle_seconds=TTL * 2)
        resources = with_resources(agent.conversation)
        cache.put("a", agent, "sig")
        if evict == "sweep":
            assert cache.sweep_idle() == 1
        elif evict == "signature":
            assert cache.get("a", "other") is None
        elif evict == "replace":
            cache.put("a", make_agent("a"), "sig")
        elif evict == "reset":
            cache.evict("a")
        else:
            agent.last_activity_at = NOW
            used[0] = 100 if evict == "memory" else 0
            for n in range(10):
                cache.put(str(n), make_agent(), "sig")
        assert agent.client is None, evict
        assert [resource.closes for resource in resources.values()] == [0, 0, 0, 0], evict
        assert not agent.conversation.is_closed


def test_an_evicted_agents_memory_is_freed() -> None:
    bench = Bench(1)
    gone = weakref.ref(bench.put("a")[0])
    bench.put("b")
    bench.released.clear()
    gc.collect()
    assert gone() is None


def test_active_means_this_very_object() -> None:
    asked: list[tuple[object, object]] = []
    cache = AgentCache(1, TTL, lambda key, agent: bool(asked.append((key, agent))), memory_limit=lambda: None)
    a, b = make_agent("a"), make_agent("b")
    cache.put("a", a, "sig")
    cache.put("b", b, "sig")
    assert set(asked) == {("a", a)}


def test_without_further_words_the_agent_itself_says_whether_it_is_mid_turn() -> None:
    cache = AgentCache(1, memory_limit=lambda: None)
    a, b = make_agent("a"), make_agent("b")
    a.begin_turn(NOW)
    cache.put("a", a, "sig")
    cache.put("b", b, "sig")
    assert cache.keys() == ["a", "b"]
    assert a.client is not None


# Mid-turn when it is dropped


@pytest.mark.parametrize("drop", ["signature", "replace", "reset", "fallback"])
def test_an_agent_dropped_mid_turn_is_released_after_its_turn(drop: str) -> None:
    bench = Bench()
    (a,) = bench.put("a", active=True)
    match drop:
        case "signature":
            assert bench.cache.get("a", "other") is None
        case "replace":
            bench.cache.put("a", make_agent("a"), "sig")
        case "reset":
            bench.cache.evict("a")
        case _:
            bench.cache.finish_turn("a", a, succeeded=True, model_changed=True)
    assert bench.cache.get("a", "sig") is not a
    assert bench.cache.gauges().awaiting_turn_end == 1
    assert bench.released == []
    bench.active.clear()
    bench.cache.finish_turn("a", a, succeeded=False)
    assert bench.released == [a]
    assert bench.cache.gauges().awaiting_turn_end == 0
    bench.cache.sweep_idle()
    assert bench.released == [a]


def test_an_agent_dropped_mid_turn_and_put_back_isnt_released() -> None:
    bench = Bench()
    (a,) = bench.put("a", active=True)
    bench.cache.evict("a")
    bench.cache.put("a", a, "sig")
    bench.active.clear()
    bench.cache.sweep_idle()
    assert bench.released == []
    assert bench.cache.get("a", "sig") is a


# Memory


def memory_bench(used: list[int], **options: Any) -> Bench:
    """A bench of 100 MB whose use is `used[0]` MB, and falls by 1 MB with each released agent."""

    def release(agent: Agent) -> None:
        used[0] -= 1
        bench.release(agent)

    bench = Bench(
        100,
        memory_limit=lambda: 100 * MEGABYTE,
        memory_used=lambda: used[0] * MEGABYTE,
        release=release,
        **options,
    )
    return bench


def test_above_65_percent_of_memory_idle_entries_go_until_it_is_enough() -> None:
    used = [65]
    bench = memory_bench(used)
    agents = bench.put(*map(str, range(12)))
    assert bench.released == []  # 65 % is not above 65 %
    used[0] = 67
    assert bench.cache.enforce_memory() == 2
    assert bench.released == agents[:2]
    assert bench.evictions() == {"memory": 2}


def test_short_memory_never_takes_the_8_most_recent() -> None:
    used = [1000]
    bench = memory_bench(used)
    agents = bench.put(*map(str, range(12)))  # every insert looks at memory
    assert bench.released == agents[:4]
    assert bench.cache.enforce_memory() == 0
    assert len(bench.cache) == 8


def test_short_memory_never_takes_one_mid_turn_but_newer_ones_instead() -> None:
    used = [0]
    bench = memory_bench(used)
    bench.put("a", "b", active=True)
    c, d, *_ = bench.put("c", "d", *map(str, range(8)))
    used[0] = 1000
    assert bench.cache.enforce_memory() == 2
    assert bench.released == [c, d]
    assert "a" in bench.cache
    assert "b" in bench.cache


@pytest.mark.parametrize(("limit", "used"), [(None, 10**12), (100, None)])
def test_without_a_limit_or_a_measure_nothing_goes_for_memory(limit: int | None, used: int | None) -> None:
    bench = Bench(100, memory_limit=lambda: limit, memory_used=lambda: used)
    bench.put(*map(str, range(20)))
    assert bench.cache.enforce_memory() == 0
    assert bench.released == []


# Threads and cleanups


def test_cleanup_never_runs_under_the_lock() -> None:
    used = [0]
    bench = memory_bench(used)
    bench.put("a", "b", "c", "d", "e")
    bench.put("stale", idle_seconds=TTL + 1)
    bench.cache.get("a", "other")
    bench.cache.put("b", make_agent("b"), "sig")
    bench.cache.evict("c")
    bench.cache.sweep_idle()
    bench.put(*map(str, range(8)))
    used[0] = 1000
    bench.cache.enforce_memory()
    small = Bench(1)
    small.put("a", "b")
    assert set(bench.evictions()) | set(small.evictions()) == set(REASONS)
    assert len(bench.locked_at_release) >= 6
    assert not any(bench.locked_at_release + small.locked_at_release)


def test_a_cleanup_may_use_the_cache_itself() -> None:
    seen: list[int] = []
    cache = AgentCache(1, memory_limit=lambda: None, release=lambda agent: seen.append(cache.gauges().entries))
    worker = threading.Thread(
        target=lambda: [cache.put(key, make_agent(key), "sig") for key in ("a", "b")], daemon=True
    )
    worker.start()
    worker.join(10)
    assert seen == [1]


def test_a_cleanup_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def release(agent: Agent) -> None:
        raise OSError("secret words")

    bench = Bench(1, release=release)
    bench.put("a", "b", "c")
    bench.cache.evict("c")
    assert len(bench.cache) == 0
    assert caplog.text.count("could not be released: OSError") == 3
    assert "secret" not in caplog.text


def test_8_threads_that_insert_160_entries_end_with_exactly_16() -> None:
    bench = Bench(16)
    gate = threading.Barrier(8)

    def insert(thread: int) -> list[Agent]:
        gate.wait(10)
        return [bench.put(f"{thread}-{n}")[0] for n in range(20)]

    with ThreadPoolExecutor(8) as threads:
        agents = [agent for made in threads.map(insert, range(8), timeout=30) for agent in made]
    assert len(bench.cache) == bench.cache.gauges().entries == 16
    assert len(bench.released) == len(set(map(id, bench.released))) == 144
    assert sum(agent.client is not None for agent in agents) == 16
    assert bench.evictions() == {"cap": 144}


def test_8_threads_that_insert_while_cleanups_fail_end_with_exactly_16() -> None:
    def release(agent: Agent) -> None:
        raise RuntimeError

    bench = Bench(16, release=release)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda thread: bench.put(*(f"{thread}-{n}" for n in range(20))), range(8), timeout=30))
    assert len(bench.cache) == 16


def test_threads_that_do_everything_at_once_leave_whole_agents_behind() -> None:
    cache = AgentCache(4, memory_limit=lambda: None)

    def work(thread: int) -> None:
        for n in range(100):
            key = str((thread + n) % 6)
            agent = cache.get(key, f"sig {n % 2}")
            if agent is None or not agent.begin_turn(NOW):
                agent = make_agent(key)
                agent.begin_turn(NOW)
                cache.put(key, agent, f"sig {n % 2}")
            assert agent.client is not None  # nobody takes the client of a running turn away
            agent.end_turn(NOW)
            cache.finish_turn(key, agent, succeeded=True, model_changed=n % 7 == 0)
            if n % 11 == 0:
                cache.evict(key)
                cache.sweep_idle()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8), timeout=60))
    cache.enforce_cap()
    assert len(cache) <= 4
    assert cache.gauges().awaiting_turn_end == 0


# Gauges


def test_gauges_count_entries_hits_misses_evictions_and_skips() -> None:
    bench = Bench(2)
    bench.put("a", active=True)
    bench.put("b", "c")
    bench.cache.get("b", "sig")
    bench.cache.get("b", "sig")
    bench.cache.get("nobody", "sig")
    bench.cache.get("b", "other")
    bench.cache.evict("c")
    gauges = bench.cache.gauges()
    assert (gauges.entries, gauges.hits, gauges.misses, gauges.mid_turn_skips) == (1, 2, 2, 1)
    assert gauges.evictions == {"cap": 0, "idle": 0, "signature": 1, "reset": 1, "memory": 0}
    bench.cache.evict("a")
    assert gauges.entries == 1  # a snapshot
    with pytest.raises(TypeError):
        gauges.evictions["cap"] = 1  # type: ignore[index]


def test_clearing_drops_everything() -> None:
    bench = Bench()
    agents = bench.put("a", "b")
    bench.cache.clear()
    assert bench.released == agents
    assert len(bench.cache) == 0


def test_a_cache_needs_room_for_one() -> None:
    with pytest.raises(ValueError, match="at least one"):
        AgentCache(0)
