"""Generations: one is active, and the one before it is known."""

import pytest

from engine.errors import NotFound
from engine.events import Event
from engine.store import events, generations
from tests.store.worlds import MORNING


def test_the_active_pointer_moves_and_remembers_the_one_before(database, space):
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
        generations.remove(conn, space.key, "g1")
        generations.remove(conn, space.key, "g2")
        assert [record.generation for record in generations.list_all(conn, space.key)] == ["g1"]


def test_an_unknown_generation_is_not_found(database, space):
    with database.begin() as conn:
        for ask in (generations.get, generations.activate):
            with pytest.raises(NotFound, match="there is no generation 'nope'"):
                ask(conn, space.key, "nope")


def test_events_are_written_while_a_generation_is_being_activated(database, space):
    with database.begin() as activating:
        generations.add(activating, space.key, "g1", 1, {})
        generations.activate(activating, space.key, "g1")
        with database.begin() as conn:
            conn.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            assert events.append(conn, space.key, [Event("ann", "cup", "view", MORNING)]) == ["written"]
