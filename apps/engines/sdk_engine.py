"""What both engines do alike: one streamed call of an official SDK, read by a reader of its provider's events."""

from __future__ import annotations

import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol

from apps.engines.base import EngineError, EngineEvent, StepEnd, StepRequest, Usage
from apps.engines.clients import Client, KeptClient, SharedClients
from apps.engines.provider_errors import translate

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """Makes engine events of one answer's decoded pieces."""

    @property
    def is_finished(self) -> bool:
        """Whether the model said that it finished."""

    @property
    def usage(self) -> Usage | None:
        """What the call used, as far as it is known."""

    def feed(self, piece: object, /) -> Iterator[EngineEvent]:
        """Yield what a piece means."""

    def finish(self) -> Iterator[EngineEvent]:
        """Yield what remains at the end of a whole stream, without usage and `StepEnd`."""

    def end(self) -> StepEnd:
        """Return the last event of a whole answer."""


class SdkEngine(ABC, Generic[Client]):
    """An `Engine` on an official SDK. It may be shared by any number of steps at once.

    Attributes:
        sdk_error: The name of the class that all of the SDK's errors have in common.
    """

    sdk_error: ClassVar[str]

    def __init__(self, clients: SharedClients[Client], base_url: str, api_key: str) -> None:
        """Remember where to call; nothing is imported or connected before the first step."""
        self._sdk_name = clients.sdk
        self._client = KeptClient(clients, base_url, api_key)

    async def step(self, request: StepRequest) -> AsyncGenerator[EngineEvent]:
        """Make one model call; see `Engine.step`. Use it within `contextlib.aclosing`.

        Raises:
            EngineError: One of its subclasses, when the call failed.
        """
        reader = self._reader(request)
        failure: EngineError | None = None
        async with self._client.use() as client:
            try:
                async with aclosing(self._pieces(client, request, reader)) as pieces:
                    async for piece in pieces:
                        for event in reader.feed(piece):
                            yield event
                for event in reader.finish():
                    yield event
            except EngineError as error:
                failure = error
        if reader.usage is not None:
            yield reader.usage
        if failure is not None:
            raise failure
        yield reader.end()

    async def aclose(self) -> None:
        """Let go of the shared client; a later step takes it up again."""
        await self._client.aclose()

    async def _pieces(self, client: Client, request: StepRequest, reader: Reader) -> AsyncGenerator[object]:
        """Yield the decoded pieces of the answer, with the SDK's failures turned into ours.

        Raises:
            EngineError: The call failed. What goes wrong after the model said that it finished is only logged.
        """
        import httpx2

        sdk: ModuleType = importlib.import_module(self._sdk_name)  # the client's making has loaded it
        failure: EngineError | None = None
        streaming = False
        try:
            async with await self._open(client, request) as stream:
                streaming = True
                async for piece in stream:
                    yield piece
        except (getattr(sdk, self.sdk_error), httpx2.HTTPError, ValueError) as error:
            failure = translate(error, sdk=sdk, streaming=streaming)
        # Raised out here so that the SDK's error, which may quote messages, isn't chained into tracebacks.
        if failure is None:
            return
        if not reader.is_finished:
            raise failure
        logger.warning("the stream failed after its end", extra={"error_code": failure.code})

    @abstractmethod
    def _reader(self, request: StepRequest) -> Reader:
        """Return what reads the answer to a request."""

    @abstractmethod
    async def _open(self, client: Client, request: StepRequest) -> Any:
        """Send the request and return the SDK's open stream, whose pieces are plain data."""
