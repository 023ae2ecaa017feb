"""Rows that are not taken: the reason of each, the first few to show, and a file of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl

from engine.errors import InputError
from engine.importing.reports.summary import Sample
from engine.importing.sheets.sheet import Sheet, suffix_of
from engine.values.ids import MAX_ID_BYTES

Check = tuple[str, pl.Expr]  # reason, true where it holds
SHOWN = 3
NOBODY = ["-1", "nan", "null", "none", "undefined", "n/a", "(not set)"]  # lower case
LOST = r"^-?[0-9](\.[0-9]+)?[eE]\+[0-9]+$"


@dataclass(frozen=True, eq=False)
class Rejected:
    """`mask` is true for a row that is not taken."""

    mask: pl.Series
    counts: dict[str, int]
    samples: tuple[Sample, ...]


def id_checks(field: str, *, needed: bool = True) -> list[Check]:
    """What makes a text no id. One that a spreadsheet wrote as 4.00638E+12 would be that of many."""
    cell = pl.col(field)
    return ([(f"missing {field}", cell.is_null())] if needed else []) + [
        (f"{field} lost digits as a number", cell.str.contains(LOST)),
        (f"{field} over {MAX_ID_BYTES} bytes", cell.str.len_bytes() > MAX_ID_BYTES),
        (f"{field} holds NUL", cell.str.contains("\x00", literal=True)),
    ]


def nobody(user_ids: pl.Series) -> list[str]:
    """What is to be told of ids that are often no person's: they are taken as one all the same."""
    counts = user_ids.filter(user_ids.str.to_lowercase().is_in(NOBODY)).value_counts(name="n")
    return [
        f"{'1 row has' if n == 1 else f'{n:,} rows have'} the user_id {id_!r}, which some exports write for nobody; "
        f"{'it was' if n == 1 else 'they were'} taken as one user, unless "
        f"you say --missing-id {id_}"
        for id_, n in counts.sort("n", descending=True).iter_rows()
    ]


def text_checks() -> list[Check]:
    """What PostgreSQL's text cannot hold, and what separates categories on their way there."""
    return [
        ("title holds NUL", pl.col("title").str.contains("\x00", literal=True)),
        ("categories hold a control character", pl.col("categories").list.join("").str.contains(r"[\x00\x1f]")),
    ]


def check(sheet: Sheet, frame: pl.DataFrame, checks: Sequence[Check], rejects: Path | None) -> Rejected:
    """Hold `frame`, the checked cells of `sheet`, to `checks`; a row counts for the first that it fails.

    With `rejects` the rows not taken are written there as they stand in the file, with a column `reason`.
    """
    reason = frame.select(pl.coalesce(pl.when(fails).then(pl.lit(why)) for why, fails in checks)).to_series()
    mask = reason.is_not_null()
    if rejects is not None:
        _write(rejects, sheet, sheet.frame.filter(mask), reason.filter(mask))
    counts = dict(Counter(reason.filter(mask).to_list()).most_common())
    samples = tuple(sample for why in counts for sample in _first(sheet, reason, why))
    return Rejected(mask, counts, samples)


def with_more(counts: Mapping[str, int], reason: str, more: int) -> dict[str, int]:
    """`counts` with rows that turned out to be of a reason after all was checked."""
    return dict(counts) | ({reason: counts.get(reason, 0) + more} if more else {})


def check_target(rejects: Path | None, source: Path) -> None:
    """InputError if rejected rows could not be written to `rejects`, before any work is done."""
    if rejects is None:
        return
    suffix_of(rejects)
    if not rejects.parent.is_dir():
        raise InputError(f"the folder of {rejects} is not there")
    if rejects.exists() and source.exists() and rejects.samefile(source):
        raise InputError(f"{rejects} is the file to import; give --rejects another name")


def _first(sheet: Sheet, reason: pl.Series, why: str) -> list[Sample]:
    rows = (reason == why).arg_true().head(SHOWN).to_list()
    return [Sample(why, row + 1, sheet.frame.row(row, named=True)) for row in rows]


def _write(path: Path, sheet: Sheet, rows: pl.DataFrame, reason: pl.Series) -> None:
    rows = rows.with_columns(reason.alias("reason"))  # in the place of the reasons of an import before this one
    suffix = suffix_of(path)
    try:
        if suffix == ".parquet":
            rows.write_parquet(path)
        elif suffix in (".jsonl", ".ndjson"):
            path.write_bytes(b"".join(_line(row, sheet.json_columns) for row in rows.iter_rows(named=True)))
        else:
            _flat(rows).write_csv(path, separator="\t" if suffix == ".tsv" else ",")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} cannot be written: {error}") from error


def _line(row: dict[str, object], json_columns: frozenset[str]) -> bytes:
    ready = {
        name: orjson.Fragment(cell) if name in json_columns and isinstance(cell, str) else cell
        for name, cell in row.items()
        if cell is not None
    }
    return orjson.dumps(ready, default=str, option=orjson.OPT_APPEND_NEWLINE)


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    """CSV has no lists: they are written with `|`, other nested cells as they print."""
    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested() or dtype in (pl.Binary, pl.Duration)]
    return rows.with_columns(
        pl.Series(name, [_print(cell) for cell in rows[name].to_list()], pl.String) for name in nested
    )


def _print(cell: object) -> str | None:
    if isinstance(cell, list):
        return "|".join(map(str, cell))
    return None if cell is None else str(cell)
