"""Group commit of events: the same results in fewer transactions, and errors stay with their request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

import pytest
import sqlalchemy as sa

from api.coalescing.coalescer import MAX_BATCH
from api.coalescing.event_writer import MAX_COALESCED_EVENTS, EventWriter, WrittenEvents
from api.limits.executors import EVENT_WRITERS, writers
from engine.errors import NotFound, StoreUnavailable
from engine.store import events, items, spaces
from engine.store.change_feeds import snapshots
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.events import Event
from engine.values.items import Item

Made = TypeVar("Made")
N_HELD = 2 * MAX_BATCH
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Watched:
    """A database that counts its transactions, and begins none while `gate` is closed."""

    def __init__(self, database: Database):
        self._database, self.begun, self.gate, self.away = database, 0, threading.Event(), False
        self.gate.set()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self.begun += 1
        assert self.gate.wait(30)
        if self.away:
            raise StoreUnavailable("PostgreSQL is unreachable")
        with self._database.begin() as conn:
            yield conn


@pytest.fixture
def watched(database: Database) -> Watched:
    return Watched(database)


def clicked(user: int, item: int = 1) -> Event:
    return Event(f"u{user}", f"i{item}", "view", NOON, event_id=f"{user}-{item}")


def run(watched: Watched, work: Callable[[EventWriter], Awaitable[Made]]) -> Made:
    async def within() -> Made:
        with writers() as threads:
            return await work(EventWriter(watched, threads))  # type: ignore[arg-type]

    return asyncio.run(within())


async def every(
    event_writer: EventWriter, asked: Sequence[tuple[int, Sequence[Event]]]
) -> list[WrittenEvents | BaseException]:
    return await asyncio.gather(*(event_writer.write(*each) for each in asked), return_exceptions=True)


def test_coalesced_writes_return_their_own_statuses_in_few_transactions(
    watched: Watched, database: Database, space: Space
) -> None:
    with database.begin() as conn:
        events.append(conn, space.key, [clicked(3)])
        other = spaces.ensure(conn, f"{space.name}-b")
    parts = [[clicked(user), clicked(user, 2)] for user in range(40)]
    asked = [(space.key, part) for part in parts] + [(other.key, parts[0]), (space.key, parts[5])]
    told = run(watched, lambda event_writer: every(event_writer, asked))
    statuses = [each.statuses for each in told if isinstance(each, WrittenEvents)]
    assert statuses[3] == ["duplicate", "written"]
    assert statuses[:3] + statuses[4:41] == [["written", "written"]] * 40
    assert statuses[41] == ["duplicate", "duplicate"]
    assert watched.begun <= EVENT_WRITERS + 3
    with database.connect() as conn:
        assert (events.count(conn, space.key), events.count(conn, other.key)) == (80, 2)
        seen = snapshots.current(conn)
    assert all(seen.includes(each.seq) for each in told if isinstance(each, WrittenEvents))


def test_one_request_is_one_transaction_and_a_large_request_has_its_own(watched: Watched, space: Space) -> None:
    written = run(watched, lambda event_writer: event_writer.write(space.key, [clicked(1)]))
    assert (written.statuses, watched.begun) == (["written"], 1)
    many = [clicked(2, item) for item in range(MAX_COALESCED_EVENTS + 1)]
    told = run(watched, lambda event_writer: every(event_writer, [(space.key, many), (space.key, many)]))
    assert sorted(each.statuses.count("written") for each in told if isinstance(each, WrittenEvents)) == [0, len(many)]
    assert watched.begun == 3


def test_a_write_locked_by_an_import_waits_and_delays_no_other(
    watched: Watched, database: Database, space: Space
) -> None:
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(f"i{n}") for n in range(N_HELD + 2)])

    async def ask(event_writer: EventWriter) -> tuple[list[WrittenEvents], list[WrittenEvents]]:
        with database.begin() as conn:
            events.append(conn, space.key, [clicked(0)])  # a user who is nobody else's to make until this ends
            held = [asyncio.create_task(event_writer.write(space.key, [clicked(0, 2 + n)])) for n in range(N_HELD)]
            others = [event_writer.write(space.key, [clicked(user)]) for user in range(1, 30)]
            async with asyncio.timeout(10):  # with the patience of one for each that is held: more
                free = await asyncio.gather(*others)
            assert not any(each.done() for each in held)
        return free, await asyncio.gather(*held)

    free, held = run(watched, ask)
    assert {tuple(each.statuses) for each in [*free, *held]} == {("written",)}
    with database.connect() as conn:
        assert events.count(conn, space.key) == 1 + len(free) + len(held)


def test_an_error_of_one_request_reaches_that_request_only(watched: Watched, database: Database, space: Space) -> None:
    nobody = space.key + 10**6
    bad = Event("u1", "i1", "no\x00kind", NOON)
    asked = [(space.key, [clicked(1)]), (space.key, [bad]), (nobody, [clicked(2)]), (space.key, [clicked(3)])]

    async def ask(event_writer: EventWriter) -> list[WrittenEvents | BaseException]:
        watched.gate.clear()
        first = [asyncio.create_task(event_writer.write(space.key, [clicked(90 + n)])) for n in range(EVENT_WRITERS)]
        await asyncio.sleep(0)
        rest = asyncio.create_task(every(event_writer, asked))  # wait for the first, and go together
        await asyncio.sleep(0)
        watched.gate.set()
        await asyncio.gather(*first)
        return await rest

    one, refused, missing, three = run(watched, ask)
    assert isinstance(one, WrittenEvents)
    assert isinstance(three, WrittenEvents)
    assert "NUL" in str(refused)
    assert isinstance(missing, NotFound)
    with database.connect() as conn:
        assert events.count(conn, space.key) == 2 + EVENT_WRITERS


def test_an_outage_fails_each_request_once_and_later_ones_are_written(watched: Watched, space: Space) -> None:
    async def ask(event_writer: EventWriter) -> tuple[list[WrittenEvents | BaseException], WrittenEvents]:
        watched.away = True
        failed = await every(event_writer, [(space.key, [clicked(user)]) for user in range(20)])
        watched.away = False
        return failed, await event_writer.write(space.key, [clicked(1)])

    failed, after = run(watched, ask)
    assert {type(each) for each in failed} == {StoreUnavailable}
    assert after.statuses == ["written"]
    assert watched.begun <= EVENT_WRITERS + 2


def test_events_of_a_client_that_disconnected_in_the_queue_are_not_written(
    watched: Watched, database: Database, space: Space
) -> None:
    async def ask(event_writer: EventWriter) -> None:
        watched.gate.clear()
        first = [asyncio.create_task(event_writer.write(space.key, [clicked(0)]))]
        while watched.begun < 1:
            await asyncio.sleep(0.001)
        first.append(asyncio.create_task(event_writer.write(space.key, [clicked(1)])))
        while watched.begun < EVENT_WRITERS:
            await asyncio.sleep(0.001)
        gone = [asyncio.create_task(event_writer.write(space.key, [clicked(user)])) for user in range(2, 20)]
        await asyncio.sleep(0)  # they wait
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        watched.gate.set()
        await asyncio.gather(*first)
        assert (await event_writer.write(space.key, [clicked(50)])).statuses == ["written"]

    run(watched, ask)
    with database.connect() as conn:
        assert events.count(conn, space.key) == EVENT_WRITERS + 1
