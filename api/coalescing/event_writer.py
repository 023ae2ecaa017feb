"""EventWriter: group commit. Concurrent event writes share one transaction and one flush of PostgreSQL's WAL.

Every write is durable when its response is sent. If the shared transaction fails, each request is written in its own
transaction, so an error reaches only the request that causes it. A write that waits for a lock of another transaction
(an import that creates the same user) moves to the `writers` pool and does not delay other writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from api.coalescing.coalescer import Coalescer
from api.limits.executors import event_writers
from engine.errors import StoreBusy, StoreUnavailable
from engine.store import events
from engine.store.change_feeds import snapshots
from engine.store.database.connections import Database
from engine.values.events import Event

MAX_COALESCED_EVENTS = 50  # of one request; a larger request has its own transaction
GROUP_LOCK_TIMEOUT_MS = 100  # of a shared transaction
SINGLE_LOCK_TIMEOUT_MS = 10  # of each request's transaction after the shared one failed: the other requests wait for it

WriteRequest = tuple[int, Sequence[Event]]  # space key, events


@dataclass(frozen=True)
class WrittenEvents:
    statuses: Sequence[str]  # as `events.append` returns them
    seq: int


class EventWriter:
    """For one event loop."""

    def __init__(self, database: Database, writers: Executor):
        self._database, self._writers, self._event_writers = database, writers, event_writers()
        self._coalescer = Coalescer(self._write_batch, self._event_writers)

    def close(self) -> None:
        self._event_writers.shutdown(wait=False)

    async def write(self, space_key: int, new_events: Sequence[Event]) -> WrittenEvents:
        """Append the events and commit. Raises the errors of `events.append`."""
        if len(new_events) <= MAX_COALESCED_EVENTS:
            written = await self._coalescer.submit((space_key, new_events))
            if written is not None:
                return written
        write_alone = partial(self._write_transaction, space_key, [new_events], None)
        [written] = await asyncio.get_running_loop().run_in_executor(self._writers, write_alone)
        return written

    def _write_batch(self, requests: Sequence[WriteRequest]) -> Sequence[WrittenEvents | Exception | None]:
        """None for a request whose lock timed out: the caller writes it in the `writers` pool."""
        results: dict[int, WrittenEvents | Exception | None] = {}
        for space_key in {key for key, _ in requests}:
            positions = [at for at, (key, _) in enumerate(requests) if key == space_key]
            of_space = self._write_space(space_key, [requests[at][1] for at in positions])
            results |= zip(positions, of_space, strict=True)
        return [results[at] for at in range(len(requests))]

    def _write_space(
        self, space_key: int, groups: Sequence[Sequence[Event]], lock_timeout_ms: int = GROUP_LOCK_TIMEOUT_MS
    ) -> Sequence[WrittenEvents | Exception | None]:
        try:
            return self._write_transaction(space_key, groups, lock_timeout_ms)
        except Exception as error:
            if isinstance(error, StoreUnavailable) and error.is_down:
                return [error] * len(groups)
            if len(groups) == 1:
                return [None if isinstance(error, StoreBusy) else error]
        return [result for group in groups for result in self._write_space(space_key, [group], SINGLE_LOCK_TIMEOUT_MS)]

    def _write_transaction(
        self, space_key: int, groups: Sequence[Sequence[Event]], lock_timeout_ms: int | None
    ) -> Sequence[WrittenEvents]:
        with self._database.begin() as conn:
            if lock_timeout_ms is not None:
                conn.exec_driver_sql(f"SET LOCAL lock_timeout = {lock_timeout_ms:d}")
            statuses = iter(events.append(conn, space_key, [event for group in groups for event in group]))
            seq = snapshots.transaction_seq(conn)
        return [WrittenEvents(list(islice(statuses, len(group))), seq) for group in groups]
