"""Events are append-only, written once, and read as a history and as columns."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from engine.store import events, items, users
from engine.values.events import Event
from tests.engine.store.worlds import MORNING

MORNING_US = int(MORNING.timestamp() * 1e6)


def test_a_duplicate_inside_a_batch_and_across_batches_is_written_once(database, space):
    cup, hat = Event("ann", "cup", "view", MORNING, event_id="1"), Event("ann", "hat", "view", MORNING, event_id="2")
    with database.begin() as conn:
        assert events.append(conn, space.key, [cup, cup, hat]) == ["written", "duplicate", "written"]
    with database.begin() as conn:
        assert events.append(conn, space.key, [hat, Event("ann", "pen", "view", MORNING, event_id="3")]) == [
            "duplicate",
            "written",
        ]
        assert events.count(conn, space.key) == 3


def test_of_two_events_with_one_id_the_first_is_kept(database, space):
    first, second = (
        Event("ann", "cup", "view", MORNING, event_id="1"),
        Event("ann", "hat", "cart", MORNING, event_id="1"),
    )
    with database.begin() as conn:
        assert events.append(conn, space.key, [first, second]) == ["written", "duplicate"]
        assert events.history(conn, space.key, "ann", 10).item_ids == ("cup",)


def test_an_event_without_an_id_is_a_duplicate_only_of_itself(database, space):
    view = Event("ann", "cup", "view", MORNING)
    later = Event("ann", "cup", "view", MORNING + timedelta(microseconds=1))
    with database.begin() as conn:
        assert events.append(conn, space.key, [view, later]) == ["written", "written"]
        assert events.append(conn, space.key, [view, later]) == ["duplicate", "duplicate"]


def test_one_event_id_in_two_spaces_is_two_events(database, space):
    from engine.store import spaces

    event = Event("ann", "cup", "view", MORNING, event_id="1")
    with database.begin() as conn:
        other = spaces.ensure(conn, space.name + "-b")
        assert events.append(conn, space.key, [event]) == ["written"]
        assert events.append(conn, other.key, [event]) == ["written"]


def test_a_history_is_the_newest_events_newest_first(database, space):
    rows = [Event("ann", f"i{day}", "view", MORNING + timedelta(days=day), value=day + 0.5) for day in (2, 0, 3, 1)]
    with database.begin() as conn:
        events.append(conn, space.key, rows)
        history = events.history(conn, space.key, "ann", 3)
        assert history.item_ids == ("i3", "i2", "i1")
        assert history.kinds == ("view",) * 3
        assert history.values.tolist() == [3.5, 2.5, 1.5]
        assert history.occurred_us.tolist() == [MORNING_US + day * 86_400_000_000 for day in (3, 2, 1)]
        assert len(events.history(conn, space.key, "nobody", 3)) == 0


def test_columns_contain_every_event_ordered_by_time(database, space):
    rows = [
        Event("bob", "hat", "purchase", MORNING + timedelta(seconds=1), value=2.0),
        Event("ann", "cup", "view", MORNING),
        Event("ann", "hat", "return", MORNING + timedelta(microseconds=1), value=-1.0),
    ]
    with database.begin() as conn:
        events.append(conn, space.key, rows)
        read = events.read_columns(conn, space.key)
    assert [read.user_ids[row] for row in read.user_rows] == ["ann", "ann", "bob"]
    assert [read.item_ids[row] for row in read.item_rows] == ["cup", "hat", "hat"]
    assert [read.kinds[code] for code in read.kind_codes] == ["view", "return", "purchase"]
    assert read.values.tolist() == [1.0, -1.0, 2.0]
    assert read.occurred_us.tolist() == [MORNING_US, MORNING_US + 1, MORNING_US + 1_000_000]


def test_columns_of_an_empty_space_are_empty(database, space):
    with database.connect() as conn:
        read = events.read_columns(conn, space.key)
    assert len(read) == 0
    assert read.user_ids == ()
    assert read.kinds == ()


def test_kinds_with_quotes_and_backslashes_read_back(database, space):
    kinds = ["it's", "back\\slash", 'say "hi"', "{a,b}", "NULL", "%d", "観る"]
    with database.begin() as conn:
        events.append(conn, space.key, [Event("ann", "cup", kind, MORNING) for kind in kinds])
        read = events.read_columns(conn, space.key)
    assert sorted(read.kinds[code] for code in read.kind_codes) == sorted(kinds)


def test_a_bulk_append_writes_each_event_once(database, space):
    rows = [
        ("e1", "ann", "cup", "view", 1.0, MORNING),
        ("e1", "ann", "cup", "view", 1.0, MORNING),
        ("e,2", "bob", 'h"at', "cart", 2.5, MORNING),
    ]
    names = ["event_id", "user_id", "item_id", "kind", "value", "occurred_at"]
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    for _ in range(2):
        with database.begin() as conn:
            staged_users = pa.table({"user_id": ["ann", "bob"], "attributes": pa.array([None, None], pa.string())})
            users.bulk_merge(conn, space.key, staged_users)
            nothing = pa.array([None, None], pa.string())
            fields = {
                "title": nothing,
                "categories": pa.array([None, None], pa.list_(pa.string())),
                "attributes": nothing,
            }
            items.bulk_merge(conn, space.key, pa.table({"item_id": ["cup", 'h"at']} | fields))
            counts = events.bulk_append(conn, space.key, table)
        assert counts.written + counts.duplicates == 3
    assert (counts.written, counts.duplicates) == (0, 3)
    with database.connect() as conn:
        assert events.count(conn, space.key) == 2
        history = events.history(conn, space.key, "bob", 5)
        assert (history.item_ids, history.kinds, history.values.tolist()) == (('h"at',), ("cart",), [2.5])


def test_an_error_in_a_transaction_writes_nothing(database, space):
    def stopped() -> None:
        with database.begin() as conn:
            events.append(conn, space.key, [Event("ann", "cup", "view", MORNING)])
            raise RuntimeError("the import stopped")

    with pytest.raises(RuntimeError, match="the import stopped"):
        stopped()
    with database.connect() as conn:
        assert events.count(conn, space.key) == 0
        assert users.count(conn, space.key) == 0


def test_ten_thousand_events_are_written_in_one_call(database, space):
    rows = [Event(f"u{n % 100}", f"i{n % 70}", "view", MORNING + timedelta(seconds=n)) for n in range(10_000)]
    with database.begin() as conn:
        assert set(events.append(conn, space.key, rows)) == {"written"}
        read = events.read_columns(conn, space.key)
    assert len(read) == 10_000
    assert len(read.user_ids) == 100
    assert len(read.item_ids) == 70
    assert np.all(np.diff(read.occurred_us) == 1_000_000)


def test_a_bulk_append_joins_by_hash_when_the_statistics_say_that_the_tables_are_empty(database, space):
    n = 20_000
    names = [f"name-{row}" for row in range(n)]
    table = pa.table(
        {
            "event_id": names,
            "user_id": names,
            "item_id": names,
            "kind": ["view"] * n,
            "value": pa.array([1.0] * n, pa.float32()),
            "occurred_at": pa.array([MORNING] * n, pa.timestamp("us", "UTC")),
        }
    )
    nothing = pa.nulls(n, pa.string())
    with database.connect() as conn, conn.begin() as transaction:
        conn.exec_driver_sql("UPDATE pg_class SET reltuples = 0, relpages = 9 WHERE relname IN ('users', 'items')")
        users.bulk_merge(conn, space.key, pa.table({"user_id": names, "attributes": nothing}))
        fields = {"title": nothing, "categories": pa.nulls(n, pa.list_(pa.string())), "attributes": nothing}
        items.bulk_merge(conn, space.key, pa.table({"item_id": names} | fields))
        conn.exec_driver_sql("SET LOCAL statement_timeout = '5s'")
        assert events.bulk_append(conn, space.key, table) == events.BulkAppended(n, 0)
        transaction.rollback()
