"""Merging of rows with one id: exports have a row per variant or image. Each field keeps its last non-empty value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from engine.errors import short_repr

MAX_REPORTED_FIELDS = 8


@dataclass(frozen=True, eq=False)
class MergedRows:
    """`frame` has one row per id, in the order of the last rows.

    `differing` counts for each field the ids whose rows have different values. `example` is one of them: id, field and
    values.
    """

    frame: pl.DataFrame
    id_field: str
    n_ids: int = 0
    differing: Mapping[str, int] = field(default_factory=dict)
    example: tuple[str, str, Sequence[object]] | None = None

    def notes(self) -> tuple[str, ...]:
        """A note for the report when rows of one id differ."""
        if self.example is None:
            return ()
        fields = [f"{name.removeprefix('attributes.')} ({n:,})" for name, n in self.differing.items()]
        more = f" and {len(fields) - MAX_REPORTED_FIELDS} more" if len(fields) > MAX_REPORTED_FIELDS else ""
        id_, name, values = self.example
        example = " then ".join(map(short_repr, values[:2]))
        ids_have = f"1 {self.id_field} has" if self.n_ids == 1 else f"{self.n_ids:,} {self.id_field}s have"
        return (
            f"{ids_have} several rows with different values; the last non-empty value was kept for "
            f"{', '.join(fields[:MAX_REPORTED_FIELDS])}{more}, such as {id_}: "
            f"{name.removeprefix('attributes.')} {example}",
        )


def merge_rows_by_id(frame: pl.DataFrame, id_field: str, fields: Sequence[str]) -> MergedRows:
    """The rows of `frame` merged by the column `id_field`, with the columns `fields`."""
    frame = frame.select(id_field, *fields)
    repeated = frame.filter(pl.col(id_field).is_duplicated())
    if repeated.is_empty() or not fields:
        return MergedRows(frame.unique(id_field, keep="last", maintain_order=True), id_field)
    merged = (
        repeated.with_columns(pl.int_range(pl.len()).alias("row"))
        .group_by(id_field, maintain_order=True)
        .agg(pl.col("row").last(), *(pl.col(name).drop_nulls().last() for name in fields))
        .sort("row")
        .drop("row")
    )
    unique = frame.filter(~pl.col(id_field).is_duplicated())
    all_rows = pl.concat([unique, merged.select(unique.columns)])
    flat = repeated.select(id_field, *(_countable(repeated, name) for name in fields))
    counts = flat.group_by(id_field, maintain_order=True).agg(pl.col(name).drop_nulls().n_unique() for name in fields)
    differs = counts.select(id_field, *(pl.col(name) > 1 for name in fields))
    differing = {name: int(differs[name].sum()) for name in fields if differs[name].any()}
    if not differing:
        return MergedRows(all_rows, id_field)
    first = next(iter(differing))
    id_ = differs.filter(pl.col(first))[id_field][0]
    values = repeated.filter(pl.col(id_field) == id_)[first].drop_nulls().unique(maintain_order=True).to_list()
    n_ids = int(differs.select(pl.any_horizontal(fields))[:, 0].sum())
    most_first = dict(sorted(differing.items(), key=lambda each: -each[1]))
    return MergedRows(all_rows, id_field, n_ids, most_first, (id_, first, values))


def _countable(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The column, with lists as text, because polars does not count distinct lists."""
    is_list = isinstance(frame.schema[name], pl.List)
    return pl.col(name).cast(pl.List(pl.String)).list.join("\x1f").alias(name) if is_list else pl.col(name)
