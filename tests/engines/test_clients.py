from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from apps.engines.clients import OpenAIClients

URL = "http://127.0.0.1:1/v1"  # nothing listens there: making clients touches no network


async def test_a_client_is_shared_by_address_and_credential(clients: OpenAIClients) -> None:
    first, again, other = await asyncio.gather(
        clients.acquire(URL, "k"), clients.acquire(URL, "k"), clients.acquire(URL, "other")
    )
    assert first is again
    assert first is not other
    assert clients.count() == 2
    for key in ("k", "k", "other"):
        await clients.release(URL, key)
    assert first.is_closed()
    assert other.is_closed()


async def test_the_last_to_let_go_closes_it(clients: OpenAIClients) -> None:
    client = await clients.acquire(URL, "k")
    await clients.acquire(URL, "k")
    await clients.release(URL, "k")
    assert not client.is_closed()
    await clients.release(URL, "k")
    assert client.is_closed()
    assert clients.count() == 0
    await clients.release(URL, "k")  # a surplus one does no harm
    async with clients.hold(URL, "k") as anew:
        assert anew is not client


def test_each_loop_has_its_own(clients: OpenAIClients) -> None:
    async def within_another_loop(first: object) -> None:
        async with clients.hold(URL, "k") as second:
            assert second is not first
            assert clients.count() == 1

    async def within_a_loop() -> None:
        async with clients.hold(URL, "k") as first:
            await asyncio.to_thread(asyncio.run, within_another_loop(first))
            assert not first.is_closed()

    asyncio.run(within_a_loop())


async def test_a_client_does_not_retry_and_has_room_for_all_turns(clients: OpenAIClients) -> None:
    async with clients.hold(URL, "k") as client:
        assert client.max_retries == 0
        timeout = client.timeout
        assert timeout is not None
        assert not isinstance(timeout, float)
        assert timeout.connect == 5.0
        assert (timeout.read or 0) >= 120
        assert client._client._transport.most_connections >= 200  # type: ignore[attr-defined]


@pytest.mark.parametrize("forbidden", ["openai", "httpx2", "aiohttp", "django", "anthropic"])
def test_nothing_heavy_is_loaded_at_start(forbidden: str) -> None:
    code = (
        f"import sys, apps.engines.openai_chat, apps.engines.anthropic_messages; sys.exit({forbidden!r} in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_demo_server_starts_without_sdks_and_django() -> None:
    code = "import sys, apps.engines.demo.__main__; sys.exit(any(m in sys.modules for m in ('openai', 'django')))"
    subprocess.run([sys.executable, "-c", code], check=True)
