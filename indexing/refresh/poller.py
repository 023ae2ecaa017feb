"""Poller: a thread that keeps every live space up to date. The poll is the truth; a wake-up only comes sooner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping

import structlog

from engine.backoff import Backoff
from engine.errors import NotFound, StoreUnavailable
from engine.store.database.notifications import Listener
from indexing.live.view import LiveView
from indexing.refresh.live_space import Live

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
        failing: dict[str, Failing] = {}
        while not self._stop.wait(self._poll_s):
            for name in list(self._lives):
                live = self._lives.get(name)
                if live is None:  # a request took it away meanwhile
                    continue
                tries = failing.setdefault(name, Failing())
                if tries.pauses.is_pausing:
                    continue
                try:
                    self._after(live.refresh())
                except NotFound:  # the space was deleted, perhaps by another process
                    self._lives.pop(name, None)
                    failing.pop(name)
                except Exception as error:  # a later poll tries again; a request sees the last good view
                    tries.failed("refresh failed", str(error), space=name)
                else:
                    tries.worked("refresh works again", space=name)

    def _listen(self, listener: Listener) -> None:
        tries = Failing()
        while not self._stop.is_set():
            try:
                for name in listener.wait(SLICE_S):
                    if name in self._lives:
                        self._lives[name].catch_up()
            except StoreUnavailable:  # which the poll tells of
                self._stop.wait(tries.pauses.record_failure())
            except Exception as error:  # as above: the poll is the truth
                self._stop.wait(tries.failed("catching up failed", str(error)))
            else:
                tries.worked("catching up works again")
        listener.close()


class Failing:
    """What fails again and again: with growing pauses, and a line when it begins, changes or ends."""

    def __init__(self) -> None:
        self.pauses = Backoff()
        self._why: str | None = None

    def failed(self, event: str, why: str, **fields: str) -> float:
        """How long to pause."""
        if why != self._why:
            log.warning(event, error=why, **fields)
        self._why = why
        return self.pauses.record_failure()

    def worked(self, event: str, **fields: str) -> None:
        self.pauses.record_success()
        if self._why is not None:
            log.warning(event, **fields)
        self._why = None
