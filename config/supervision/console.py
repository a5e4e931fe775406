"""What the supervisor and its children say, as lines that begin with who says them."""

from __future__ import annotations

import queue
import threading
from typing import TextIO

NAME_WIDTH = 12  # of the longest name, `graph_worker`
#: Lines that wait for a slow reader. Past it lines are left out: a reader that has stopped must not stop the product.
WAITING_LINES = 10_000
COLOURS = (36, 33, 32, 35, 34, 96, 93)  # terminal codes, given to names in the order in which they first speak


class Console:
    """Writes lines in a thread of its own, because a terminal or pipe may block for as long as it likes."""

    def __init__(self, stream: TextIO) -> None:
        """Begin to write to `stream`; names are coloured when it is a terminal."""
        self._stream = stream
        self._coloured = stream.isatty()
        self._colours: dict[str, int] = {}
        self._left_out = 0
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING_LINES)
        self._thread = threading.Thread(target=self._write_lines, name="console", daemon=True)
        self._thread.start()

    def line(self, name: str, text: str) -> None:
        """Write a line of a process."""
        self.plain(f"{self._label(name)} | {text}")

    def plain(self, text: str) -> None:
        """Write text as it is."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._left_out += 1

    def close(self, timeout_seconds: float = 2) -> None:
        """Write what waits, unless the reader takes longer than `timeout_seconds`."""
        try:
            self._lines.put(None, timeout=timeout_seconds)
        except queue.Full:
            return
        self._thread.join(timeout_seconds)

    def _label(self, name: str) -> str:
        padded = name.ljust(NAME_WIDTH)
        if not self._coloured:
            return padded
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return f"\x1b[{colour}m{padded}\x1b[0m"

    def _write_lines(self) -> None:
        while (text := self._lines.get()) is not None:
            if self._left_out:
                text = f"({self._left_out} lines left out: nobody read them)\n{text}"
                self._left_out = 0
            try:
                self._stream.write(f"{text}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the reader is gone (`make run | head`); the product goes on
