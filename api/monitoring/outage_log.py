"""OutageLog: one log line when PostgreSQL becomes unavailable and one when it is back; one line a minute for a full
disk."""

from __future__ import annotations

import threading
import time

import structlog

log = structlog.get_logger()
DISK_FULL_INTERVAL_S = 60.0


class OutageLog:
    """For one process. A line for each failed request would be load of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._n_requests = 0
        self._n_disk_full, self._next_disk_full_line = 0, 0.0

    def database_unavailable(self, why: str) -> None:
        """Called for each request that is answered with 503 because PostgreSQL is unavailable."""
        with self._lock:
            self._n_requests += 1
            if self._since is not None:
                return
            self._since = time.monotonic()
        log.warning("PostgreSQL is unreachable", error=why)

    def disk_full(self, why: str) -> None:
        """Called for each request that is answered with 507."""
        with self._lock:
            self._n_disk_full += 1
            now = time.monotonic()
            if now < self._next_disk_full_line:
                return
            requests, self._n_disk_full, self._next_disk_full_line = self._n_disk_full, 0, now + DISK_FULL_INTERVAL_S
        log.error("a disk is full", error=why, requests_answered_507=requests)

    def database_available(self) -> None:
        """Called after each successful read of PostgreSQL by the poller."""
        with self._lock:
            if self._since is None:
                return
            seconds, requests = time.monotonic() - self._since, self._n_requests
            self._since, self._n_requests = None, 0
        log.warning("PostgreSQL is back", seconds=round(seconds, 1), requests_answered_503=requests)
