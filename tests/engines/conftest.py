"""A model server for these tests, and a short way to make one model call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from apps.engines.base import EngineError, EngineEvent, StepRequest, ToolSpec
from apps.engines.clients import OpenAIClients
from apps.engines.demo.running import DemoHandle, running_demo
from apps.engines.openai_chat import OpenAIChat

Collect = Callable[..., Awaitable[tuple[list[EngineEvent], EngineError | None]]]


@pytest.fixture(scope="session")
def demo_server() -> Iterator[DemoHandle]:
    with running_demo() as handle:
        yield handle


@pytest.fixture
def demo(demo_server: DemoHandle) -> DemoHandle:
    demo_server.clear()
    return demo_server


@pytest.fixture
async def clients() -> AsyncIterator[OpenAIClients]:
    mine = OpenAIClients()
    yield mine
    assert mine.count() == 0, "whoever acquires a client lets go of it, however a step ends"


@pytest.fixture
def engine(demo: DemoHandle, clients: OpenAIClients) -> OpenAIChat:
    return OpenAIChat(base_url=demo.base_url, api_key="sk-secret", clients=clients)


def request_of(
    text: str, *, tools: Sequence[ToolSpec] = (), model: str = "some/model", system: str = ""
) -> StepRequest:
    return StepRequest(
        model=model, system=[system] if system else [], messages=[{"role": "user", "content": text}], tools=tools
    )


@pytest.fixture
def collect(engine: OpenAIChat) -> Collect:
    """Make a call and return all its events, with the error that ended it, if any."""

    async def run(
        request: StepRequest | str, *, using: OpenAIChat | None = None
    ) -> tuple[list[EngineEvent], EngineError | None]:
        request = request_of(request) if isinstance(request, str) else request
        events: list[EngineEvent] = []
        try:
            async with aclosing((using or engine).step(request)) as stream:
                async for event in stream:
                    events.append(event)
        except EngineError as error:
            return events, error
        return events, None

    return run


def tool(name: str = "search") -> ToolSpec:
    schema: dict[str, Any] = {"type": "object", "properties": {"q": {"type": "string"}}}
    return ToolSpec(name=name, description="Looks things up.", parameters=schema)
