from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from engine.store import erasures, spaces, users
from engine.store.database.connections import Database
from engine.store.shelves import served_shelves
from engine.store.shelves.served_shelves import ServedShelf
from engine.store.spaces import Space
from engine.store.users import User

DAY = date(2026, 3, 1)
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
HOUR = 3_600_000_000
SHELF = ServedShelf(NOON, "r-1", "ann", None, None, '{"k": 2}', ["tea", "cup"])


@pytest.fixture(autouse=True)
def partitions(database: Database) -> None:
    with database.begin() as conn:
        served_shelves.make_partitions(conn, DAY)


def write(database: Database, space: Space, *shelves: ServedShelf) -> int:
    with database.begin() as conn:
        return served_shelves.write(conn, space.key, shelves)


def newest(database: Database, space: Space, n: int = 10, placement: str | None = None) -> list[ServedShelf]:
    with database.connect() as conn:
        return served_shelves.newest(conn, space.key, n, placement)


def test_the_newest_shelves_come_first(database: Database, space: Space) -> None:
    home = ServedShelf(NOON + HOUR, "r-2", None, "s-1", "home", '{"filter": {"a\\tb": "\\\\N"}}', ['a"b', "c,d", "{}"])
    assert write(database, space, SHELF, home) == 2
    assert newest(database, space) == [home, SHELF]
    assert newest(database, space, 1) == [home]
    assert newest(database, space, placement="home") == [home]
    assert newest(database, space, placement="cart") == []


def test_impressions_of_a_user_are_the_items_shown_since_a_time(database: Database, space: Space) -> None:
    later = replace(SHELF, served_us=NOON + HOUR, recommendation_id="r-2", item_ids=["pot"])
    write(database, space, SHELF, later, replace(SHELF, user_id="bob", item_ids=["mug"]))
    with database.connect() as conn:
        shown = served_shelves.shown_to(conn, space.key, "ann", NOON)
        assert (shown.item_ids, shown.occurred_us.tolist()) == (("pot", "tea", "cup"), [NOON + HOUR, NOON, NOON])
        assert set(shown.kinds) == {"impression"}
        assert served_shelves.shown_to(conn, space.key, "ann", NOON + 1).item_ids == ("pot",)
        assert len(served_shelves.shown_to(conn, space.key, "eve", 0)) == 0


def test_partitions_are_made_once_and_old_ones_dropped(database: Database, space: Space) -> None:
    with database.begin() as conn:
        served_shelves.make_partitions(conn, date(2026, 2, 20))
        served_shelves.make_partitions(conn, date(2026, 2, 20))
    write(database, space, SHELF)
    with database.begin() as conn:
        assert served_shelves.drop_partitions(conn, DAY) == ["served_shelves_20260220", "served_shelves_20260221"]
        assert served_shelves.drop_partitions(conn, DAY) == []
    assert newest(database, space) == [SHELF]


def test_erasing_a_user_deletes_the_shelves_also_of_merged_visitors(database: Database, space: Space) -> None:
    write(database, space, SHELF, replace(SHELF, user_id="visitor"), replace(SHELF, user_id="bob"))
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("ann"), User("visitor"), User("bob")])
        users.merge(conn, space.key, "visitor", "ann")
        assert len(users.export(conn, space.key, "ann")["shelves"]) == 2
        assert users.delete(conn, space.key, "ann").rows["served_shelves"] == 2
    assert [shelf.user_id for shelf in newest(database, space)] == ["bob"]


def test_a_visitor_of_whom_only_shelves_are_stored_is_merged(database: Database, space: Space) -> None:
    write(database, space, replace(SHELF, user_id="visitor"))
    with database.begin() as conn:
        users.merge(conn, space.key, "visitor", "ann")
    assert [shelf.user_id for shelf in newest(database, space)] == ["ann"]


def test_a_shelf_written_after_a_merge_belongs_to_the_user(database: Database, space: Space) -> None:
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("visitor")])
        users.merge(conn, space.key, "visitor", "ann")
    write(database, space, replace(SHELF, user_id="visitor"))
    assert [shelf.user_id for shelf in newest(database, space)] == ["ann"]


def test_a_shelf_written_after_an_erasure_is_deleted_with_it(database: Database, space: Space) -> None:
    with database.begin() as conn:
        users.upsert(conn, space.key, [User("ann")])
        users.delete(conn, space.key, "ann")
    with database.begin() as conn:
        served_shelves.write(conn, space.key, [SHELF, replace(SHELF, user_id="bob")])
        served_shelves.delete_erased(conn, space.key, erasures.erased_among(conn, space.key, ["ann", "bob"]))
    assert [shelf.user_id for shelf in newest(database, space)] == ["bob"]


def test_nothing_is_written_for_a_deleted_space_or_of_a_request_with_nul(database: Database, space: Space) -> None:
    assert write(database, space, replace(SHELF, request='{"filter": {"a": "\\u0000"}}')) == 0
    with database.begin() as conn:
        spaces.delete(conn, space.name)
    assert write(database, space, SHELF) == 0
