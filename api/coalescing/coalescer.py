"""Together: what is asked for at the same time is done in one go, as one statement reads several histories.

While some are at work the next wait, and go together in the one after. So nobody waits for a clock, alone costs what it
always did, and each sees all that was committed before it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from api.limits.executors import AT_ONCE
from engine.errors import StoreUnavailable
from engine.store import events
from engine.store.database.connections import Database
from engine.values.events import History

MOST = 64  # of one go
WAIT_S = 3.0  # a PostgreSQL that says nothing, as when its host is cut off, is away to who waits

Asked = TypeVar("Asked")
Found = TypeVar("Found")
User = tuple[int, str]  # space key, user id


class Together(Generic[Asked, Found]):
    """For one event loop: `work` is called in a thread with what is asked for, and answers in that order, with an error
    where one is to be told that; one that it raises is told to each. Whoever does not wait any more is left out."""

    def __init__(self, work: Callable[[Sequence[Asked]], Sequence[Found | Exception]], threads: Executor | None = None):
        self._work, self._threads = work, threads
        self._waiting: list[tuple[Asked, asyncio.Future[Found]]] = []
        self._workers: set[asyncio.Task[None] | None] = set()

    async def ask(self, asked: Asked) -> Found:
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, future))
        if len(self._workers) < AT_ONCE:
            self._workers.add(asyncio.create_task(self._go()))
        return await future

    async def _go(self) -> None:
        """Until nobody waits; whoever asks after that finds this worker gone, so that nobody waits for a next one."""
        try:
            await self._go_on()
        finally:
            self._workers.discard(asyncio.current_task())  # not by a callback of the task: it would come a moment late

    async def _go_on(self) -> None:
        while self._waiting:
            self._waiting = [each for each in self._waiting if not each[1].done()]  # those who waited too long are gone
            taken, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            if not taken:
                return
            asked = [each for each, _ in taken]
            found: Sequence[Found | Exception]
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._threads, self._work, asked)
            except Exception as error:
                found = [error] * len(taken)
            for (_, future), each in zip(taken, found, strict=True):
                if future.done():  # its client may have gone away
                    continue
                if isinstance(each, Exception):
                    future.set_exception(each)
                else:
                    future.set_result(each)


class Histories:
    """The newest `limit` events of users, for one event loop."""

    def __init__(self, database: Database, limit: int):
        self._database, self._limit = database, limit
        self._together = Together(self._read)

    async def of(self, space_key: int, user_id: str, within_s: float = WAIT_S) -> History:
        """As `events.history`; StoreUnavailable while PostgreSQL is away, or when it says nothing within the time."""
        try:
            async with asyncio.timeout(within_s):
                return await self._together.ask((space_key, user_id))
        except TimeoutError:
            raise StoreUnavailable(f"PostgreSQL did not answer within {within_s:.1f} s") from None

    def _read(self, asked: Sequence[User]) -> Sequence[History]:
        found = self._found(set(asked))
        return [found.get(each) or History() for each in asked]

    def _found(self, asked: set[User]) -> Mapping[User, History]:
        with self._database.connect() as conn:
            if len(asked) == 1:
                [(key, user_id)] = asked
                return {(key, user_id): events.history(conn, key, user_id, self._limit)}
            found: dict[User, History] = {}
            for key in sorted({key for key, _ in asked}):
                users = sorted(user for of, user in asked if of == key)
                made = events.histories(conn, key, users, self._limit)
                found |= {(key, user): history for user, history in made.items()}
            return found
