"""ClockSkew: how far this server's clock is from PostgreSQL's, and how many events were rejected as in the future."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime

import structlog

from api.monitoring.metrics import Metrics
from engine.errors import NearfieldError
from engine.store.database import clock_skew
from engine.store.database.connections import Database
from engine.store.spaces import Space

log = structlog.get_logger()
MEASURE_INTERVAL_S = 10.0
LOG_INTERVAL_S = 60.0  # between two log lines about the same


class ClockSkew:
    """For one process. The poller calls `update` for every space."""

    def __init__(self, database: Database, metrics: Metrics):
        self._database, self._metrics = database, metrics
        self._lock = threading.Lock()
        self._unsaved: dict[int, tuple[int, datetime]] = {}  # by space key: (number, latest date) of rejected events
        self._measured_at = self._logged_rejected_at = self._logged_skew_at = -LOG_INTERVAL_S

    def count_rejected(self, space: Space, dates: Sequence[datetime], now: datetime) -> None:
        """Events of these dates were rejected because the dates are in the future."""
        if not dates:
            return
        farthest = max(dates)
        self._metrics.future_events.labels(space.name).inc(len(dates))
        with self._lock:
            n, before = self._unsaved.get(space.key, (0, farthest))
            self._unsaved[space.key] = n + len(dates), max(before, farthest)
            if not self._is_due("_logged_rejected_at", LOG_INTERVAL_S):
                return
        ahead = round((farthest - now).total_seconds() / 3600, 1)
        log.warning(
            "events are rejected because they are dated in the future",
            space=space.name,
            farthest=farthest.isoformat(),
            ahead_hours=ahead,
            clock=now.isoformat(),
            what_to_do=clock_skew.WHAT_TO_DO,
        )

    def update(self, space: Space) -> None:
        """Save the number of rejected events for `status` and measure the skew. After a failure the next call tries
        again."""
        with self._lock:
            unsaved = self._unsaved.pop(space.key, None)
            measures = self._is_due("_measured_at", MEASURE_INTERVAL_S)
        if unsaved is None and not measures:
            return
        try:
            with self._database.begin() as conn:
                if unsaved is not None:
                    clock_skew.add_refused(conn, space.key, *unsaved)
                skew = clock_skew.skew_s(conn)
        except NearfieldError:
            if unsaved is not None:
                self._put_back(space.key, *unsaved)
            return
        self._metrics.clock_skew_s.set(skew)
        if abs(skew) > clock_skew.FAR_S and self._is_due("_logged_skew_at", LOG_INTERVAL_S):
            log.warning("PostgreSQL's clock differs from this server's clock", skew_s=round(skew, 1))

    def _put_back(self, space_key: int, n: int, farthest: datetime) -> None:
        with self._lock:
            more, other = self._unsaved.get(space_key, (0, farthest))
            self._unsaved[space_key] = n + more, max(farthest, other)

    def _is_due(self, name: str, interval_s: float) -> bool:
        """Whether `interval_s` has passed since the time in attribute `name`; sets that time to now if so."""
        now = time.monotonic()
        if now - getattr(self, name) < interval_s:
            return False
        setattr(self, name, now)
        return True
