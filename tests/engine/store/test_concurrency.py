"""Concurrent writers of the same rows: no writer fails and no write is lost."""

import threading

import numpy as np
import pytest

from engine.store import events, items, users
from engine.store.users import User
from engine.values.events import Event
from engine.values.items import Item
from tests.engine.store.worlds import MORNING

IDS = [letter + str(n) for n in range(60) for letter in "aB_é"]  # collations order these differently


def at_once(database, work, n_threads=6):
    """Run `work(conn, draw, n)` twelve times in each of `n_threads` threads, each time in its own transaction."""
    errors = []

    def run(thread):
        draw = np.random.default_rng(thread)
        try:
            for n in range(12):
                with database.begin() as conn:
                    work(conn, draw, 100 * thread + n)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def some(draw):
    return [IDS[n] for n in draw.permutation(len(IDS))[:150]]


def test_batches_of_events_on_the_same_new_users_and_items(database, space):
    def append(conn, draw, n):
        rows = [Event(a, b, "view", MORNING, event_id=f"{n}-{a}") for a, b in zip(some(draw), some(draw), strict=True)]
        assert set(events.append(conn, space.key, rows)) == {"written"}

    assert at_once(database, append) == []
    with database.connect() as conn:
        assert events.count(conn, space.key) == 6 * 12 * 150
        assert users.count(conn, space.key) <= len(IDS)


def test_the_same_event_sent_by_many_at_once_is_written_once(database, space):
    written = []

    def append(conn, draw, n):
        rows = [Event("ann", id_, "view", MORNING, event_id=id_) for id_ in some(draw)]
        written.extend(status for status in events.append(conn, space.key, rows) if status == "written")

    assert at_once(database, append) == []
    with database.connect() as conn:
        assert events.count(conn, space.key) == len(written) == len(IDS)


def upsert(conn, space, draw, n):
    items.upsert(conn, space.key, [Item(id_, f"title {n}") for id_ in some(draw)])


def switch(conn, space, draw, n):
    items.set_availability(conn, space.key, {id_: bool(n % 2) for id_ in some(draw)})


def upsert_users(conn, space, draw, n):
    users.upsert(conn, space.key, [User(id_, {"n": n}) for id_ in some(draw)])


@pytest.mark.parametrize("write", [upsert, switch, upsert_users])
def test_the_same_rows_written_by_many_at_once_in_any_order(database, space, write):
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(id_) for id_ in IDS])
    assert at_once(database, lambda conn, draw, n: write(conn, space, draw, n)) == []
