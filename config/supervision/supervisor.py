"""Starts every process in order, keeps `run.json` true, and stops them in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from config.supervision.child import Child, Hopeless, Spec
from config.supervision.console import Console
from config.supervision.plan import Plan

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SLOW_START_SECONDS = 30.0


class Stopped(Exception):
    """A signal asked to stop before everything was ready."""


class Supervisor:
    """The life of an installation on one machine."""

    def __init__(
        self,
        plan: Plan,
        console: Console,
        prepare: Callable[[], None],
        announce: Callable[[dict[str, int]], None],
        celebrate: Callable[[], None],
    ) -> None:
        """Prepare; nothing is started.

        Args:
            plan: What to start.
            console: Where lines go.
            prepare: Blocking work that must be done before the product starts, while services are starting.
            announce: Told name and pid of every process, first when the product is ready and then at every change.
            celebrate: Called once, when the product answers.
        """
        self._plan = plan
        self._console = console
        self._prepare = prepare
        self._announce = announce
        self._celebrate = celebrate
        self._children: list[Child] = []
        self._product_ready = False
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal asks to stop.

        Returns:
            The exit code: 0, or 1 when a process can't start at all.
        """
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._ask_to_stop)
        try:
            await self._start()
            await self._stop.wait()
        except Stopped:
            return 0
        except Hopeless as error:
            self._console.line("supervisor", f"{error}.")
            return 1
        finally:
            await self._stop_all()
        return 0

    async def _start(self) -> None:
        services = [self._add(spec) for spec in self._plan.services]
        await self._unless_stopped(_together([*(child.wait_ready() for child in services), self._prepared()]))
        product = [self._add(spec) for spec in self._plan.product]
        await self._unless_stopped(_together(child.wait_ready() for child in product))
        background = [self._add(spec) for spec in self._plan.background]
        await self._unless_stopped(_together(child.wait_started() for child in background))
        self._product_ready = True
        self._tell_pids()
        self._celebrate()
        await self._unless_stopped(_together(child.wait_ready() for child in background))

    async def _prepared(self) -> None:
        # Shielded: a database is not left in the middle of a migration because somebody pressed Ctrl-C.
        await asyncio.shield(asyncio.to_thread(self._prepare))

    def _add(self, spec: Spec) -> Child:
        child = Child(spec, self._console, self._tell_pids)
        self._children.append(child)
        child.start()
        return child

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for `work`, saying so when it takes long.

        Raises:
            Stopped: When a signal came first.
        """
        stop = asyncio.create_task(self._stop.wait())
        working = asyncio.create_task(work)
        try:
            await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED, timeout=SLOW_START_SECONDS)
            if not (stop.done() or working.done()):
                self._console.line("supervisor", "Not everything answers yet; still waiting.")
                await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                raise Stopped
            await working
        finally:
            for task in (stop, working):
                task.cancel()
            await asyncio.wait({stop, working})

    def _tell_pids(self) -> None:
        if self._product_ready:
            self._announce({child.spec.name: child.pid for child in self._children if child.pid is not None})

    def _ask_to_stop(self) -> None:
        """Stop; asked a second time, don't wait for anybody."""
        if self._stop.is_set():
            self._console.line("supervisor", "Asked again: everything is killed")
            for child in self._children:
                child.kill()
            return
        self._stop.set()
        self._console.line("supervisor", "Stopping; once more to kill")

    async def _stop_all(self) -> None:
        """Stop the product together, then the services that it still needed while it stopped."""
        self._product_ready = False
        services = {spec.name for spec in self._plan.services}
        await asyncio.gather(*(child.stop() for child in self._children if child.spec.name not in services))
        await asyncio.gather(*(child.stop() for child in self._children if child.spec.name in services))


async def _together(waits: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all; the first error ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
