"""Rows of records on the screen or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.cli.terminal.output import emit, out, table
from api.cli.terminal.table_files import write_rows

SHOWN_ROWS, SHOWN_COLUMNS = 10, 8


def write_or_show(body: dict[str, Any], rows: list[dict[str, Any]], file: Path | None, json: bool) -> None:
    """Writes all rows to `file` and prints their number, or shows the first of them; `body` with `json`."""
    if file is not None:
        write_rows(file, rows)
        emit(
            json,
            {"rows": len(rows), "out": str(file), "model": body["model"]},
            lambda: out.print(f"{len(rows):,} rows in {file}"),
        )
        return
    emit(json, body, lambda: show_rows(rows))


def show_rows(rows: list[dict[str, Any]]) -> None:
    """The first rows and columns, and the number of those that are not shown."""
    names = list(rows[0])[: SHOWN_COLUMNS + 1]
    table(names, [[_cell(row[name]) for name in names] for row in rows[:SHOWN_ROWS]])
    if len(rows) > SHOWN_ROWS or len(rows[0]) > len(names):
        more_rows = f"{len(rows) - SHOWN_ROWS:,} more rows" if len(rows) > SHOWN_ROWS else ""
        more_columns = f"{len(rows[0]) - len(names):,} more columns" if len(rows[0]) > len(names) else ""
        hidden = " and ".join(part for part in (more_rows, more_columns) if part)
        out.print(f"and {hidden}; --out FILE writes everything")


def _cell(value: object) -> object:
    if isinstance(value, list):
        numbers = ", ".join(f"{each:.3g}" for each in value[:SHOWN_COLUMNS])
        return numbers + (", ..." if len(value) > SHOWN_COLUMNS else "")
    return value
