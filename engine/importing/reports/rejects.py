"""Rejected rows: the checks and their reasons, the first rows of each reason, and a file of all rejected rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

from engine.errors import InputError
from engine.importing.reports.summary import RejectedSample
from engine.importing.sheets.sheet import Sheet, suffix_of
from engine.values.ids import MAX_ID_BYTES

Check = tuple[str, pl.Expr]  # reason, and an expression that is true for the rows to reject
MAX_SAMPLES = 3
PLACEHOLDER_IDS = ["-1", "nan", "null", "none", "undefined", "n/a", "(not set)"]  # lower case
ROUNDED_ID = r"^-?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"  # a spreadsheet writes 4006381333931 as 4.00638E+12


@dataclass(frozen=True, eq=False)
class RejectedRows:
    """`mask` is true for a rejected row."""

    mask: pl.Series
    counts: dict[str, int]
    samples: tuple[RejectedSample, ...]


def id_checks(field: str, *, required: bool = True) -> list[Check]:
    """The checks of an id. A rounded id such as 4.00638E+12 is rejected, because many ids round to it."""
    cell = pl.col(field)
    return ([(f"missing {field}", cell.is_null())] if required else []) + [
        (f"{field} is a rounded number; export ids as text", cell.str.contains(ROUNDED_ID)),
        (f"{field} is longer than {MAX_ID_BYTES} bytes", cell.str.len_bytes() > MAX_ID_BYTES),
        (f"{field} contains a NUL character", cell.str.contains("\x00", literal=True)),
    ]


def placeholder_id_notes(user_ids: pl.Series) -> list[str]:
    """Notes about ids that many exports write for a missing user; such rows are imported as one user."""
    counts = user_ids.filter(user_ids.str.to_lowercase().is_in(PLACEHOLDER_IDS)).value_counts(name="n")
    return [
        f"{'1 row has' if n == 1 else f'{n:,} rows have'} the user_id {id_!r}, which some exports write when there is "
        f"no user; {'it was' if n == 1 else 'they were'} imported as one user; to reject such rows give "
        f"--missing-id {id_}"
        for id_, n in counts.sort("n", descending=True).iter_rows()
    ]


def text_checks() -> list[Check]:
    """NUL, which PostgreSQL does not store in text, and the character that separates categories in the store."""
    return [
        ("title contains a NUL character", pl.col("title").str.contains("\x00", literal=True)),
        ("categories contain a control character", pl.col("categories").list.join("").str.contains(r"[\x00\x1f]")),
    ]


def check(sheet: Sheet, frame: pl.DataFrame, checks: Sequence[Check], rejects: Path | None) -> RejectedRows:
    """Apply `checks` to `frame`, the parsed cells of `sheet`; a row is counted for the first check that it fails.

    With `rejects`, the rejected rows are written to that file with the values of `sheet` and a column `reason`.
    """
    reasons = frame.select(pl.coalesce(pl.when(fails).then(pl.lit(reason)) for reason, fails in checks)).to_series()
    mask = reasons.is_not_null()
    if rejects is not None:
        _write_rejects(rejects, sheet, sheet.frame.filter(mask), reasons.filter(mask))
    counts = dict(Counter(reasons.filter(mask).to_list()).most_common())
    samples = tuple(sample for reason in counts for sample in _samples(sheet, reasons, reason))
    return RejectedRows(mask, counts, samples)


def add_rejected(counts: Mapping[str, int], reason: str, more: int) -> dict[str, int]:
    """`counts` plus rows that were rejected for `reason` during the write."""
    return dict(counts) | ({reason: counts.get(reason, 0) + more} if more else {})


def check_rejects_path(rejects: Path | None, source: Path) -> None:
    """InputError when rejected rows cannot be written to `rejects`; called before any work is done."""
    if rejects is None:
        return
    suffix_of(rejects)
    if not rejects.parent.is_dir():
        raise InputError(f"the folder of {rejects} does not exist")
    if rejects.exists() and source.exists() and rejects.samefile(source):
        raise InputError(f"{rejects} is the file to import; give --rejects another name")


def _samples(sheet: Sheet, reasons: pl.Series, reason: str) -> list[RejectedSample]:
    rows = (reasons == reason).arg_true().head(MAX_SAMPLES).to_list()
    return [RejectedSample(reason, row + 1, sheet.frame.row(row, named=True)) for row in rows]


def _write_rejects(path: Path, sheet: Sheet, rows: pl.DataFrame, reasons: pl.Series) -> None:
    rows = rows.with_columns(reasons.alias("reason"))  # replaces the column of an earlier rejects file
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            rows.write_parquet(path)
        elif suffix in (".jsonl", ".ndjson"):
            path.write_bytes(b"".join(_json_line(row, sheet.json_columns) for row in rows.iter_rows(named=True)))
        else:
            _without_nesting(rows).write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def _json_line(row: dict[str, object], json_columns: frozenset[str]) -> bytes:
    cells = {
        name: orjson.Fragment(cell) if name in json_columns and isinstance(cell, str) else cell
        for name, cell in row.items()
        if cell is not None
    }
    return orjson.dumps(cells, default=str, option=orjson.OPT_APPEND_NEWLINE)


def _without_nesting(rows: pl.DataFrame) -> pl.DataFrame:
    """CSV has no nested cells: the elements of a list are separated by `|`, other nested cells are printed."""
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested() or dtype in (pl.Binary, pl.Duration)]
    return rows.with_columns(
        pl.Series(name, [_cell_text(cell) for cell in rows[name].to_list()], pl.String) for name in nested
    )


def _cell_text(cell: object) -> str | None:
    if isinstance(cell, list):
        return "|".join(map(str, cell))
    return None if cell is None else str(cell)
