"""Round trips to Redis that many share: what hundreds of runs append at about the same time goes out together.

A round trip of its own for each costs several times what the append itself does, and all of it on the one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import redis.asyncio

from apps.runtime.loop import end_tasks

Command = tuple[str | bytes | int, ...]

#: Commands of one round trip; what is beyond goes with the next.
MOST_COMMANDS = 2000


class RoundTrips:
    """Sends commands as soon as the round trip before them is over, all that wait by then in one."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        """Make it; nothing is opened before the first command.

        Args:
            client: On the running loop; stays its owner's.
        """
        self.client = client
        self._waiting: list[tuple[Sequence[Command], asyncio.Future[list[Any]]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in their order; a caller that is cancelled before they went out takes them back.

        Args:
            commands: Each a name and its arguments.

        Returns:
            A reply for each; one that Redis refused is the error itself.

        Raises:
            RedisError: When the round trip failed; any of the commands may have been carried out.
        """
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="round trips")
        return await answer

    async def aclose(self) -> None:
        """End what is under way; whoever waits for it is cancelled."""
        await end_tasks(self._sender)

    async def _send_all(self) -> None:
        while self._waiting:
            batch = self._take()
            pipe = self.client.pipeline(transaction=False)
            for commands, _ in batch:
                for command in commands:
                    pipe.execute_command(*command)
            try:
                replies = await pipe.execute(raise_on_error=False) if batch else []
            except BaseException as error:
                for _, answer in batch:
                    _fail(answer, error)
                if not isinstance(error, redis.RedisError | OSError):
                    raise
            else:
                for commands, answer in batch:
                    if not answer.done():
                        answer.set_result(replies[: len(commands)])
                    del replies[: len(commands)]

    def _take(self) -> list[tuple[Sequence[Command], asyncio.Future[list[Any]]]]:
        """Return what goes with the next round trip."""
        count = 0
        for place, (commands, _) in enumerate(self._waiting):
            count += len(commands)
            if place and count > MOST_COMMANDS:
                batch, self._waiting = self._waiting[:place], self._waiting[place:]
                break
        else:
            batch, self._waiting = self._waiting, []
        return [(commands, answer) for commands, answer in batch if not answer.done()]


def _fail(answer: asyncio.Future[list[Any]], error: BaseException) -> None:
    if answer.done():
        return
    if isinstance(error, asyncio.CancelledError):
        answer.cancel()
    else:
        answer.set_exception(error)
