"""Websockets that are sent several frames at once: an extension of ASGI, made for uvicorn.

A message a frame costs more than the frame itself where a reader catches up with thousands of events.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

#: The extension's name, in the scope and as its message's type; the message has `texts`, each of which is a frame.
FRAMES = "flightdeck.frames"


class BatchingProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's websockets, with the extension."""

    async def run_asgi(self) -> None:
        """Offer the extension to the application."""
        self.scope["extensions"] = {**(self.scope.get("extensions") or {}), FRAMES: {}}  # type: ignore[typeddict-item]
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        """Do as the application says.

        Raises:
            ClientDisconnected: When nobody is there any more.
        """
        if message["type"] != FRAMES:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            for text in message["texts"]:
                self.conn.send_text(text.encode())
        except InvalidState:
            raise ClientDisconnected from None
        self.transport.write(b"".join(self.conn.data_to_send()))
