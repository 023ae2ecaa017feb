"""Poller: keeps all live spaces up to date. Polling guarantees freshness; notifications only make it faster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping

import structlog

from engine.backoff import Backoff
from engine.errors import NotFound, StoreUnavailable
from engine.store.database.notifications import Listener
from indexing.live.view import LiveView
from indexing.refresh.live_space import LiveSpace

log = structlog.get_logger()
LISTEN_S = 0.2  # how long `stop` may wait for the listener
STOP_TIMEOUT_S = 2.0  # for both threads; one may wait for an unresponsive PostgreSQL


class Poller:
    """Refreshes all spaces every `poll_s` and calls `after` with each view; reads changes at each notification.

    It has two threads: while one opens a new generation (seconds), the other keeps reading changes.
    """

    def __init__(
        self,
        lives: MutableMapping[str, LiveSpace],
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
        """End both threads; a thread that waits for its database ends with the process."""
        self._stop.set()
        until = time.monotonic() + STOP_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))

    def _poll(self) -> None:
        failing: dict[str, RepeatedFailure] = {}
        while not self._stop.wait(self._poll_s):
            for name in list(self._lives):
                live = self._lives.get(name)
                if live is None:  # a request removed it meanwhile
                    continue
                failure = failing.setdefault(name, RepeatedFailure())
                if failure.pauses.is_pausing:
                    continue
                try:
                    self._after(live.refresh())
                except NotFound:  # the space was deleted, perhaps by another process
                    self._lives.pop(name, None)
                    failing.pop(name)
                except Exception as error:  # the next poll retries; requests use the last good view
                    failure.failed("refresh failed", str(error), space=name)
                else:
                    failure.succeeded("refresh works again", space=name)

    def _listen(self, listener: Listener) -> None:
        failure = RepeatedFailure()
        while not self._stop.is_set():
            try:
                for name in listener.wait(LISTEN_S):
                    if name in self._lives:
                        self._lives[name].catch_up()
            except StoreUnavailable:  # the polling thread reports it
                self._stop.wait(failure.pauses.record_failure())
            except Exception as error:  # the polling thread retries
                self._stop.wait(failure.failed("catching up failed", str(error)))
            else:
                failure.succeeded("catching up works again")
        listener.close()


class RepeatedFailure:
    """A repeated failure: growing pauses, and a log line when it starts, changes or ends."""

    def __init__(self) -> None:
        self.pauses = Backoff()
        self._why: str | None = None

    def failed(self, event: str, why: str, **fields: str) -> float:
        """Record a failure; returns the pause in seconds."""
        if why != self._why:
            log.warning(event, error=why, **fields)
        self._why = why
        return self.pauses.record_failure()

    def succeeded(self, event: str, **fields: str) -> None:
        self.pauses.record_success()
        if self._why is not None:
            log.warning(event, **fields)
        self._why = None
