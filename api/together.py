"""Together: histories that are asked for at the same time are read in one statement.

While reads are under way the next wait, and go together in the one after. So nobody waits for a clock, alone costs what
it always did, and each sees all that was committed before it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from engine.errors import StoreUnavailable
from engine.events import History
from engine.store import events
from engine.store.database import Database

READS = 2  # at once, so that PostgreSQL works while the answers of the other are made
MOST = 64  # users of one statement
WAIT_S = 3.0  # a PostgreSQL that says nothing, as when its host is cut off, is away to who waits

Asked = tuple[int, str]  # space key, user id


class Histories:
    """The newest `limit` events of users, for one event loop."""

    def __init__(self, database: Database, limit: int):
        self._database, self._limit = database, limit
        self._waiting: list[tuple[Asked, asyncio.Future[History]]] = []
        self._readers: set[asyncio.Task[None] | None] = set()

    async def of(self, space_key: int, user_id: str, within_s: float = WAIT_S) -> History:
        """As `events.history`; StoreUnavailable while PostgreSQL is away, or when it says nothing within the time."""
        future: asyncio.Future[History] = asyncio.get_running_loop().create_future()
        self._waiting.append(((space_key, user_id), future))
        if len(self._readers) < READS:
            reader = asyncio.create_task(self._read())
            self._readers.add(reader)
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            raise StoreUnavailable(f"PostgreSQL did not answer within {within_s:.1f} s") from None

    async def _read(self) -> None:
        """Until nobody waits; whoever asks after that finds this reader gone, so that nobody waits for a next one."""
        try:
            await self._read_all()
        finally:
            self._readers.discard(asyncio.current_task())  # not by a callback of the task: it would come a moment late

    async def _read_all(self) -> None:
        while self._waiting:
            self._waiting = [each for each in self._waiting if not each[1].done()]  # those who waited too long are gone
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                found = await asyncio.to_thread(self._found, list({asked for asked, _ in taken}))
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for asked, future in taken:
                if not future.done():  # its client may have gone away
                    future.set_result(found.get(asked) or History())

    def _found(self, asked: Sequence[Asked]) -> Mapping[Asked, History]:
        with self._database.connect() as conn:
            if len(asked) == 1:
                [(key, user_id)] = asked
                return {(key, user_id): events.history(conn, key, user_id, self._limit)}
            found: dict[Asked, History] = {}
            for key in sorted({key for key, _ in asked}):
                users = sorted(user for of, user in asked if of == key)
                made = events.histories(conn, key, users, self._limit)
                found |= {(key, user): history for user, history in made.items()}
            return found
