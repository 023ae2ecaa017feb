"""HistoryReader: reads the histories of concurrent requests with one SQL statement per space."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from api.coalescing.coalescer import Coalescer
from engine.errors import StoreUnavailable
from engine.store import events
from engine.store.database.connections import Database
from engine.values.events import History

MAX_WAIT_S = 3.0  # PostgreSQL counts as unavailable after this; a host that is cut off sends no error

UserKey = tuple[int, str, str | None]  # space key, user id, the only session to read


class HistoryReader:
    """The newest `limit` events of each user. For one event loop."""

    def __init__(self, database: Database, limit: int):
        self._database, self._limit = database, limit
        self._coalescer = Coalescer(self._read_batch)

    async def read(
        self, space_key: int, user_id: str, max_wait_s: float = MAX_WAIT_S, session_id: str | None = None
    ) -> History:
        """As `events.history`, or `events.of_session`. StoreUnavailable when PostgreSQL is unreachable or silent for
        `max_wait_s`."""
        try:
            async with asyncio.timeout(max_wait_s):
                return await self._coalescer.submit((space_key, user_id, session_id))
        except TimeoutError:
            raise StoreUnavailable(f"PostgreSQL did not answer within {max_wait_s:.1f} s") from None

    def _read_batch(self, users: Sequence[UserKey]) -> Sequence[History]:
        histories = self._read_histories(set(users))
        return [histories.get(user) or History() for user in users]

    def _read_histories(self, users: set[UserKey]) -> Mapping[UserKey, History]:
        histories: dict[UserKey, History] = {}
        with self._database.connect() as conn:
            whole = {(space_key, user_id) for space_key, user_id, session_id in users if session_id is None}
            for space_key, user_id, session_id in users:
                if session_id is not None:
                    found = events.of_session(conn, space_key, user_id, session_id, self._limit)
                    histories[space_key, user_id, session_id] = found
            if len(whole) == 1:
                [(space_key, user_id)] = whole
                histories[space_key, user_id, None] = events.history(conn, space_key, user_id, self._limit)
                return histories
            for space_key in sorted({key for key, _ in whole}):
                user_ids = sorted(user_id for key, user_id in whole if key == space_key)
                of_space = events.histories(conn, space_key, user_ids, self._limit)
                histories |= {(space_key, user_id, None): history for user_id, history in of_space.items()}
        return histories
