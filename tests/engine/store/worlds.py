"""Fixtures of the store tests: a small latent space, a time, unusual ids, and a wait for a blocked transaction."""

import time
from datetime import UTC, datetime

import numpy as np

from engine.latent_space.fold_in import LinearFoldIn
from engine.latent_space.space import LatentSpace
from engine.values.ids import IdMap
from engine.values.vectors import Vectors

MORNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ODD_IDS = [
    "a/b/c",
    "../x",
    "🧢 cap 👒",
    "قميص أزرق",
    "שלום",
    "two words",
    "tab\tid",
    "q\"uote's",
    "back\\slash",
    "comma,id",
    "new\nline",
    "\\N",
    "%s",
    "{}",
]


def small_space(
    item_ids: tuple[str, ...] = ("cup", "hat", "pen"), user_ids: tuple[str, ...] = ("ann", "bob"), dim: int = 4
) -> LatentSpace:
    draw = np.random.default_rng(7)
    items = draw.standard_normal((len(item_ids), dim)).astype(np.float32)
    users = draw.standard_normal((len(user_ids), dim)).astype(np.float32)
    fold_in = LinearFoldIn(items, np.ones(len(item_ids), np.float32), np.arange(1, dim + 1, dtype=np.float32))
    return LatentSpace(Vectors(IdMap(item_ids), items), Vectors(IdMap(user_ids), users), "dot", fold_in)


def until_one_waits(database, seconds=30):
    """Return when a transaction of this database waits for a lock that another transaction holds."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with database.connect() as conn:
            if conn.exec_driver_sql(query).scalar_one():
                return
        time.sleep(0.01)
    raise AssertionError("no transaction waits for a lock")
