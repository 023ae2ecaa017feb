from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import ImportSummary
from engine.store.database.connections import Database
from engine.store.spaces import Space

Load = Callable[..., ImportSummary]
ROWS: list[dict[str, Any]] = [
    {"user_id": "ann", "session_id": "s-1", "order_id": "o-1", "item_id": "tea", "occurred_at": "2025-05-01"},
    {"user_id": None, "session_id": "s-2", "order_id": None, "item_id": "tea", "occurred_at": "2025-05-01"},
    {"user_id": "ann", "session_id": None, "order_id": "o-2", "item_id": "tea", "occurred_at": "2025-05-01"},
]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_orders_and_sessions_are_read_from_every_format(
    load: Load, database: Database, space: Space, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"sales.{ending}"
    frame = pl.DataFrame(ROWS)
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[ending](path)
    assert load(path).written == 3
    assert load(path).duplicates == 3
    assert rows(database, space) == [
        ("ann", "tea", "o-1", "s-1"),
        ("ann", "tea", "o-2", None),
        ("s-2", "tea", None, "s-2"),
    ]


def test_columns_of_other_names_are_mapped(load: Load, database: Database, space: Space, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("visit,basket,item_id,occurred_at\ns-1,B7,tea,2025-05-01\n")
    assert load(path, columns={"session_id": "visit", "order_id": "basket"}).written == 1
    assert rows(database, space) == [("s-1", "tea", "B7", "s-1")]


def test_a_row_with_neither_user_nor_session_is_rejected(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("user_id,session_id,item_id,occurred_at\n,,tea,2025-05-01\nann,,tea,2025-05-01\n")
    summary = load(path)
    assert (summary.written, dict(summary.rejected)) == (1, {"missing user_id": 1})


def test_a_file_without_users_and_sessions_is_refused(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("item_id,occurred_at\ntea,2025-05-01\n")
    with pytest.raises(InputError, match="no column for user_id"):
        load(path)


def test_an_order_id_that_is_too_long_is_rejected(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text(f"user_id,order_id,item_id,occurred_at\nann,{'x' * 300},tea,2025-05-01\n")
    summary = load(path)
    assert (summary.written, dict(summary.rejected)) == (0, {"order_id is longer than 256 bytes": 1})


def rows(database: Database, space: Space) -> list[tuple[object, ...]]:
    query = """SELECT user_id, item_id, order_id, session_id FROM events JOIN users USING (user_key)
               JOIN items USING (item_key) WHERE events.space_key = %s ORDER BY user_id, order_id"""
    with database.connect() as conn:
        return [tuple(row) for row in conn.exec_driver_sql(query, (space.key,))]
