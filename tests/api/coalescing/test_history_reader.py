"""Coalesced reads of histories: the same results in fewer statements, never older than the request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from api.coalescing import coalescer, history_reader
from api.coalescing.history_reader import HistoryReader
from engine.errors import StoreUnavailable
from engine.store import events
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.events import Event, History
from tests.api.conftest import Shop

N_USERS, LIMIT = 40, 3


def clicked(user: int, item: int) -> Event:
    return Event(f"u{user}", f"i{item}", "view", datetime(2026, 1, 1, item, tzinfo=UTC), event_id=f"{user}-{item}")


@pytest.fixture
def users(database: Database, space: Space) -> list[str]:
    with database.begin() as conn:
        events.append(conn, space.key, [clicked(user, item) for user in range(N_USERS) for item in range(user % 6)])
    return [f"u{user}" for user in range(N_USERS)]


class Watched:
    """A database that counts the connections taken from it, and lets none through while `gate` is closed."""

    def __init__(self, database: Database):
        self._database, self.taken, self.gate = database, 0, threading.Event()
        self.gate.set()
        self.away = False

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        self.taken += 1
        self.gate.wait(10)
        if self.away:
            raise StoreUnavailable("PostgreSQL is unreachable")
        with self._database.connect() as conn:
            yield conn


def same(first: History, second: History) -> bool:
    return (first.item_ids, first.kinds) == (second.item_ids, second.kinds) and (
        first.occurred_us.tolist() == second.occurred_us.tolist() and first.values.tolist() == second.values.tolist()
    )


async def every(reader: HistoryReader, space: Space, users: list[str]) -> list[History]:
    return await asyncio.gather(*(reader.read(space.key, user) for user in users))


def test_coalesced_reads_return_the_same_histories_in_few_statements(
    database: Database, space: Space, users: list[str]
) -> None:
    watched = Watched(database)
    found = asyncio.run(every(HistoryReader(watched, LIMIT), space, [*users, "nobody", users[5]]))  # type: ignore[arg-type]
    assert watched.taken <= coalescer.MAX_CONCURRENT_BATCHES + 1
    with database.connect() as conn:
        for user, history in zip([*users, "nobody", users[5]], found, strict=True):
            assert same(history, events.history(conn, space.key, user, LIMIT))
    assert len(found[0]) == len(found[N_USERS]) == 0
    assert len(found[5]) == LIMIT


def test_spaces_do_not_mix(database: Database, space: Space, users: list[str]) -> None:
    async def ask() -> list[History]:
        reader = HistoryReader(database, LIMIT)
        return await asyncio.gather(*(reader.read(key, users[5]) for key in (space.key, space.key + 10**6) * 3))

    assert [len(history) for history in asyncio.run(ask())] == [LIMIT, 0] * 3


def test_a_read_after_a_write_sees_it_even_during_another_batch(
    database: Database, space: Space, users: list[str]
) -> None:
    async def ask() -> History:
        watched = Watched(database)
        reader = HistoryReader(watched, LIMIT)  # type: ignore[arg-type]
        watched.gate.clear()
        under_way = [
            asyncio.create_task(reader.read(space.key, users[0])) for _ in range(coalescer.MAX_CONCURRENT_BATCHES + 3)
        ]
        while watched.taken < 1:
            await asyncio.sleep(0.001)
        with database.begin() as conn:
            events.append(conn, space.key, [clicked(0, 23)])
        after = asyncio.create_task(reader.read(space.key, users[0]))
        await asyncio.sleep(0)
        watched.gate.set()
        await asyncio.gather(*under_way)
        return await after

    assert asyncio.run(ask()).item_ids == ("i23",)


def test_an_error_reaches_every_request_of_the_batch_and_the_next_batch_is_read(
    database: Database, space: Space, users: list[str]
) -> None:
    async def ask() -> tuple[list[BaseException | History], History]:
        watched = Watched(database)
        reader = HistoryReader(watched, LIMIT)  # type: ignore[arg-type]
        watched.away = True
        asked = (reader.read(space.key, user) for user in users)
        failed = await asyncio.gather(*asked, return_exceptions=True)
        watched.away = False
        return failed, await reader.read(space.key, users[2])

    failed, found = asyncio.run(ask())
    assert {type(each) for each in failed} == {StoreUnavailable}
    assert len(found) == 2


def test_a_cancelled_request_does_not_cancel_others(database: Database, space: Space, users: list[str]) -> None:
    async def ask() -> list[History]:
        reader = HistoryReader(database, LIMIT)
        tasks = [asyncio.create_task(reader.read(space.key, user)) for user in users]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return await asyncio.gather(*tasks[1::2])

    assert [len(history) for history in asyncio.run(ask())] == [min(LIMIT, user % 6) for user in range(1, N_USERS, 2)]


def test_a_request_right_after_a_batch_does_not_wait_for_another_request(
    database: Database, space: Space, users: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        coalescer, "MAX_CONCURRENT_BATCHES", 1
    )  # so that the only reader ends at the moment of the next question

    async def ask() -> list[History]:
        reader = HistoryReader(database, LIMIT)
        async with asyncio.timeout(10):
            return [await reader.read(space.key, user) for user in users[:6]]

    assert [len(history) for history in asyncio.run(ask())] == [min(user, LIMIT) for user in range(6)]


def test_a_database_that_does_not_answer_is_an_outage_and_delays_no_later_read(
    database: Database, space: Space, users: list[str]
) -> None:
    async def ask() -> tuple[list[BaseException | History], int, History]:
        watched = Watched(database)
        reader = HistoryReader(watched, LIMIT)  # type: ignore[arg-type]
        watched.gate.clear()
        asked = (reader.read(space.key, user, max_wait_s=1.0) for user in users)
        silent = await asyncio.gather(*asked, return_exceptions=True)
        held, after = watched.taken, asyncio.create_task(reader.read(space.key, users[2]))
        await asyncio.sleep(0)
        watched.gate.set()
        found = await after
        return silent, watched.taken - held, found

    silent, taken, found = asyncio.run(ask())
    assert {type(each) for each in silent} == {StoreUnavailable}
    assert taken == 1  # for those who were told already nothing is read
    assert len(found) == 2


def test_recommendations_are_degraded_while_the_database_does_not_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, gate = "/recommend?user_id=odd-user-1&k=5", threading.Event()
    assert shop.get(path).json()["degraded"] is False
    read = HistoryReader._read_histories

    def silent(reader: HistoryReader, asked: Any) -> Any:
        gate.wait(60)
        return read(reader, asked)

    monkeypatch.setattr(HistoryReader, "_read_histories", silent)
    try:
        started = time.monotonic()
        answer = shop.get(path)
        assert (answer.status_code, answer.json()["degraded"], len(answer.json()["items"])) == (200, True, 5)
        assert time.monotonic() - started < history_reader.MAX_WAIT_S + 10
        started = time.monotonic()
        assert shop.get(path + "&deadline_ms=300").status_code == 503
        assert time.monotonic() - started < history_reader.MAX_WAIT_S
    finally:
        gate.set()
    assert shop.get(path).json()["degraded"] is False
