"""A worker that two beats tick at once: `python -m tests.library.schedules.firer <ticks>`; says how many it started."""

from __future__ import annotations

import os
import sys
import threading

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from django.db import connections  # noqa: E402

from apps.library.schedules import fire  # noqa: E402


def main(ticks: int) -> None:
    started = []
    barrier = threading.Barrier(2)

    def beat():
        barrier.wait(30)
        try:
            started.append(sum(fire.fire_due_schedules() for _ in range(ticks)))
        finally:
            connections.close_all()

    print("ready", flush=True)
    sys.stdin.readline()
    beats = [threading.Thread(target=beat) for _ in range(2)]
    for thread in beats:
        thread.start()
    for thread in beats:
        thread.join()
    print(*started, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
