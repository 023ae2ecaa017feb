"""import_items: a catalogue file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import polars as pl

from engine.importing.attributes import Attributes, read_attributes
from engine.importing.catalogue_replacement import Replacing
from engine.importing.cells import cells
from engine.importing.cells.reading_options import AS_IT_IS, Reading
from engine.importing.reports.rejects import Check, check, check_target, id_checks, text_checks
from engine.importing.reports.summary import ImportSummary
from engine.importing.rows_by_id import join_rows
from engine.importing.sheets.column_mapping import NONE, Fields, resolve
from engine.importing.sheets.sheet import Column, read
from engine.importing.transaction import transaction
from engine.progress import Progress, no_progress
from engine.store import items as item_store
from engine.store.database.connections import Connection, Database
from engine.values.items import Item

FIELDS = Fields(names=("item_id", "title", "categories", "available"), needed=("item_id",), rest=True)
BATCH = 10_000


def import_items(
    database: Database,
    space_name: str,
    path: Path,
    *,
    columns: Mapping[str, str] = NONE,
    constants: Mapping[str, str] = NONE,
    rejects: Path | None = None,
    reading: Reading = AS_IT_IS,
    replacing: Replacing | None = None,
    progress: Progress = no_progress,
) -> ImportSummary:
    """Write the items of a file in one transaction; a column that no field takes is an attribute.

    Categories in one cell stand between `|`, or `reading.separators`; `A > B` is one unless `>` is among these.
    Known items are completed: an empty cell, or a field without a column, leaves what is there. A deleted item is
    back, as new. Of several rows with one id each field is the last that is not empty; the others, and rows that change
    nothing, count as duplicates. With `replacing` an item that is in no row of the file, rejected ones too, is hidden
    until a file has it again. Raises InputError as `import_events` does, Conflict where too many would be hidden.
    """
    started = time.perf_counter()
    check_target(rejects, path)
    progress("read", 0.0)
    sheet = read(path)
    source = resolve(sheet, FIELDS, columns, constants)
    progress("check", 0.2)
    attributes = read_attributes(database, space_name, source, reading)
    frame = _frame(source, attributes, sheet.frame.height)
    rejected = check(sheet, frame, [*_checks(), *attributes.checks()], rejects)
    good = frame.filter(~rejected.mask)
    joined = join_rows(good, "item_id", ["title", "categories", "available", *attributes.columns])
    rows = joined.frame.with_columns(pl.Series("attributes", attributes.json_objects(joined.frame), pl.String))
    progress("write", 0.4)
    with transaction(database, space_name) as (conn, space):
        attributes.store_types(conn, space.key)
        written = _write(conn, space.key, rows, frame["item_id"], replacing, progress)
    progress("done", 1.0)
    return ImportSummary(
        read=frame.height,
        written=written.items,
        duplicates=good.height - written.items,
        rejected=rejected.counts,
        samples=rejected.samples,
        seconds=time.perf_counter() - started,
        attributes=attributes.notes,
        notes=(*written.notes(), *joined.notes(), *attributes.called_like_fields()),
        hidden=None if replacing is None else len(written.gone),
        back=len(written.back),
        differing=joined.differing,
    )


def _frame(source: Mapping[str, Column], attributes: Attributes, height: int) -> pl.DataFrame:
    text = pl.repeat(None, height, dtype=pl.String, eager=True)
    categories = text.cast(pl.List(pl.String))
    if "categories" in source:
        categories = cells.lists(source["categories"], attributes.reading.separators)
    columns = {
        "item_id": cells.ids(source["item_id"], attributes.reading.missing_ids),
        "title": cells.words(source["title"]) if "title" in source else text,
        "categories": categories,
        "available": cells.flags(source["available"]) if "available" in source else text.cast(pl.Boolean),
        "given_available": (cells.words(source["available"]) if "available" in source else text).is_not_null(),
    }
    return pl.DataFrame(columns | attributes.frame_columns())


def _checks() -> list[Check]:
    unreadable = pl.col("available").is_null() & pl.col("given_available")
    return [*id_checks("item_id"), *text_checks(), ("available is not true or false", unreadable)]


@dataclass(frozen=True)
class Written:
    items: int  # new or changed
    gone: Sequence[str]  # hidden, as the file has them no more
    back: Sequence[str]  # hidden for that reason before, and in the file again

    def notes(self) -> list[str]:
        told = ((self.gone, "no longer in the file, hidden"), (self.back, "back in the file, shown again"))
        return [
            f"{len(ids):,} item{'s' if len(ids) > 1 else ''} {what}, such as {', '.join(map(repr, ids[:3]))}"
            for ids, what in told
            if ids
        ]


def _write(
    conn: Connection,
    space_key: int,
    rows: pl.DataFrame,
    in_file: pl.Series,
    replacing: Replacing | None,
    progress: Progress,
) -> Written:
    """Upsert the items that are new or changed, and hide those that a catalogue has no more."""
    known = {item.item_id: item for item in _catalogue(conn, space_key)}
    withdrawn = item_store.withdrawn(conn, space_key)
    changed, back = [], []
    for item_id, title, categories, available, text in rows.select(
        "item_id", "title", "categories", "available", "attributes"
    ).iter_rows():
        old = known.get(item_id)
        item = old or Item(item_id)
        item = replace(
            item,
            title=item.title if title is None else title,
            categories=item.categories if categories is None else tuple(categories),
            available=(item.available or item_id in withdrawn) if available is None else available,
            attributes={**item.attributes, **(orjson.loads(text) if text else {})},
        )
        if item != old or item_id in withdrawn:
            changed.append(item)
        if item_id in withdrawn and item.available:
            back.append(item_id)
    gone: list[str] = []
    if replacing is not None:
        shown = [item.item_id for item in known.values() if item.available]
        gone = replacing.gone(shown, set(in_file.drop_nulls().to_list()))
        item_store.lock(conn, space_key, [*gone, *(item.item_id for item in changed)])
        item_store.withdraw(conn, space_key, gone)
    for start in range(0, len(changed), BATCH):
        item_store.upsert(conn, space_key, changed[start : start + BATCH], keep_vectors=True)
        progress("write", 0.4 + 0.6 * start / len(changed))
    return Written(len(changed), gone, back)


def _catalogue(conn: Connection, space_key: int) -> Iterator[Item]:
    table = item_store.read_catalogue(conn, space_key)
    names = ("item_id", "title", "categories", "attributes", "available", "deleted")
    for item_id, title, categories, attributes, available, deleted in zip(
        *(table[name].to_pylist() for name in names), strict=True
    ):
        if not deleted:
            yield Item(item_id, title, tuple(categories), orjson.loads(attributes), available)
