"""Rows of one id in one file: each field is the last that is not empty, as exports have a row per variant or image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from engine.errors import short_repr

TOLD = 8  # fields


@dataclass(frozen=True, eq=False)
class Joined:
    """`frame` has one row per id, in the order of their last rows. `differing`: of each field in how many ids its
    values differ; `example` is one of them, with the field and its values."""

    frame: pl.DataFrame
    noun: str
    n_ids: int = 0
    differing: Mapping[str, int] = field(default_factory=dict)
    example: tuple[str, str, Sequence[object]] | None = None

    def notes(self) -> tuple[str, ...]:
        if self.example is None:
            return ()
        fields = [f"{name.removeprefix('attributes.')} ({n:,})" for name, n in self.differing.items()]
        more = f" and {len(fields) - TOLD} more" if len(fields) > TOLD else ""
        id_, name, values = self.example
        each = " then ".join(map(short_repr, values[:2]))
        whose = f"1 {self.noun} has" if self.n_ids == 1 else f"{self.n_ids:,} {self.noun}s have"
        return (
            f"{whose} rows that differ; the last that is not empty was kept of {', '.join(fields[:TOLD])}{more}, "
            f"such as {id_}: {name.removeprefix('attributes.')} {each}",
        )


def join_rows(frame: pl.DataFrame, noun: str, fields: Sequence[str]) -> Joined:
    """The rows of `frame` by the id column `noun`, with these fields."""
    frame = frame.select(noun, *fields)
    many = frame.filter(pl.col(noun).is_duplicated())
    if many.is_empty() or not fields:
        return Joined(frame.unique(noun, keep="last", maintain_order=True), noun)
    joined = (
        many.with_columns(pl.int_range(pl.len()).alias("row"))
        .group_by(noun, maintain_order=True)
        .agg(pl.col("row").last(), *(pl.col(name).drop_nulls().last() for name in fields))
        .sort("row")
        .drop("row")
    )
    alone = frame.filter(~pl.col(noun).is_duplicated())
    whole = pl.concat([alone, joined.select(alone.columns)])
    flat = many.select(noun, *(_flat(many, name) for name in fields))
    counts = flat.group_by(noun, maintain_order=True).agg(pl.col(name).drop_nulls().n_unique() for name in fields)
    differ = counts.select(noun, *(pl.col(name) > 1 for name in fields))
    found = {name: int(differ[name].sum()) for name in fields if differ[name].any()}
    if not found:
        return Joined(whole, noun)
    first = next(iter(found))
    id_ = differ.filter(pl.col(first))[noun][0]
    values = many.filter(pl.col(noun) == id_)[first].drop_nulls().unique(maintain_order=True).to_list()
    n_ids = int(differ.select(pl.any_horizontal(fields))[:, 0].sum())
    return Joined(whole, noun, n_ids, dict(sorted(found.items(), key=lambda each: -each[1])), (id_, first, values))


def _flat(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Lists as text, so that distinct ones can be counted."""
    is_list = isinstance(frame.schema[name], pl.List)
    return pl.col(name).cast(pl.List(pl.String)).list.join("\x1f").alias(name) if is_list else pl.col(name)
