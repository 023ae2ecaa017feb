"""Outage: PostgreSQL is away, or a disk is full. A line when that is noticed and one when it is back, not each time."""

from __future__ import annotations

import threading
import time

import structlog

log = structlog.get_logger()
FULL_S = 60.0


class OutageLog:
    """Of one process; a line for each request that was told so would be load of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._requests = 0
        self._told_full, self._full_again = 0, 0.0

    def noticed(self, why: str) -> None:
        """By a request, which is answered 503."""
        with self._lock:
            self._requests += 1
            if self._since is not None:
                return
            self._since = time.monotonic()
        log.warning("PostgreSQL is away", error=why)

    def full(self, why: str) -> None:
        """A disk is full, which a request is answered with: a line a minute, with how many were told meanwhile."""
        with self._lock:
            self._told_full += 1
            now = time.monotonic()
            if now < self._full_again:
                return
            requests, self._told_full, self._full_again = self._told_full, 0, now + FULL_S
        log.error("a disk is full", error=why, requests_answered_507=requests)

    def over(self) -> None:
        with self._lock:
            if self._since is None:
                return
            seconds, requests = time.monotonic() - self._since, self._requests
            self._since, self._requests = None, 0
        log.warning("PostgreSQL is back", seconds=round(seconds, 1), requests_answered_503=requests)
