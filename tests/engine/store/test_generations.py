"""Generations: one is active, and the previously active one is known."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.errors import NotFound
from engine.store import events, generations, spaces
from engine.values.events import Event
from tests.engine.store.worlds import MORNING, until_one_waits


def test_activating_a_generation_makes_the_active_one_the_previous_one(database, space):
    with database.begin() as conn:
        for name in ("g1", "g2", "g3"):
            generations.add(conn, space.key, name, 1, {"recall": 0.99, "name": name})
        assert generations.active(conn, space.key) is None
        assert generations.previous(conn, space.key) is None
    for name in ("g1", "g2"):
        with database.begin() as conn:
            generations.activate(conn, space.key, name)
    with database.begin() as conn:
        active = generations.active(conn, space.key)
        assert (active.generation, active.model, active.manifest, active.active) == (
            "g2",
            1,
            {"recall": 0.99, "name": "g2"},
            True,
        )
        assert generations.previous(conn, space.key).generation == "g1"
        assert generations.get(conn, space.key, "g1").active is False
        assert sorted(record.generation for record in generations.list_all(conn, space.key)) == ["g1", "g2", "g3"]


def test_the_active_generation_cannot_be_removed_and_another_can(database, space):
    with database.begin() as conn:
        for name in ("g1", "g2"):
            generations.add(conn, space.key, name, 1, {})
        generations.activate(conn, space.key, "g1")
        assert not generations.remove(conn, space.key, "g1")
        assert generations.remove(conn, space.key, "g2")
        assert not generations.remove(conn, space.key, "g2")
        assert [record.generation for record in generations.list_all(conn, space.key)] == ["g1"]


def test_an_unknown_generation_is_not_found(database, space):
    with database.begin() as conn:
        for ask in (generations.get, generations.activate):
            for name in ("nope", "no\x00pe", "no\udcffpe"):
                with pytest.raises(NotFound, match="there is no generation 'no"):
                    ask(conn, space.key, name)


def test_events_are_written_while_a_generation_is_being_activated(database, space):
    with database.begin() as activating:
        generations.add(activating, space.key, "g1", 1, {})
        generations.activate(activating, space.key, "g1")
        with database.begin() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
            assert events.append(conn, space.key, [Event("ann", "cup", "view", MORNING)]) == ["written"]


@pytest.fixture
def two(database, space):
    """g1 and the active g2."""
    with database.begin() as conn:
        for name in ("g1", "g2"):
            generations.add(conn, space.key, name, 1, {})
            generations.activate(conn, space.key, name)


def in_a_transaction(database, work, *arguments):
    with database.begin() as conn:
        return work(conn, *arguments)


def test_activating_a_generation_that_is_being_removed_is_not_found_and_the_active_one_stays(database, space, two):
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as removing:
            assert generations.remove(removing, space.key, "g1")
            activating = pool.submit(in_a_transaction, database, generations.activate, space.key, "g1")
            until_one_waits(database)
        with pytest.raises(NotFound, match="there is no generation 'g1'"):
            activating.result(10)
    with database.connect() as conn:
        assert generations.active(conn, space.key).generation == "g2"


def test_a_generation_that_is_being_activated_is_not_removed(database, space, two):
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as activating:
            generations.activate(activating, space.key, "g1")
            removing = pool.submit(in_a_transaction, database, generations.remove, space.key, "g1")
            until_one_waits(database)
        assert removing.result(10) is False
    with database.connect() as conn:
        assert generations.active(conn, space.key).generation == "g1"


def test_deleting_a_space_during_an_activation_does_not_deadlock(database, space, two):
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as activating:
            spaces.lock(activating, space.key)
            deleting = pool.submit(in_a_transaction, database, spaces.delete, space.name)
            until_one_waits(database)
            generations.activate(activating, space.key, "g1")
        deleting.result(10)
    with database.connect() as conn:
        assert generations.list_all(conn, space.key) == []


def test_the_previous_generation_is_right_even_when_the_clock_was_set_back(database, space, two):
    ahead = """UPDATE generations SET activated_at = now() + '1 day', created_at = now() + '1 day'
               WHERE generation = 'g2' AND space_key = %s"""
    with database.begin() as conn:
        conn.exec_driver_sql(ahead, (space.key,))
        generations.add(conn, space.key, "g3", 1, {})
        generations.activate(conn, space.key, "g3")
        assert generations.previous(conn, space.key).generation == "g2"
        assert [each.generation for each in generations.list_all(conn, space.key)] == ["g3", "g2", "g1"]
    with database.begin() as conn:
        generations.activate(conn, space.key, "g1")
        assert generations.previous(conn, space.key).generation == "g3"
