"""Appends: events that are posted at the same time are written in one transaction, with one flush of PostgreSQL's log.

Each is durable when it is answered, as alone. Where something is in the way of one each is written by itself. One that
has to wait for another transaction, as for an import that makes its user, does so among the writers, and holds up no
other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from api.coalescing.coalescer import Together
from api.limits.executors import appenders
from engine.errors import StoreBusy, StoreUnavailable
from engine.store import events
from engine.store.change_feeds import item_feed
from engine.store.database.connections import Database
from engine.values.events import Event

FEW = 50  # events of a request; more are a transaction of their own
PATIENCE_MS, LITTLE_MS = 100, 10  # with another transaction, of those that go together, and one by one for their sake

Asked = tuple[int, Sequence[Event]]  # space key, events


@dataclass(frozen=True)
class Written:
    statuses: Sequence[str]  # as `events.append` says
    seq: int


class Appends:
    """For one event loop."""

    def __init__(self, database: Database, threads: Executor):
        self._database, self._threads, self._appenders = database, threads, appenders()
        self._together = Together(self._write, self._appenders)

    def close(self) -> None:
        self._appenders.shutdown(wait=False)

    async def write(self, space_key: int, rows: Sequence[Event]) -> Written:
        """As `events.append`, committed; with its errors."""
        if len(rows) <= FEW and (written := await self._together.ask((space_key, rows))) is not None:
            return written
        alone = partial(self._in_one, space_key, [rows], None)
        [written] = await asyncio.get_running_loop().run_in_executor(self._threads, alone)
        return written

    def _write(self, asked: Sequence[Asked]) -> Sequence[Written | Exception | None]:
        """None: another transaction is in the way, which may take long."""
        made: dict[int, Written | Exception | None] = {}
        for space_key in {key for key, _ in asked}:
            at = [place for place, (key, _) in enumerate(asked) if key == space_key]
            made |= zip(at, self._of_space(space_key, [asked[place][1] for place in at]), strict=True)
        return [made[place] for place in range(len(asked))]

    def _of_space(
        self, space_key: int, parts: Sequence[Sequence[Event]], patience_ms: int = PATIENCE_MS
    ) -> Sequence[Written | Exception | None]:
        try:
            return self._in_one(space_key, parts, patience_ms)
        except Exception as error:
            if isinstance(error, StoreUnavailable) and error.away:
                return [error] * len(parts)
            if len(parts) == 1:
                return [None if isinstance(error, StoreBusy) else error]
        return [each for part in parts for each in self._of_space(space_key, [part], LITTLE_MS)]

    def _in_one(self, space_key: int, parts: Sequence[Sequence[Event]], patience_ms: int | None) -> Sequence[Written]:
        with self._database.begin() as conn:
            if patience_ms is not None:
                conn.exec_driver_sql(f"SET LOCAL lock_timeout = {patience_ms:d}")
            statuses = iter(events.append(conn, space_key, [event for part in parts for event in part]))
            seq = item_feed.sequence(conn)
        return [Written(list(islice(statuses, len(part))), seq) for part in parts]
