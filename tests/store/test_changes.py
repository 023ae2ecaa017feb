"""The change feed: a late commit is never lost, and replay from a head misses nothing."""

import threading
import time

import numpy as np

from engine.items import Item
from engine.store import changes, items
from engine.store.changes import Cursor

WRITERS, WRITES = 8, 12


def keys_of(conn, space):
    query = "SELECT item_key, item_id FROM items WHERE space_key = %s"
    return {key: item_id for key, item_id in conn.exec_driver_sql(query, (space.key,))}


def drained(database, space, cursor):
    """Every change after `cursor`, read to the end."""
    found = []
    while True:
        with database.connect() as conn:
            keys, after = changes.read_since(conn, space.key, cursor)
        if after == cursor:
            return found, cursor
        found, cursor = found + keys, after


def write_slowly(database, space, writer):
    """Transactions that take their place in the log first and commit later, in another order."""
    draw = np.random.default_rng(writer)
    for n in range(WRITES):
        with database.begin() as conn:
            items.upsert(conn, space.key, [Item(f"w{writer}-{n}")])
            time.sleep(float(draw.random()) * 0.03)


def test_slow_commits_of_eight_writers_are_all_seen_and_a_reader_by_sequence_number_loses_some(database, space):
    with database.connect() as conn:
        cursor = changes.head(conn)
    threads = [threading.Thread(target=write_slowly, args=(database, space, writer)) for writer in range(WRITERS)]
    seen, naive, last = [], [], 0
    naive_query = "SELECT seq, item_key FROM change_log WHERE seq > %s AND space_key = %s ORDER BY seq"
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with database.connect() as conn:
            keys, cursor = changes.read_since(conn, space.key, cursor)
            seen += keys
        with database.connect() as conn:
            rows = conn.exec_driver_sql(naive_query, (last, space.key)).all()
        naive += [row.item_key for row in rows]
        last = rows[-1].seq if rows else last
        time.sleep(0.002)
    keys, cursor = drained(database, space, cursor)
    seen += keys
    with database.connect() as conn:
        written = keys_of(conn, space)
        naive += [row.item_key for row in conn.exec_driver_sql(naive_query, (last, space.key))]
    assert len(written) == WRITERS * WRITES
    assert sorted(seen) == sorted(written)  # each once
    assert len(set(naive)) < len(written), "the naive reader is expected to lose late commits"


def test_an_open_transaction_holds_back_later_changes_until_it_ends(database, space):
    with database.connect() as conn:
        start = changes.head(conn)
    with database.begin() as slow:
        items.upsert(slow, space.key, [Item("slow")])
        with database.begin() as conn:
            items.upsert(conn, space.key, [Item("quick")])
        assert drained(database, space, start)[0] == []
    keys, after = drained(database, space, start)
    with database.connect() as conn:
        names = keys_of(conn, space)
    assert [names[key] for key in keys] == ["slow", "quick"]
    assert drained(database, space, after)[0] == []


def test_a_rolled_back_change_is_never_read(database, space):
    with database.connect() as conn:
        start = changes.head(conn)
    with database.connect() as conn, conn.begin() as work:
        items.upsert(conn, space.key, [Item("cup")])
        work.rollback()
    assert drained(database, space, start)[0] == []


def test_replay_from_the_head_of_a_snapshot_holds_all_that_the_snapshot_did_not_see(database, space):
    with database.begin() as late:
        items.upsert(late, space.key, [Item("late")])
        with database.connect() as conn:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                head = changes.head(conn)
                with database.begin() as other:
                    items.upsert(other, space.key, [Item("after")])
                assert keys_of(conn, space) == {}
    keys, _ = drained(database, space, head)
    with database.connect() as conn:
        names = keys_of(conn, space)
    assert {names[key] for key in keys} == {"late", "after"}


def test_every_kind_of_change_to_an_item_is_in_the_feed(database, space):
    def of(change):
        with database.connect() as conn:
            start = changes.head(conn)
        with database.begin() as conn:
            change(conn)
        with database.connect() as conn:
            return [keys_of(conn, space)[key] for key in drained(database, space, start)[0]]

    assert of(lambda conn: items.upsert(conn, space.key, [Item("cup"), Item("hat")])) == ["cup", "hat"]
    assert of(lambda conn: items.upsert(conn, space.key, [Item("cup", "Cup")])) == ["cup"]
    assert of(lambda conn: items.set_availability(conn, space.key, {"hat": False})) == ["hat"]
    assert of(lambda conn: items.delete(conn, space.key, "cup")) == ["cup"]


def test_a_small_limit_reads_the_same_changes_in_steps(database, space):
    with database.connect() as conn:
        cursor = changes.head(conn)
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item(f"i{n}") for n in range(7)])
    steps = []
    with database.connect() as conn:
        while True:
            keys, after = changes.read_since(conn, space.key, cursor, limit=3)
            if after == cursor:
                break
            steps.append(len(keys))
            cursor = after
    assert steps == [3, 3, 1]


def test_changes_of_another_space_are_passed_over(database, space):
    from engine.store import spaces

    with database.begin() as conn:
        other = spaces.ensure(conn, space.name + "-b")
        start = changes.head(conn)
    with database.begin() as conn:
        items.upsert(conn, other.key, [Item("cup")])
    keys, after = drained(database, space, start)
    assert keys == []
    assert after > start


def test_pruned_changes_are_gone_and_later_ones_stay(database, space):
    with database.connect() as conn:
        start = changes.head(conn)
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("old")])
    _, cursor = drained(database, space, start)
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("new")])
        assert changes.prune(conn, cursor) >= 1
    with database.connect() as conn:
        names = keys_of(conn, space)
    assert [names[key] for key in drained(database, space, Cursor(0, 0))[0]] == ["new"]


def test_the_epoch_of_one_database_is_always_the_same(database):
    with database.connect() as conn:
        first = changes.epoch(conn)
    with database.connect() as conn:
        assert changes.epoch(conn) == first
    assert len(first.split("-")) == 3
