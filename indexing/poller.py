"""Poller: a thread that keeps every live space up to date. The poll is the truth; a wake-up only comes sooner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping

import structlog

from engine.errors import NotFound, StoreUnavailable
from engine.store.wake import Listener
from indexing.live import Live
from indexing.view import LiveView

log = structlog.get_logger()
SLICE_S = 0.2  # how long a stop may wait for the listener
STOP_S = 2.0  # and for both threads, one of which may wait for a PostgreSQL that says nothing


class Poller:
    """Refreshes all spaces every `poll_s`, then `after` looks at each; reads what changed in one that it hears of.

    Two threads: while one opens a new generation, which may take seconds, the other goes on seeing changes.
    """

    def __init__(
        self,
        lives: MutableMapping[str, Live],
        poll_s: float,
        listener: Listener | None = None,
        after: Callable[[LiveView], None] = lambda view: None,
    ):
        self._lives, self._poll_s, self._listener, self._after = lives, poll_s, listener, after
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._poll, name="nearfield-poller", daemon=True)]
        if listener is not None:
            self._threads.append(
                threading.Thread(target=self._listen, args=[listener], name="nearfield-listener", daemon=True)
            )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads; one that is held up by its database ends with the process."""
        self._stop.set()
        until = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    def _poll(self) -> None:
        while not self._stop.wait(self._poll_s):
            for name in list(self._lives):
                live = self._lives.get(name)
                if live is None:  # a request took it away meanwhile
                    continue
                try:
                    self._after(live.refresh())
                except NotFound:  # the space was deleted, perhaps by another process
                    self._lives.pop(name, None)
                except Exception as error:  # the next poll tries again; a request sees the last good view
                    log.warning("refresh failed", space=name, error=str(error))

    def _listen(self, listener: Listener) -> None:
        while not self._stop.is_set():
            try:
                for name in listener.wait(SLICE_S):
                    if name in self._lives:
                        self._lives[name].catch_up()
            except StoreUnavailable:
                self._stop.wait(self._poll_s)
            except Exception as error:  # as above: the poll is the truth
                log.warning("catching up failed", error=str(error))
        listener.close()
