"""Clock: what a server whose clock is wrong tells its operator: how far it is from PostgreSQL, and what it refused."""

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
EVERY_S = 10.0  # between two looks at PostgreSQL's clock
AGAIN_S = 60.0  # between two lines about the same


class ClockSkew:
    """Of one process; `looked` is called by its poller for every space."""

    def __init__(self, database: Database, metrics: Metrics):
        self._database, self._metrics = database, metrics
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[int, datetime]] = {}  # by space: how many, and the latest date of one
        self._asked = self._told_refused = self._told_far = -AGAIN_S

    def refused(self, space: Space, dates: Sequence[datetime], now: datetime) -> None:
        """Events of these dates were refused as of the future."""
        if not dates:
            return
        farthest = max(dates)
        self._metrics.future_events.labels(space.name).inc(len(dates))
        with self._lock:
            n, before = self._waiting.get(space.key, (0, farthest))
            self._waiting[space.key] = n + len(dates), max(before, farthest)
            if not self._due("_told_refused", AGAIN_S):
                return
        ahead = round((farthest - now).total_seconds() / 3600, 1)
        log.warning(
            "events are refused as of the future",
            space=space.name,
            farthest=farthest.isoformat(),
            ahead_hours=ahead,
            clock=now.isoformat(),
            what_to_do=clock_skew.WHAT_TO_DO,
        )

    def looked(self, space: Space) -> None:
        """Keep what was refused, for `status`, and measure the skew; what cannot be is tried again at the next look."""
        with self._lock:
            waiting = self._waiting.pop(space.key, None)
            asks = self._due("_asked", EVERY_S)
        if waiting is None and not asks:
            return
        try:
            with self._database.begin() as conn:
                if waiting is not None:
                    clock_skew.add_refused(conn, space.key, *waiting)
                skew = clock_skew.skew_s(conn)
        except NearfieldError:
            if waiting is not None:
                self._put_back(space.key, *waiting)
            return
        self._metrics.clock_skew_s.set(skew)
        if abs(skew) > clock_skew.FAR_S and self._due("_told_far", AGAIN_S):
            log.warning("PostgreSQL's clock is another than this server's", skew_s=round(skew, 1))

    def _put_back(self, space_key: int, n: int, farthest: datetime) -> None:
        with self._lock:
            more, other = self._waiting.get(space_key, (0, farthest))
            self._waiting[space_key] = n + more, max(farthest, other)

    def _due(self, name: str, every_s: float) -> bool:
        """Whether it is time for it again; then it is done now."""
        now = time.monotonic()
        if now - getattr(self, name) < every_s:
            return False
        setattr(self, name, now)
        return True
