"""The schema reaches head by itself, once."""

import json
from importlib import import_module

from engine.store import spaces
from engine.store.database import migrations
from engine.values.event_kinds import KIND_WEIGHTS
from engine.values.events import Weighting


def test_an_opened_database_is_at_head(database):
    with database.connect() as conn:
        assert migrations.current(conn) == migrations.head() is not None


def test_migrating_again_changes_nothing(database, space):
    tables = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p', 'i')"
    with database.begin() as conn:
        before = conn.exec_driver_sql(tables).scalar_one()
        migrations.upgrade(conn)
        assert conn.exec_driver_sql(tables).scalar_one() == before
        assert migrations.current(conn) == migrations.head()


def test_spaces_without_a_weight_for_unlisted_kinds_no_longer_count_them(database):
    changes = import_module("migrations.versions.0007_unknown_kinds").CHANGES
    stored = {
        "usual": {"kinds": dict(KIND_WEIGHTS), "other": 1.0, "half_life_days": 30},
        "few": {"kinds": {"purchase": 9}, "other": 1},
        "said": {"kinds": {"purchase": 9}, "other": 0.5},
    }
    with database.connect() as conn:
        for name, weighting in stored.items():
            insert = "INSERT INTO spaces (name, weighting) VALUES (%s, %s)"
            conn.exec_driver_sql(insert, (f"migrated-{name}", json.dumps(weighting)))
        conn.exec_driver_sql(changes)
        made = {name: spaces.get(conn, f"migrated-{name}").weighting for name in stored}
        conn.rollback()
    assert (made["usual"], made["said"].other) == (Weighting(half_life_days=30), 0.5)
    assert (made["few"].other, made["said"].kinds) == (0, {"purchase": 9})
    ours = {"view": 1, "click": 1, "cart": 1, "like": 1, "return": -5, "dislike": -3}
    assert made["few"].kinds == ours | {"purchase": 9}
