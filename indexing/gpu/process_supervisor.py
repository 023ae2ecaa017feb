"""Restarting: a process that is started again, after a pause, whenever it ends."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

log = structlog.get_logger()
PAUSE_S = 5.0
END_S = 2.0  # after which a process that was told to end is killed: one that hangs may not heed it


class Restarting:
    """`target` in a spawned process from now until `close`."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]):
        self._target, self._arguments = target, arguments
        self._closed, self._lock = threading.Event(), threading.Lock()
        self.process = self._started()
        self._thread = threading.Thread(target=self._watch, name="nearfield-restarting", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """It has ended when this returns."""
        with self._lock:
            self._closed.set()
        self.process.terminate()
        self._thread.join(END_S)
        if self._thread.is_alive():
            self.process.kill()
            self._thread.join()

    def _watch(self) -> None:
        while True:
            self.process.join()
            if self._closed.is_set():
                return
            log.error("a process ended and is started again", target=self._target.__name__, pid=self.process.pid)
            if not self._start_again():
                return

    def _start_again(self) -> bool:
        """After a pause, and after another as often as the machine is out of memory or processes; False: closed."""
        while not self._closed.wait(PAUSE_S):
            with self._lock:
                if self._closed.is_set():
                    return False
                try:
                    self.process = self._started()
                    return True
                except Exception as error:
                    log.error("a process could not be started", target=self._target.__name__, error=str(error))
        return False

    def _started(self) -> multiprocessing.process.BaseProcess:
        made = multiprocessing.get_context("spawn").Process(target=self._target, args=self._arguments, daemon=True)
        made.start()
        return made


@contextmanager
def restarting(target: Callable[..., None], *arguments: object) -> Iterator[Restarting]:
    made = Restarting(target, arguments)
    try:
        yield made
    finally:
        made.close()
