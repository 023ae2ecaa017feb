"""ShelfWriter: stores served shelves from a thread of its own, so that no request waits for it.

A request appends a tuple to a queue; the thread makes JSON of it and writes by COPY several times a second. The queue
is bounded: while PostgreSQL is away, or slower than the requests, shelves beyond the bound are dropped and counted.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import structlog

from api.messages.shelf_schemas import RecommendQuery, ShelfBody
from api.monitoring.metrics import Metrics
from api.served.kept_request import kept_request
from engine.backoff import Backoff
from engine.errors import StoreUnavailable
from engine.recommending.values.answer import Hit
from engine.store import erasures
from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from engine.store.shelves.served_shelves import ServedShelf

log = structlog.get_logger()
WRITE_S = 0.25  # between two writes
MAX_WAITING = 20_000  # shelves
MAX_WAITING_CHARACTERS = 2**26  # of requests as JSON
MAX_BATCH = 2_000  # shelves of one transaction
CLOSE_S = 2.0  # for the last write


class Served(NamedTuple):
    """A shelf as it was answered, in the order of the fields of the table."""

    space_key: int
    served_us: int
    recommendation_id: str
    user_id: str | None  # the user or the visitor; None for a request that must not be known to be theirs
    body: ShelfBody | RecommendQuery  # as asked, without the parameters of its placement
    hits: Sequence[Hit]
    shown: Sequence[str]


class Shown(NamedTuple):
    """What a user was shown by a shelf that waits."""

    served_us: int
    session_id: str | None
    item_ids: Sequence[str]


class ShelfWriter:
    def __init__(self, database: Database, metrics: Metrics, keep_days: int):
        self._database, self._metrics = database, metrics
        self._served = deque[Served]()
        self._ready = defaultdict[int, deque[ServedShelf]](deque)  # by space; removed from it after the commit
        self._n_ready = self._n_characters = 0
        self._lock = threading.Lock()  # of both queues
        self._days = set[date]()  # that have partitions
        self._pauses = Backoff(1.0, 10.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearfield-shelves", daemon=True)
        self.is_on = keep_days > 0
        if self.is_on:
            self._thread.start()

    def keep(
        self,
        space_key: int,
        now_us: int,
        recommendation_id: str,
        body: ShelfBody | RecommendQuery,
        hits: Sequence[Hit],
        shown: Sequence[str] = (),
    ) -> None:
        """Keep a shelf, unless it is for a group of users, whom its request names."""
        if not self.is_on or body.user_ids:
            return
        if body.vector is not None:  # would take much memory while it waits
            body = body.model_copy(update={"vector": None})
        user_id = None if body.personalization == "none" else body.user_id or body.session_id
        with self._lock:
            if len(self._served) + self._n_ready < MAX_WAITING:
                self._served.append(Served(space_key, now_us, recommendation_id, user_id, body, hits, shown))
                return
        self._metrics.shelves_dropped.inc()

    def waiting(self, space_key: int, user_id: str) -> list[Shown]:
        """What shelves that wait to be written have shown to a user. Read it before the stored ones: a shelf may be
        written in between."""
        with self._lock:
            served = [each for each in self._served if each.user_id == user_id and each.space_key == space_key]
            ready = [shelf for shelf in self._ready.get(space_key, ()) if shelf.user_id == user_id]
        return [Shown(each.served_us, each.session_id, each.item_ids) for each in ready] + [
            Shown(each.served_us, each.body.session_id, [hit.item_id for hit in each.hits]) for each in served
        ]

    def close(self) -> None:
        """Write what waits, if PostgreSQL accepts it in time."""
        self._stop.set()
        if self.is_on:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while not self._stop.wait(WRITE_S):
            self._work()
        self._pauses.record_success()
        self._work()

    def _work(self) -> None:
        try:
            self._prepare()
            if self._n_ready and not self._pauses.is_pausing:
                self._write_ready()
                self._pauses.record_success()
        except Exception as error:
            self._pauses.record_failure()
            log.warning("served shelves could not be stored; they wait", error=str(error))
        self._metrics.shelves_waiting.set(len(self._served) + self._n_ready)

    def _prepare(self) -> None:
        """Make stored shelves of the served ones. A shelf is always in one of both queues."""
        for _ in range(len(self._served)):
            shelf = self._stored(each := self._served[0])
            with self._lock:
                self._served.popleft()
                if shelf is not None and self._n_characters + len(shelf.request) <= MAX_WAITING_CHARACTERS:
                    self._ready[each.space_key].append(shelf)
                    self._n_ready += 1
                    self._n_characters += len(shelf.request)
                    continue
            self._metrics.shelves_dropped.inc()

    @staticmethod
    def _stored(served: Served) -> ServedShelf | None:
        """None for a request that cannot be kept, which must not stop the others."""
        try:
            return stored(served)
        except Exception as error:
            log.error("a served shelf cannot be kept", error=str(error))
            return None

    def _write_ready(self) -> None:
        for space_key, ready in list(self._ready.items()):
            while ready:
                self._write([ready[at] for at in range(min(len(ready), MAX_BATCH))], space_key)
            with self._lock:
                del self._ready[space_key]

    def _write(self, shelves: Sequence[ServedShelf], space_key: int) -> None:
        """Write the first shelves of a space and remove them from the queue. Of shelves that PostgreSQL refuses, the
        others are written."""
        try:
            self._make_partitions(shelves)
            n = self._written(shelves, space_key)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._days.clear()
            if len(shelves) > 1:
                half = len(shelves) // 2
                self._write(shelves[:half], space_key)
                self._write(shelves[half:], space_key)
                return
            n = 0
            log.error("a served shelf was refused", error=str(error))
        self._metrics.shelves_written.inc(n)
        self._metrics.shelves_dropped.inc(len(shelves) - n)
        with self._lock:
            for each in shelves:
                self._ready[space_key].popleft()
                self._n_ready -= 1
                self._n_characters -= len(each.request)

    def _make_partitions(self, shelves: Sequence[ServedShelf]) -> None:
        for day in sorted({_day(each.served_us) for each in shelves} - self._days):
            with self._database.begin() as conn:
                served_shelves.make_partitions(conn, day)
            self._days.add(day)

    def _written(self, shelves: Sequence[ServedShelf], space_key: int) -> int:
        user_ids = {each.user_id for each in shelves if each.user_id is not None}
        with self._database.begin() as conn:
            n = served_shelves.write(conn, space_key, shelves)
            erased = erasures.erased_among(conn, space_key, sorted(user_ids))
            return n - served_shelves.delete_erased(conn, space_key, erased)


def stored(served: Served) -> ServedShelf:
    body = served.body
    return ServedShelf(
        served.served_us,
        served.recommendation_id,
        served.user_id,
        None if served.user_id is None else body.session_id,
        body.placement,
        kept_request(body, served.shown),
        [hit.item_id for hit in served.hits],
    )


def _day(served_us: int) -> date:
    return datetime.fromtimestamp(served_us / 1e6, UTC).date()
