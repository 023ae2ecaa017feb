"""Users: attributes in and out, and an erasure that leaves nothing behind."""

import pytest

from engine.errors import NotFound
from engine.events import Event
from engine.store import events, models, users
from engine.users import User
from tests.store.worlds import MORNING, small_space

TABLES = ("users", "events", "user_vectors")


def test_a_user_comes_back_as_written_and_a_second_write_replaces_it(database, space):
    with database.begin() as conn:
        assert users.upsert(conn, space.key, [User("ann", {"city": "Łódź", "age": 31}), User("bob")]) == [
            "created",
            "created",
        ]
        assert users.upsert(conn, space.key, [User("ann", {"age": 32})]) == ["updated"]
    with database.connect() as conn:
        assert users.get(conn, space.key, "ann") == User("ann", {"age": 32})
        assert users.ids(conn, space.key) == ["ann", "bob"]
        assert users.count(conn, space.key) == 2


def test_an_unknown_user_is_not_found(database, space):
    with database.connect() as conn, pytest.raises(NotFound, match="there is no user 'ann'"):
        users.get(conn, space.key, "ann")


def test_erasing_a_user_answers_a_receipt_and_leaves_the_others(database, space):
    rows = [Event("ann", item, "view", MORNING) for item in ("cup", "hat", "pen")] + [
        Event("bob", "cup", "view", MORNING)
    ]
    with database.begin() as conn:
        events.append(conn, space.key, rows)
        for _ in range(2):
            models.save(
                conn, space.key, embedder="spectral", params={}, space=small_space(), evaluation={}, publishable=True
            )
        query = "SELECT user_key FROM users WHERE space_key = %s AND user_id = 'ann'"
        key = conn.exec_driver_sql(query, (space.key,)).scalar_one()
    with database.begin() as conn:
        assert users.delete(conn, space.key, "ann") == {"events": 3, "user_vectors": 2, "users": 1}
    with database.connect() as conn:
        for table in TABLES:
            assert conn.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE user_key = %s", (key,)).scalar_one() == 0
        assert len(events.history(conn, space.key, "ann", 10)) == 0
        assert events.history(conn, space.key, "bob", 10).item_ids == ("cup",)
        assert models.load_space(conn, space.key, 1).users.ids.ids == ("bob",)
    with database.begin() as conn, pytest.raises(NotFound):
        users.delete(conn, space.key, "ann")


def test_a_user_erased_while_training_ran_stays_erased(database, space):
    with database.begin() as conn:
        events.append(conn, space.key, [Event(user, "cup", "view", MORNING) for user in ("ann", "bob")])
        users.delete(conn, space.key, "ann")
        models.save(
            conn,
            space.key,
            embedder="spectral",
            params={},
            space=small_space(("cup",)),
            evaluation={},
            publishable=True,
        )
        assert models.load_space(conn, space.key, 1).users.ids.ids == ("bob",)
