"""Shutdown: a process that gets SIGTERM or SIGINT ends in time, even if its threads, its database or its children
block.

It drains requests and closes as usual. A Python thread cannot be stopped and the interpreter waits for every thread at
exit, so when the time is over the process exits without them.
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
DRAIN_S = 6  # for requests in progress
WORKER_S = 8.0  # until a worker has ended; leaves its supervisor time for the rest
SERVER_S = 9.2  # until the final action is done
FINAL_ACTION_S = 0.5  # for the final action
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _do_nothing() -> None:
    pass


class ShutdownTimer:
    """Ends this process `seconds` after the first signal: it kills the children, runs `final_action` and exits.

    As a context manager it also exits at the end of the block when a signal came and other threads still run.
    """

    def __init__(self, seconds: float):
        self.final_action: Callable[[], None] = _do_nothing
        self._seconds = seconds
        self._signal: int | None = None
        self._time_is_over = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._time_is_over.is_set():  # the block may have ended because its children were killed
            time.sleep(2 * FINAL_ACTION_S)  # until `_run` exits
        if self._signal is not None and any(_blocks_exit(thread) for thread in threading.enumerate()):
            self._exit()

    def start(self, number: int) -> None:
        """Start the timer for signal `number`. Later signals do not change it."""
        if self._signal is None:
            self._signal = number
            threading.Thread(target=self._run, name="nearfield-ending", daemon=True).start()

    def handle_signals(self, on_signal: Callable[[int], None] = lambda number: None) -> None:
        """From now on SIGTERM and SIGINT start the timer, call `on_signal` and then the previous handler."""
        for number in SIGNALS:
            signal.signal(number, self._handler(signal.getsignal(number), on_signal))

    def _handler(self, previous: Any, on_signal: Callable[[int], None]) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self.start(number)
            on_signal(number)
            if callable(previous):
                previous(number, frame)

        return handle

    def _run(self) -> None:
        time.sleep(self._seconds)
        blocking = [thread.name for thread in threading.enumerate() if _blocks_exit(thread)]
        self._time_is_over.set()
        log.warning("not everything ended in time; exiting", seconds=self._seconds, threads=blocking)
        for child in multiprocessing.active_children():
            child.kill()
        final = threading.Thread(target=self.final_action, daemon=True)
        final.start()
        final.join(FINAL_ACTION_S)
        self._exit()

    def _exit(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if self._signal == signal.SIGTERM else 128 + signal.SIGINT)


class TimedServer(uvicorn.Server):
    """uvicorn's server in the main thread of a process; its signals start the shutdown timer."""

    def __init__(self, config: uvicorn.Config, timer: ShutdownTimer):
        super().__init__(config)
        self._timer = timer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._timer.start(sig)
        super().handle_exit(sig, frame)


def _blocks_exit(thread: threading.Thread) -> bool:
    """Whether the interpreter would wait for the thread at exit."""
    return not thread.daemon and thread is not threading.main_thread()
