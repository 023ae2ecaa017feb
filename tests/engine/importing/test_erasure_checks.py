"""Imports of files that still contain an erased user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.importing import ImportSummary, import_users
from engine.importing.reports import erasure_checks as erased_rows
from engine.store import events, users
from engine.store.database.connections import Database
from engine.store.spaces import Space

Load = Callable[..., ImportSummary]
EVENTS = "user_id,item_id,occurred_at\nann,cup,2025-01-01\nann,hat,2025-01-02\nbob,cup,2025-01-03\n"
USERS = "user_id,city\nann,Bonn\nbob,Kiel\n"


@pytest.fixture
def file(load: Load, database: Database, space: Space, tmp_path: Path) -> Path:
    """An imported file of ann and bob; ann was erased afterwards."""
    path = tmp_path / "events.csv"
    path.write_text(EVENTS)
    assert load(path).written == 3
    with database.begin() as conn:
        users.delete(conn, space.key, "ann")
    return path


def test_the_next_full_import_rejects_the_rows_of_an_erased_user(
    load: Load, database: Database, space: Space, file: Path, tmp_path: Path
) -> None:
    summary = load(file, rejects=tmp_path / "rejected.csv")
    assert (summary.written, summary.duplicates, summary.rejected) == (0, 1, {"user was erased": 2})
    assert pl.read_csv(tmp_path / "rejected.csv")["reason"].to_list() == ["user was erased"] * 2
    (tmp_path / "users.csv").write_text(USERS)
    summary = import_users(database, space.name, tmp_path / "users.csv")
    assert (summary.written, summary.duplicates, summary.rejected) == (1, 0, {"user was erased": 1})
    with database.connect() as conn:
        assert users.ids(conn, space.key) == ["bob"]


def test_the_rows_of_a_user_erased_during_the_import_are_rejected_and_counted(
    load: Load, database: Database, space: Space, file: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        erased_rows.erasures, "erased_among", lambda *asked: set()
    )  # nobody was erased at the time of the check
    summary = load(file)
    assert (summary.written, summary.duplicates, summary.rejected) == (0, 1, {"user was erased": 2})
    (tmp_path / "users.csv").write_text(USERS)
    summary = import_users(database, space.name, tmp_path / "users.csv")
    assert (summary.written, summary.duplicates, summary.rejected) == (1, 0, {"user was erased": 1})
    with database.connect() as conn:
        assert (users.ids(conn, space.key), events.count(conn, space.key)) == (["bob"], 1)


def test_an_invalid_id_is_rejected_as_such_in_a_space_with_erasures(load: Load, file: Path) -> None:
    file.write_bytes(b"user_id,item_id,occurred_at\nan\x00n,cup,2025-01-01\n,cup,2025-01-02\n")
    assert load(file).rejected == {"user_id contains a NUL character": 1, "missing user_id": 1}
