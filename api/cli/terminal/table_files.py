"""Tables written to Parquet, CSV or JSONL: to a temporary file in the same folder, renamed when complete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from engine.errors import InputError
from engine.values.features import expand_lists


def check_file(file: Path) -> None:
    """InputError for a file that `write_tables` cannot write, because of its suffix or its folder."""
    if file.suffix not in (".parquet", ".csv", ".jsonl"):
        raise InputError(f"expected a .parquet, .csv or .jsonl file to write, got {file.name!r}")
    if not file.absolute().parent.is_dir():
        raise InputError(f"there is no folder {file.absolute().parent} to write to")


def write_tables(file: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Writes tables of one schema in the format of the suffix of `file`; the number of rows."""
    check_file(file)
    partial = file.with_name(f".{file.name}.partial")
    n_rows = 0
    try:
        with _writer(partial, file.suffix, schema) as writer:
            for table in tables:
                writer.write_table(table)
                n_rows += table.num_rows
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return n_rows


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows with the same keys. In a CSV, a list becomes the columns NAME.0, NAME.1 and so on."""
    if file.suffix == ".csv":
        rows = [expand_lists(row) for row in rows]
    table = pa.Table.from_pylist(list(rows))
    write_tables(file, table.schema, [table])


def _writer(path: Path, suffix: str, schema: pa.Schema) -> pa.parquet.ParquetWriter | pa.csv.CSVWriter | JsonLines:
    if suffix == ".parquet":
        return pa.parquet.ParquetWriter(path, schema, compression="zstd")
    return pa.csv.CSVWriter(path, schema) if suffix == ".csv" else JsonLines(path)


class JsonLines:
    """A writer of one JSON object per row."""

    def __init__(self, path: Path):
        self._file = path.open("wb")

    def write_table(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self._file.write(orjson.dumps(row) + b"\n")

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
