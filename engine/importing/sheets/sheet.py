"""Sheet: the rows of a CSV, Parquet or JSONL file as columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from engine.errors import InputError
from engine.importing.sheets import jsonl

NOT_UTF8 = "it is not UTF-8; save it as UTF-8 and try again"
UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


@dataclass(frozen=True, eq=False)
class Column:
    """One column. `is_json`: each cell is JSON text (nested or mixed values). `is_text`: untyped text (CSV)."""

    series: pl.Series
    is_json: bool = False
    is_text: bool = False


@dataclass(frozen=True, eq=False)
class Sheet:
    name: str
    frame: pl.DataFrame
    json_columns: frozenset[str] = frozenset()
    is_text: bool = False

    def column(self, name: str) -> Column:
        return Column(self.frame[name], name in self.json_columns, self.is_text)


def suffix_of(path: Path) -> str:
    """The suffix of a file that can be read or written here; InputError for another suffix."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"expected a file ending in {', '.join(SUFFIXES)}, got {path.name}")
    return suffix


def read(path: Path) -> Sheet:
    """The whole file in memory, rows in the order of the file.

    Raises InputError with one sentence for a file that does not exist, is empty, has no rows or is broken.
    """
    suffix = suffix_of(path)
    try:
        _check_exists(path)
        sheet = _read(path, suffix)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read as {suffix[1:].upper()}: {_first_line(error)}") from error
    if sheet.frame.height == 0:
        raise InputError(f"{path.name} has no rows")
    if any("\x00" in name for name in sheet.frame.columns):
        raise InputError(f"{path.name} has a column name with NUL; is it really {suffix[1:].upper()}?")
    return sheet


def _read(path: Path, suffix: str) -> Sheet:
    if suffix in (".jsonl", ".ndjson"):
        frame, json_columns = jsonl.read(path)
        return Sheet(path.name, frame, json_columns)
    if suffix == ".parquet":
        # ParquetFile and not read_table, which takes a folder name such as `a=b` for a partition column
        with pyarrow.parquet.ParquetFile(path) as file:
            return Sheet(path.name, _frame(file.read()))
    return Sheet(path.name, _frame(_read_csv(path, "\t" if suffix == ".tsv" else ",")), is_text=True)


def _read_csv(path: Path, separator: str) -> pa.Table:
    """Every column as text, because `00123` may be an id. An empty cell is null."""
    with path.open("rb") as file:
        if file.read(2) in UTF16:
            raise ValueError(NOT_UTF8)
    read_options = pyarrow.csv.ReadOptions(use_threads=False)  # with one thread, errors name the row
    parse_options = pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, read_options=read_options, parse_options=parse_options) as reader:
        names = reader.schema.names
    convert_options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    table = pyarrow.csv.read_csv(path, read_options, parse_options, convert_options)
    _check_quotes(path, table)
    return table


def _check_quotes(path: Path, table: pa.Table) -> None:
    """ValueError for a quote that is never closed: Arrow reads the rest of the file into one cell without an error."""
    if table.num_rows == 0:
        return
    last = table.column(table.num_columns - 1)[-1].as_py()
    if last and "\n" in last and not path.read_bytes().rstrip().endswith(b'"'):
        raise ValueError("a quote is opened and never closed")


def _frame(table: pa.Table) -> pl.DataFrame:
    names = [name for name in table.column_names if name]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"it has two columns called {repeated[0]}")
    table = table.select(names)  # a column without a name contains the row numbers of a pandas export
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal256(field.type):  # polars has no such type
            table = table.set_column(index, field.name, table.column(index).cast(pa.float64()))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty")


def _first_line(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in str(error):
        return NOT_UTF8
    line = str(error).strip().split("\n")[0] or type(error).__name__
    return "".join(char if char.isprintable() else "?" for char in line[:300])
