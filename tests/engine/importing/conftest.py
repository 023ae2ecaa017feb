"""A shop of one file, and what it becomes in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.importing import ImportSummary, import_events
from engine.store.database.connections import Database
from engine.store.spaces import Space

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Stored = list[tuple[Any, ...]]


@pytest.fixture
def load(database: Database, space: Space) -> Callable[..., ImportSummary]:
    """Import a file of events, or the text of a CSV, into a fresh space."""

    def load_events(path: Path, **options: Any) -> ImportSummary:
        return import_events(database, space.name, path, now=NOW, **options)

    return load_events


@pytest.fixture
def stored(database: Database, space: Space) -> Callable[[], Stored]:
    """The events of the space by time: user, item, kind, value, moment."""

    def rows() -> Stored:
        query = """SELECT user_id, item_id, kind, value, occurred_at FROM events JOIN users USING (user_key)
                   JOIN items USING (item_key) WHERE events.space_key = %s ORDER BY occurred_at, event_id"""
        with database.connect() as conn:
            found = conn.exec_driver_sql(query, (space.key,)).all()
        return [(*row[:4], row[4].astimezone(UTC)) for row in found]

    return rows
