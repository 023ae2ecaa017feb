"""Ending: a process that is told to end does so in time, whatever its threads, its database or its children wait for.

It drains and closes as ever. A thread cannot be stopped, and an interpreter that exits waits for it; so what is left
when the time is over is left undone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

import structlog
import uvicorn

log = structlog.get_logger()
DRAIN_S = 6  # for requests to be answered
WORKER_S = 8.0  # until a worker has ended, so that its supervisor has time for the rest
LAST_S = 9.2  # until the last thing is done
DONE_S = 0.5  # which takes no longer
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _nothing() -> None:
    pass


class Ending:
    """Of this process: `seconds` after it began, the children are killed, `last` is done and the process is over. So it
    is when the block ends, whatever threads are still at work."""

    def __init__(self, seconds: float):
        self.last: Callable[[], None] = _nothing
        self._seconds = seconds
        self._number: int | None = None
        self._is_over = threading.Event()  # the time is, and `last` is being done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_over.is_set():  # the block may have ended of the children that were killed
            time.sleep(2 * DONE_S)  # until `_run` has exited
        if self._number is not None and any(_holds(thread) for thread in threading.enumerate()):
            self._exit()

    def begin(self, number: int) -> None:
        """By a signal; another changes nothing."""
        if self._number is None:
            self._number = number
            threading.Thread(target=self._run, name="nearfield-ending", daemon=True).start()

    def heed(self, also: Callable[[int], None] = lambda number: None) -> None:
        """From now on signals begin it, and do `also` and what they did."""
        for number in SIGNALS:
            signal.signal(number, self._before(signal.getsignal(number), also))

    def _before(self, usual: Any, also: Callable[[int], None]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self.begin(number)
            also(number)
            if callable(usual):
                usual(number, frame)

        return handle

    def _run(self) -> None:
        time.sleep(self._seconds)
        left = [thread.name for thread in threading.enumerate() if _holds(thread)]
        self._is_over.set()
        log.warning("not everything ended in time, and is left", seconds=self._seconds, threads=left)
        for child in multiprocessing.active_children():
            child.kill()
        last = threading.Thread(target=self.last, daemon=True)
        last.start()
        last.join(DONE_S)
        self._exit()

    def _exit(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if self._number == signal.SIGTERM else 128 + signal.SIGINT)


class EndingServer(uvicorn.Server):
    """uvicorn's, in the main thread of a process."""

    def __init__(self, config: uvicorn.Config, ending: Ending):
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.begin(sig)
        super().handle_exit(sig, frame)


def _holds(thread: threading.Thread) -> bool:
    """Whether an interpreter that exits would wait for it."""
    return not thread.daemon and thread is not threading.main_thread()
