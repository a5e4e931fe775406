"""What a web process opens when it starts and closes when it ends."""

from __future__ import annotations

from typing import Any

from apps.chat.live import close_live, live


class Lifespan:
    """The ASGI lifespan protocol. Servers without it (daphne) start the live part at its first use."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer the server's start-up and shutdown."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                live()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await close_live()
                await send({"type": "lifespan.shutdown.complete"})
                return
