"""import_items: imports a file of items, the catalogue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import polars as pl

from engine.importing.attributes import Attributes, read_attributes
from engine.importing.catalogue_replacement import CatalogueReplacement
from engine.importing.cells import cells
from engine.importing.cells.reading_options import DEFAULT_OPTIONS, ReadingOptions
from engine.importing.reports.rejects import Check, check, check_rejects_path, id_checks, text_checks
from engine.importing.reports.summary import ImportSummary
from engine.importing.rows_by_id import merge_rows_by_id
from engine.importing.sheets.column_mapping import NO_MAPPING, Fields, map_columns
from engine.importing.sheets.sheet import Column, read
from engine.importing.transaction import import_transaction
from engine.progress import Progress, no_progress
from engine.store import items as item_store
from engine.store.database.connections import Connection, Database
from engine.values.items import Item

ITEM_FIELDS = Fields(
    names=("item_id", "title", "categories", "available"), required=("item_id",), rest_is_attributes=True
)
BATCH_ROWS = 10_000


def import_items(
    database: Database,
    space_name: str,
    path: Path,
    *,
    columns: Mapping[str, str] = NO_MAPPING,
    constants: Mapping[str, str] = NO_MAPPING,
    rejects: Path | None = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    replacement: CatalogueReplacement | None = None,
    progress: Progress = no_progress,
) -> ImportSummary:
    """Write the items of a file in one transaction; a column that is not a field becomes an attribute.

    Categories in one cell are separated by `|`, or by `reading.separators`; `A > B` is one category unless `>` is a
    separator. An empty cell of a known item, and a field without a column, keep the stored value. A deleted item is
    restored without its old fields. Rows with one id are merged, the last non-empty value of each field wins; the
    merged rows, and rows that change nothing, count as duplicates. With `replacement`, an item that is in no row of the
    file, rejected rows included, is hidden until a file contains it again. Raises InputError as `import_events` does,
    and Conflict when too many items would be hidden.
    """
    started = time.perf_counter()
    check_rejects_path(rejects, path)
    progress("read", 0.0)
    sheet = read(path)
    source = map_columns(sheet, ITEM_FIELDS, columns, constants)
    progress("check", 0.2)
    attributes = read_attributes(database, space_name, source, reading)
    frame = _parse(source, attributes, sheet.frame.height)
    rejected = check(sheet, frame, [*_checks(), *attributes.checks()], rejects)
    accepted = frame.filter(~rejected.mask)
    merged = merge_rows_by_id(accepted, "item_id", ["title", "categories", "available", *attributes.columns])
    rows = merged.frame.with_columns(pl.Series("attributes", attributes.json_objects(merged.frame), pl.String))
    progress("write", 0.4)
    with import_transaction(database, space_name) as (conn, space):
        attributes.store_types(conn, space.key)
        written = _write(conn, space.key, rows, frame["item_id"], replacement, progress)
    progress("done", 1.0)
    return ImportSummary(
        read=frame.height,
        written=written.n_items,
        duplicates=accepted.height - written.n_items,
        rejected=rejected.counts,
        samples=rejected.samples,
        seconds=time.perf_counter() - started,
        attributes=attributes.notes,
        notes=(*written.notes(), *merged.notes(), *attributes.name_clash_notes()),
        hidden=None if replacement is None else len(written.hidden),
        back=len(written.back),
        differing=merged.differing,
    )


def _parse(source: Mapping[str, Column], attributes: Attributes, height: int) -> pl.DataFrame:
    """The parsed cells of each field; `has_available` distinguishes an empty cell from an unreadable one."""
    nulls = pl.repeat(None, height, dtype=pl.String, eager=True)
    categories = nulls.cast(pl.List(pl.String))
    if "categories" in source:
        categories = cells.parse_lists(source["categories"], attributes.reading.separators)
    columns = {
        "item_id": cells.parse_ids(source["item_id"], attributes.reading.missing_ids),
        "title": cells.parse_text(source["title"]) if "title" in source else nulls,
        "categories": categories,
        "available": cells.parse_booleans(source["available"]) if "available" in source else nulls.cast(pl.Boolean),
        "has_available": (cells.parse_text(source["available"]) if "available" in source else nulls).is_not_null(),
    }
    return pl.DataFrame(columns | attributes.frame_columns())


def _checks() -> list[Check]:
    unreadable = pl.col("available").is_null() & pl.col("has_available")
    return [*id_checks("item_id"), *text_checks(), ("available is not true or false", unreadable)]


@dataclass(frozen=True)
class Written:
    n_items: int  # new or changed
    hidden: Sequence[str]  # not in a whole-catalogue file
    back: Sequence[str]  # hidden by an earlier whole-catalogue file, and in this file again

    def notes(self) -> list[str]:
        changes = ((self.hidden, "no longer in the file, hidden"), (self.back, "back in the file, shown again"))
        return [
            f"{len(ids):,} item{'s' if len(ids) > 1 else ''} {change}, such as {', '.join(map(repr, ids[:3]))}"
            for ids, change in changes
            if ids
        ]


def _write(
    conn: Connection,
    space_key: int,
    rows: pl.DataFrame,
    ids_in_file: pl.Series,
    replacement: CatalogueReplacement | None,
    progress: Progress,
) -> Written:
    """Upsert the items that are new or changed, and hide those that a whole-catalogue file does not contain."""
    known = {item.item_id: item for item in _stored_items(conn, space_key)}
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
    to_hide: list[str] = []
    if replacement is not None:
        available_ids = [item.item_id for item in known.values() if item.available]
        to_hide = replacement.items_to_hide(available_ids, set(ids_in_file.drop_nulls().to_list()))
        item_store.lock(conn, space_key, [*to_hide, *(item.item_id for item in changed)])
        item_store.withdraw(conn, space_key, to_hide)
    for start in range(0, len(changed), BATCH_ROWS):
        item_store.upsert(conn, space_key, changed[start : start + BATCH_ROWS], keep_vectors=True)
        progress("write", 0.4 + 0.6 * start / len(changed))
    return Written(len(changed), to_hide, back)


def _stored_items(conn: Connection, space_key: int) -> Iterator[Item]:
    table = item_store.read_catalogue(conn, space_key)
    names = ("item_id", "title", "categories", "attributes", "available", "deleted")
    for item_id, title, categories, attributes, available, deleted in zip(
        *(table[name].to_pylist() for name in names), strict=True
    ):
        if not deleted:
            yield Item(item_id, title, tuple(categories), orjson.loads(attributes), available)
