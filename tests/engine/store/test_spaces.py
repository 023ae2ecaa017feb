"""Spaces: name, weighting, and the deletion of everything in a space."""

import pytest
from sqlalchemy.exc import IntegrityError

from engine.errors import InputError, NotFound
from engine.store import events, generations, items, models, spaces, users
from engine.store.users import User
from engine.values.events import Event, Weighting
from engine.values.items import Item
from tests.engine.store.worlds import MORNING, small_space


def test_a_space_is_created_once_and_found_again(database, space):
    with database.begin() as conn:
        assert spaces.ensure(conn, space.name) == space
        assert spaces.get(conn, space.name) == space
        assert space in spaces.list_all(conn)


def test_a_changed_weighting_is_stored(database, space):
    weighting = Weighting(
        kinds={"purchase": 2.0, "return": -2.0}, other=0.5, half_life_days=30.0, value="linear", repeat="sum"
    )
    with database.begin() as conn:
        spaces.set_weighting(conn, space, weighting)
    with database.connect() as conn:
        assert spaces.get(conn, space.name).weighting == weighting


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "a b", "../etc", "shop\n", "x" * 64, "café", "a\x00b"])
def test_a_bad_space_name_is_refused_with_the_rule(database, name):
    with database.begin() as conn, pytest.raises(InputError, match="1 to 63 characters a-z"):
        spaces.ensure(conn, name)


@pytest.mark.parametrize("name", ["no-such-space", "a\x00b", "a\udc2fb", "x" * 10_000])
def test_an_unknown_space_is_not_found(database, name):
    with database.connect() as conn, pytest.raises(NotFound, match="there is no space"):
        spaces.get(conn, name)


def test_a_space_has_no_second_name(database, space):
    with database.begin() as conn:
        for name in (space.name + "\x00", "\x00" + space.name):
            with pytest.raises(NotFound, match="there is no space"):
                spaces.get(conn, name)
            with pytest.raises(NotFound, match="there is no space"):
                spaces.delete(conn, name)
        assert spaces.get(conn, space.name) == space


def test_deleting_a_space_deletes_everything_in_it_and_nothing_of_another(database, space):
    with database.begin() as conn:
        other = spaces.ensure(conn, space.name + "-other")
        for one in (space, other):
            events.append(conn, one.key, [Event("ann", "cup", "view", MORNING)])
            items.upsert(conn, one.key, [Item("hat")])
            models.save(
                conn, one.key, embedder="spectral", params={}, space=small_space(), evaluation={}, publishable=True
            )
    with database.begin() as conn:
        spaces.delete(conn, space.name)
    with database.connect() as conn:
        with pytest.raises(NotFound):
            spaces.get(conn, space.name)
        for table in ("users", "items", "events", "models"):
            left = conn.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE space_key = %s", (space.key,)).scalar_one()
            assert left == 0, table
        assert events.count(conn, other.key) == 1
        assert items.count(conn, other.key) == 2
        assert models.load_space(conn, other.key, 1).items.ids.ids == ("cup", "hat")


def test_a_write_to_a_space_that_another_request_deleted_is_not_found(database, space):
    with database.begin() as conn:
        spaces.delete(conn, space.name)
    writes = (
        lambda conn: items.upsert(conn, space.key, [Item("hat")]),
        lambda conn: users.upsert(conn, space.key, [User("ann")]),
        lambda conn: events.append(conn, space.key, [Event("ann", "cup", "view", MORNING)]),
        lambda conn: generations.add(conn, space.key, "20260101T000000-1", 1, {}),
    )
    for write in writes:
        with pytest.raises(NotFound, match="the space was deleted during the request"), database.begin() as conn:
            write(conn)


def test_another_broken_foreign_key_is_still_our_own_mistake(database, space):
    with pytest.raises(IntegrityError), database.begin() as conn:
        conn.exec_driver_sql("INSERT INTO drift_reports (model_key, report) VALUES (-1, '{}')")
