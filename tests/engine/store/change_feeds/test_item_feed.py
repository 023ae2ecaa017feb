"""The item feed never loses a late commit, and a replay from a snapshot misses nothing."""

import threading
import time
from dataclasses import replace

import numpy as np

from engine.store import generations, items, spaces
from engine.store.change_feeds import item_feed, snapshots
from engine.store.change_feeds.snapshots import Snapshot
from engine.values.items import Item

WRITERS, WRITES = 8, 12


def keys_of(conn, space):
    query = "SELECT item_key, item_id FROM items WHERE space_key = %s"
    return {key: item_id for key, item_id in conn.exec_driver_sql(query, (space.key,))}


def changed_since(database, space, since):
    """The keys that changed after `since`, and the snapshot of the read."""
    with database.connect() as conn:
        return item_feed.read_since(conn, space.key, since)


def now(database):
    with database.connect() as conn:
        return snapshots.current(conn)


def write_slowly(database, space, writer):
    """Transactions that get their sequence numbers in one order and commit in another."""
    draw = np.random.default_rng(writer)
    for n in range(WRITES):
        with database.begin() as conn:
            items.upsert(conn, space.key, [Item(f"w{writer}-{n}")])
            time.sleep(float(draw.random()) * 0.03)


def test_slow_commits_of_eight_writers_are_all_seen_and_a_reader_by_sequence_number_loses_some(database, space):
    snapshot = now(database)
    threads = [threading.Thread(target=write_slowly, args=(database, space, writer)) for writer in range(WRITERS)]
    seen, naive, last = [], [], 0
    naive_query = "SELECT seq, item_key FROM change_log WHERE seq > %s AND space_key = %s ORDER BY seq"
    with database.begin() as late:  # commits after all others
        items.upsert(late, space.key, [Item("late")])
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            keys, snapshot = changed_since(database, space, snapshot)
            seen += keys
            with database.connect() as conn:
                rows = conn.exec_driver_sql(naive_query, (last, space.key)).all()
            naive += [row.item_key for row in rows]
            last = rows[-1].seq if rows else last
            time.sleep(0.002)
    seen += changed_since(database, space, snapshot)[0]
    with database.connect() as conn:
        written = keys_of(conn, space)
        naive += [row.item_key for row in conn.exec_driver_sql(naive_query, (last, space.key))]
    assert len(written) == WRITERS * WRITES + 1
    assert sorted(seen) == sorted(written)  # each once
    assert len(set(naive)) < len(written), "the naive reader is expected to lose late commits"


def test_an_open_transaction_delays_no_other_and_its_changes_are_seen_after_it_ends(database, space):
    start = now(database)
    with database.begin() as slow:
        items.upsert(slow, space.key, [Item("slow")])
        slow_seq = snapshots.transaction_seq(slow)
        with database.begin() as conn:
            items.upsert(conn, space.key, [Item("quick")])
            quick_seq = snapshots.transaction_seq(conn)
        early, middle = changed_since(database, space, start)
        assert (middle.includes(quick_seq), middle.includes(slow_seq)) == (True, False)
    late, after = changed_since(database, space, middle)
    assert after.includes(slow_seq)
    with database.connect() as conn:
        names = keys_of(conn, space)
    assert [[names[key] for key in keys] for keys in (early, late)] == [["quick"], ["slow"]]
    assert changed_since(database, space, after)[0] == []


def test_a_snapshot_is_parsed_and_formatted_as_postgresql_does():
    parsed = snapshots.parse("10:20:12,15")
    assert parsed == Snapshot(10, 20, frozenset({12, 15}))
    assert str(parsed) == "10:20:12,15"
    assert [seq for seq in range(8, 22) if not parsed.includes(seq)] == [12, 15, 20, 21]
    assert str(snapshots.parse("7:7:")) == "7:7:"
    assert snapshots.parse("7:7:", "a-1-5").epoch == "a-1-5"


def test_a_rolled_back_change_is_never_read(database, space):
    start = now(database)
    with database.connect() as conn, conn.begin() as work:
        items.upsert(conn, space.key, [Item("cup")])
        work.rollback()
    assert changed_since(database, space, start)[0] == []


def test_a_replay_from_a_snapshot_contains_all_changes_that_the_snapshot_did_not_see(database, space):
    with database.begin() as late:
        items.upsert(late, space.key, [Item("late")])
        with database.connect() as conn:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            with conn.begin():
                seen = snapshots.current(conn)
                with database.begin() as other:
                    items.upsert(other, space.key, [Item("after")])
                assert keys_of(conn, space) == {}
    keys, _ = changed_since(database, space, seen)
    with database.connect() as conn:
        names = keys_of(conn, space)
    assert {names[key] for key in keys} == {"late", "after"}


def test_every_kind_of_change_to_an_item_is_in_the_feed(database, space):
    def changed_by(write):
        start = now(database)
        with database.begin() as conn:
            write(conn)
        with database.connect() as conn:
            return sorted(keys_of(conn, space)[key] for key in changed_since(database, space, start)[0])

    assert changed_by(lambda conn: items.upsert(conn, space.key, [Item("cup"), Item("hat")])) == ["cup", "hat"]
    assert changed_by(lambda conn: items.upsert(conn, space.key, [Item("cup", "Cup")])) == ["cup"]
    assert changed_by(lambda conn: items.set_availability(conn, space.key, {"hat": False})) == ["hat"]
    assert changed_by(lambda conn: items.delete(conn, space.key, "cup")) == ["cup"]


def test_changes_of_another_space_are_not_returned(database, space):
    start = now(database)
    with database.begin() as conn:
        other = spaces.ensure(conn, space.name + "-b")
        items.upsert(conn, other.key, [Item("cup")])
    keys, after = changed_since(database, space, start)
    assert keys == []
    assert after.xmax > start.xmax


def test_pruning_keeps_the_changes_a_generation_needs_and_an_older_reader_gets_none(database, space):
    with database.begin() as conn:
        conn.exec_driver_sql("DELETE FROM generations")  # earlier tests recorded some, which need their own changes
        items.upsert(conn, space.key, [Item("old")])
    built = now(database)
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("new")])
        generations.add(conn, space.key, "g1", 1, {"start": {"snapshot": str(built), "epoch": "e"}})
    with database.begin() as conn:
        assert item_feed.prune(conn) >= 1
    with database.connect() as conn:
        names = keys_of(conn, space)
    assert [names[key] for key in changed_since(database, space, built)[0]] == ["new"]
    keys, snapshot = changed_since(database, space, replace(built, xmin=1, xmax=3, running=frozenset()))
    assert keys is None
    assert snapshot.xmax > built.xmax


def test_no_more_than_the_newest_changes_are_kept_even_when_a_generation_needs_more(database, space):
    built = now(database)
    with database.begin() as conn:
        generations.add(conn, space.key, "g1", 1, {"start": {"snapshot": str(built), "epoch": "e"}})
    for n in range(5):
        with database.begin() as conn:
            items.upsert(conn, space.key, [Item(f"i{n}")])
    with database.begin() as conn:
        item_feed.prune(conn, keep=2)
        assert conn.exec_driver_sql("SELECT count(*) FROM change_log").scalar_one() == 3  # the last write and the two
    assert changed_since(database, space, built)[0] is None


def test_the_epoch_of_a_database_does_not_change(database):
    with database.connect() as conn:
        first = snapshots.epoch(conn)
    with database.connect() as conn:
        assert snapshots.epoch(conn) == first
    assert len(first.split("-")) == 3


def test_a_snapshot_of_another_epoch_means_that_anything_may_have_changed(database, space):
    here = now(database)
    with database.begin() as conn:
        items.upsert(conn, space.key, [Item("cup")])
    assert len(changed_since(database, space, here)[0]) == 1
    keys, after = changed_since(database, space, replace(here, epoch="another-1-5"))
    assert keys is None
    assert changed_since(database, space, after)[0] == []
