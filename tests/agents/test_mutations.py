"""The tests notice the mistakes that caches like this one are known for: each is made on purpose, and must be seen."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import partial

import pytest

from apps.chat.agents import cache, signature
from tests.agents import test_cache as on_cache
from tests.agents import test_signature as on_signature

Check = Callable[[], None]

IGNORED = {
    "model": ("_VERSION, model,", "_VERSION,"),
    "provider": ("model, provider,", "model,"),
    "base_url": ("provider, base_url,", "provider,"),
    "api_mode": ("base_url, api_mode,", "base_url,"),
    "credential": ("api_mode, secret,", "api_mode,"),
    "toolsets": ("sorted(set(toolsets))", "[]"),
    "instructions": ("secret, instructions,", "secret,"),
    "user": ("instructions, user,", "instructions,"),
}

LIKE_IT = "next((e for k, e in self._entries.items() if k[:8] == key[:8]), None)"

#: What is changed, what it is changed into, and the test that must fail then.
MUTATIONS: dict[str, tuple[types.ModuleType, str, str, Check]] = {
    "8 characters of the credential": (
        signature,
        "_encoded(credential)",
        "_encoded((credential or '')[:8])",
        on_signature.test_tokens_that_share_a_long_prefix_differ,
    ),
    "order of tools": (
        signature,
        "sorted(set(toolsets))",
        "list(toolsets)",
        on_signature.test_tool_lists_that_differ_only_in_order_have_one_signature,
    ),
    "parts run together": (
        signature,
        'len(data).to_bytes(8, "big") + data',
        "data",
        on_signature.test_signatures_are_equal_exactly_when_the_inputs_are,
    ),
    "8 characters of the key": (
        cache,
        "entry = self._entries.get(key)\n            if entry is not None and entry.signature",
        f"entry = {LIKE_IT}\n            if entry is not None and entry.signature",
        on_cache.test_keys_that_share_their_first_8_characters_are_two_conversations,
    ),
    "substitute victim": (
        cache,
        "list(self._entries.items())[: max(0, excess)]",
        "[(k, e) for k, e in self._entries.items() if not self._is_mid_turn(k, e.agent)][: max(0, excess)]",
        on_cache.test_mid_turn_in_the_excess_window_is_skipped_and_no_newer_entry_goes_in_its_place,
    ),
    "mid-turn ones are evicted": (
        cache,
        "not isinstance(agent, Placeholder) and self._is_active(key, agent)",
        "False",
        on_cache.test_only_the_mid_turn_ones_of_the_excess_window_stay,
    ),
    "hard close": (
        cache,
        "agent.release_clients()",
        "agent.close()",
        on_cache.test_eviction_is_soft_the_client_goes_and_what_belongs_to_the_conversation_stays,
    ),
    "cleanup under the lock": (
        cache,
        "dropped.append(entry.agent)",
        "self._release_quietly(entry.agent)",
        on_cache.test_cleanup_never_runs_under_the_lock,
    ),
    "a replaced agent is kept": (
        cache,
        "if old is not None and old.agent is not agent:",
        "if False:",
        on_cache.test_replacing_an_entry_releases_the_old_agent_and_makes_the_new_one_most_recent,
    ),
    "an agent with another signature is kept": (
        cache,
        "                self._drop(key, SIGNATURE, dropped)\n            elif",
        "                self._entries.pop(key)\n            elif",
        on_cache.test_another_signature_releases_the_old_agent,
    ),
    "a hit stays where it is": (
        cache,
        "                self._make_most_recent(key)\n                return",
        "                return",
        on_cache.test_same_conversation_same_signature_gives_the_very_same_agent_and_makes_it_most_recent,
    ),
    "dropped after a failed turn": (
        cache,
        "not (succeeded and model_changed)",
        "not model_changed",
        partial(on_cache.test_a_fallback_never_drops_the_agent_after_a_failed_turn, model_changed=True),
    ),
    "agents without a timestamp are swept": (
        cache,
        'getattr(entry.agent, "last_activity_at", None)',
        'getattr(entry.agent, "last_activity_at", None) or 0',
        on_cache.test_an_agent_without_an_activity_timestamp_is_never_swept,
    ),
} | {
    f"{fact} is ignored": (
        signature,
        old,
        new,
        partial(on_signature.test_each_input_alone_changes_it, fact=fact),
    )
    for fact, (old, new) in IGNORED.items()
}


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, old, new, check = MUTATIONS[mistake]
    check()
    use_mutant(monkeypatch, module, old, new)
    with pytest.raises(AssertionError):
        check()


def use_mutant(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType, old: str, new: str) -> None:
    """Have the tests import names from a changed copy of a module."""
    source = module.__loader__.get_source(module.__name__)  # type: ignore[union-attr]
    assert source.count(old) == 1
    mutant = types.ModuleType(f"{module.__name__}_mutant")
    monkeypatch.setitem(sys.modules, mutant.__name__, mutant)  # dataclasses look their module up
    exec(compile(source.replace(old, new), mutant.__name__, "exec"), mutant.__dict__)  # noqa: S102
    for tests in (on_cache, on_signature):
        for name, value in vars(tests).items():
            if callable(value) and getattr(value, "__module__", None) == module.__name__:
                monkeypatch.setattr(tests, name, getattr(mutant, name))
