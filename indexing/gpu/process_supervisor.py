"""SupervisedProcess: a process that is restarted after a pause whenever it ends."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

log = structlog.get_logger()
PAUSE_S = 5.0
END_S = 2.0  # between SIGTERM and SIGKILL; a hanging process may ignore SIGTERM


class SupervisedProcess:
    """Runs `target` in a spawned process from construction until `close`."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]):
        self._target, self._arguments = target, arguments
        self._closed, self._lock = threading.Event(), threading.Lock()
        self.process = self._start()
        self._thread = threading.Thread(target=self._watch, name="nearfield-supervisor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the process; returns when it has ended."""
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
            log.error("a process ended and is restarted", target=self._target.__name__, pid=self.process.pid)
            if not self._restart():
                return

    def _restart(self) -> bool:
        """Restart after a pause; retry while the system is out of memory or processes. False if closed meanwhile."""
        while not self._closed.wait(PAUSE_S):
            with self._lock:
                if self._closed.is_set():
                    return False
                try:
                    self.process = self._start()
                    return True
                except Exception as error:
                    log.error("a process could not be started", target=self._target.__name__, error=str(error))
        return False

    def _start(self) -> multiprocessing.process.BaseProcess:
        process = multiprocessing.get_context("spawn").Process(target=self._target, args=self._arguments, daemon=True)
        process.start()
        return process


@contextmanager
def supervised_process(target: Callable[..., None], *arguments: object) -> Iterator[SupervisedProcess]:
    process = SupervisedProcess(target, arguments)
    try:
        yield process
    finally:
        process.close()
