"""What both engines do alike: one streamed call of an official SDK, read by a reader of its provider's events."""

from __future__ import annotations

import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol

from apps.engines.base import EngineError, EngineEvent, Figures, Meter, StepEnd, StepRequest
from apps.engines.clients import Client, SharedClients
from apps.engines.provider_errors import translate

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)


def _note_sent(meter: Meter) -> None:
    meter.may_cost = True


class Reader(Figures, Protocol):
    """Makes engine events of one answer's decoded pieces."""

    @property
    def is_finished(self) -> bool:
        """Whether the model said that it finished."""

    def feed(self, piece: object, /) -> Iterator[EngineEvent]:
        """Yield what a piece means."""

    def finish(self) -> Iterator[EngineEvent]:
        """Yield what remains at the end of a whole stream, without usage and `StepEnd`."""

    def end(self) -> StepEnd:
        """Return the last event of a whole answer."""


class SdkEngine(ABC, Generic[Client]):
    """An `Engine` on an official SDK. It may be shared by any number of steps at once.

    It holds a client for the length of a step. Whoever wants connections to be reused between steps holds the same
    client meanwhile.

    Attributes:
        sdk_error: The name of the class that all of the SDK's errors have in common.
    """

    sdk_error: ClassVar[str]

    def __init__(self, clients: SharedClients[Client], base_url: str, api_key: str) -> None:
        """Remember where to call; nothing is imported or connected before the first step."""
        self._clients = clients
        self._server = (base_url, api_key)

    async def step(self, request: StepRequest) -> AsyncGenerator[EngineEvent]:
        """Make one model call; see `Engine.step`. Use it within `contextlib.aclosing`.

        Raises:
            EngineError: One of its subclasses, when the call failed.
        """
        reader = request.meter.figures = self._reader(request)
        async with self._clients.hold(*self._server) as client:
            async with aclosing(self._pieces(client, request, reader)) as pieces:
                async for piece in pieces:
                    for event in reader.feed(piece):
                        yield event
            for event in reader.finish():
                yield event
        if reader.usage is not None:
            yield reader.usage
        yield reader.end()

    async def _pieces(self, client: Client, request: StepRequest, reader: Reader) -> AsyncGenerator[object]:
        """Yield the decoded pieces of the answer, with the SDK's failures turned into ours.

        Raises:
            EngineError: The call failed. What goes wrong after the model said that it finished is only logged.
        """
        import httpx2

        from apps.engines.transport import on_sent

        sdk: ModuleType = importlib.import_module(self._clients.sdk)  # the client's making has loaded it
        failure: EngineError | None = None
        streaming = has_begun = False
        try:
            on_sent.set(partial(_note_sent, request.meter))
            async with await self._open(client, request) as stream:
                streaming = True
                async for piece in stream:
                    has_begun = request.meter.may_cost = True
                    yield piece
        except (getattr(sdk, self.sdk_error), httpx2.HTTPError, ValueError) as error:
            failure = translate(error, sdk=sdk, streaming=streaming)
            request.meter.may_cost = has_begun
        # Raised out here so that the SDK's error, which may quote messages, isn't chained into tracebacks.
        if failure is None:
            request.meter.came_whole = reader.is_finished
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
