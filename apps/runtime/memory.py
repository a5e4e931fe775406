"""What a process that runs for long tells Python's garbage collector."""

from __future__ import annotations

import gc

#: Containers made beyond those that went, until the youngest are looked through. At Python's 700, one message is
#: enough for several such looks.
YOUNG_CONTAINERS = 10_000


def settle() -> None:
    """Leave alone, from now on, what starting has made: call when everything that stays is imported and built.

    It never becomes garbage, but looking through it, which Python does again and again as objects come and go, stops
    everything that the process does for some tenths of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_CONTAINERS, *gc.get_threshold()[1:])
