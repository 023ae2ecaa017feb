"""import_events: imports a file of events, with fields of their items."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from engine.importing.attributes import Attributes, read_attributes
from engine.importing.cells import cells
from engine.importing.cells.reading_options import DEFAULT_OPTIONS, ReadingOptions
from engine.importing.cells.times import NOT_A_TIME, UNREADABLE, ParsedTimes, parse_times
from engine.importing.cells.typed_cells import parse_numbers
from engine.importing.reports.erasure_checks import REASON, erased_checks
from engine.importing.reports.event_kinds import purchase_words, report_kinds, space_vocabulary, unreported_kinds_note
from engine.importing.reports.rejects import (
    Check,
    add_rejected,
    check,
    check_rejects_path,
    id_checks,
    placeholder_id_notes,
    text_checks,
)
from engine.importing.reports.summary import ImportSummary
from engine.importing.sheets.column_mapping import NO_MAPPING, Fields, map_columns
from engine.importing.sheets.sheet import Column, read
from engine.importing.transaction import import_transaction, to_arrow
from engine.progress import Progress, no_progress
from engine.store import events as event_store
from engine.store import items as item_store
from engine.store import users as user_store
from engine.store.database.connections import Database
from engine.values.event_kinds import Vocabulary
from engine.values.events import derive_event_id

EVENT_FIELDS = Fields(
    names=(
        *("event_id", "user_id", "item_id", "kind", "value", "occurred_at", "order_id", "session_id"),
        *("title", "categories"),
    ),
    required=("user_id", "item_id", "occurred_at"),
    instead_of=(("user_id", "session_id"),),
)
DEFAULT_KIND = "view"  # of a file without a column of kinds
FUTURE_TOLERANCE = timedelta(days=1)  # wrong clocks and time zones differ by hours, not by days


def import_events(
    database: Database,
    space_name: str,
    path: Path,
    *,
    columns: Mapping[str, str] = NO_MAPPING,
    constants: Mapping[str, str] = NO_MAPPING,
    rejects: Path | None = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    progress: Progress = no_progress,
    now: datetime | None = None,
) -> ImportSummary:
    """Write the events of a file, with their users and items, in one transaction: all of them or none.

    `columns` maps fields to columns of the file, `constants` maps fields to one value for all rows. An event without an
    id gets `derive_event_id` of its fields; the second of two equal rows gets extra="2" and so on, so both are kept and
    a second import of the file writes nothing. A purchase with a negative value becomes a return with the positive
    value. An event with a session but no user gets the id of the session as its user. Kinds are stored as in
    the file, and the summary reports how each is interpreted. Of each item field the last non-empty value by time wins.
    Events of erased users are rejected, even when the erasure happens during the import. Events after `now` are in the
    future, and rejected.

    Raises InputError, and writes nothing, for a file that cannot be read or lacks a required column.
    """
    started = time.perf_counter()
    check_rejects_path(rejects, path)
    progress("read", 0.0)
    sheet = read(path)
    source = map_columns(sheet, EVENT_FIELDS, columns, constants)
    progress("check", 0.15)
    attributes = read_attributes(database, space_name, source, reading)
    times = parse_times(source["occurred_at"], now := now or datetime.now(UTC), reading.date_format)
    frame = _parse(source, attributes, times, sheet.frame.height)
    vocabulary = space_vocabulary(database, space_name)
    checks = [
        *_checks(now, purchase_words(frame["kind"], vocabulary)),
        *erased_checks(database, space_name, frame["user_id"]),
        *attributes.checks(),
    ]
    rejected = check(sheet, frame, checks, rejects)
    progress("identify", 0.3)
    events = _with_event_ids(_with_returns(frame.filter(~rejected.mask)))
    distinct = events.unique("event_id", keep="first", maintain_order=True)
    items = _items(distinct, attributes)
    progress("write", 0.45)
    counts, n_erased = _write(database, space_name, distinct, items, attributes, progress)
    progress("done", 1.0)
    return ImportSummary(
        read=frame.height,
        written=counts.written,
        duplicates=counts.duplicates + events.height - distinct.height - n_erased,
        rejected=add_rejected(rejected.counts, REASON, n_erased),
        samples=rejected.samples,
        seconds=time.perf_counter() - started,
        attributes=attributes.notes,
        notes=(*times.notes(rejected.counts, now), *attributes.name_clash_notes(), *_notes(events, vocabulary)),
        kinds=report_kinds(events["kind"], vocabulary, space_name),
    )


def _notes(events: pl.DataFrame, vocabulary: Vocabulary) -> list[str]:
    return placeholder_id_notes(events["user_id"]) + unreported_kinds_note(events["kind"], vocabulary)


def _parse(source: Mapping[str, Column], attributes: Attributes, times: ParsedTimes, height: int) -> pl.DataFrame:
    """The parsed cells of each field; `has_*` distinguishes an empty cell from an unreadable one."""
    nulls = pl.repeat(None, height, dtype=pl.String, eager=True)
    categories = nulls.cast(pl.List(pl.String))
    if "categories" in source:
        categories = cells.parse_lists(source["categories"], attributes.reading.separators)

    def ids(field: str) -> pl.Series:
        return cells.parse_ids(source[field], attributes.reading.missing_ids) if field in source else nulls

    columns = {
        "event_id": cells.parse_ids(source["event_id"]) if "event_id" in source else nulls,
        "user_id": ids("user_id"),
        "order_id": ids("order_id"),
        "session_id": ids("session_id"),
        "item_id": cells.parse_ids(source["item_id"], attributes.reading.missing_ids),
        "kind": cells.parse_text(source["kind"]) if "kind" in source else nulls.fill_null(DEFAULT_KIND),
        "occurred_at": times.at,
        "has_wrong_unit": times.wrong_unit,
        "has_time": source["occurred_at"].series.is_not_null(),
        "title": cells.parse_text(source["title"]) if "title" in source else nulls,
        "categories": categories,
    }
    if "value" in source:
        columns |= {
            "value": parse_numbers(source["value"], attributes.reading.decimal),
            "has_value": source["value"].series.is_not_null(),
        }
    else:
        columns |= {"value": pl.repeat(1.0, height, eager=True), "has_value": pl.repeat(True, height, eager=True)}
    frame = pl.DataFrame(columns | attributes.frame_columns())
    return frame.with_columns(
        pl.when("has_value").then(pl.col("value")).otherwise(1.0).alias("value"),
        pl.coalesce("user_id", "session_id").alias("user_id"),
    )


def _checks(now: datetime, words_for_purchase: list[str]) -> list[Check]:
    at, value = pl.col("occurred_at"), pl.col("value")
    stored = value.cast(pl.Float32)  # 0 or infinite for a number outside the range of float32
    return [
        *id_checks("user_id"),
        *id_checks("item_id"),
        *id_checks("event_id", required=False),
        *id_checks("order_id", required=False),
        *id_checks("session_id", required=False),
        *id_checks("kind"),
        ("missing occurred_at", ~pl.col("has_time")),
        (NOT_A_TIME, pl.col("has_wrong_unit")),
        (UNREADABLE, at.is_null()),
        ("occurred_at in the future", at > now + FUTURE_TOLERANCE),
        ("occurred_at before 1970", at < datetime(1970, 1, 1, tzinfo=UTC)),
        ("value is not a number", value.is_null()),
        ("value is not a finite number", ~stored.is_finite()),
        ("value is zero", stored == 0),
        ("value is negative, but kind is not a purchase", (value < 0) & ~pl.col("kind").is_in(words_for_purchase)),
        *text_checks(),
    ]


def _with_returns(frame: pl.DataFrame) -> pl.DataFrame:
    """A purchase with value -2 becomes a return with value 2."""
    is_return = pl.col("value") < 0
    return frame.with_columns(
        pl.when(is_return).then(pl.lit("return")).otherwise(pl.col("kind")).alias("kind"), pl.col("value").abs()
    )


def _with_event_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """Derive missing event ids, the same ids that `POST /events` derives."""
    if frame["event_id"].null_count() == 0:
        return frame
    fields = ["user_id", "item_id", "kind", "value", "order_id"]
    copy = pl.int_range(pl.len()).over([*fields, "occurred_at", pl.col("event_id").is_null()])
    rows = frame.select("event_id", *fields, pl.col("occurred_at").cast(pl.Int64), copy.alias("copy")).iter_rows()
    event_ids = [
        event_id or derive_event_id(user_id, item_id, kind, value, at, str(copy + 1) if copy else "", order_id)
        for event_id, user_id, item_id, kind, value, order_id, at, copy in rows
    ]
    return frame.with_columns(pl.Series("event_id", event_ids, pl.String))


def _items(events: pl.DataFrame, attributes: Attributes) -> pl.DataFrame:
    """Distinct items with the last title, categories and attributes by time."""
    fields = ["title", "categories", *attributes.columns]
    items = (
        events.sort("occurred_at", maintain_order=True)
        .group_by("item_id", maintain_order=True)
        .agg(pl.col(field).drop_nulls().last() for field in fields)
    )
    return items.select(
        "item_id", "title", "categories", pl.Series("attributes", attributes.json_objects(items), pl.String)
    )


def _write(
    database: Database,
    space_name: str,
    events: pl.DataFrame,
    items: pl.DataFrame,
    attributes: Attributes,
    progress: Progress,
) -> tuple[event_store.BulkAppended, int]:
    """Counts of written and duplicate events, and the number of events whose user was erased after the checks."""
    users = events.select(pl.col("user_id").unique(maintain_order=True), attributes=pl.lit(None, pl.String))
    staged = events.select(
        *("event_id", "user_id", "item_id", "kind", pl.col("value").cast(pl.Float32), "occurred_at"),
        *("order_id", "session_id"),
    ).sort("event_id")  # the order of the index, which makes the inserts faster
    with import_transaction(database, space_name) as (conn, space):
        attributes.store_types(conn, space.key)
        merged = user_store.bulk_merge(conn, space.key, to_arrow(users))
        item_store.bulk_merge(conn, space.key, to_arrow(items))
        progress("write events", 0.5)
        counts = event_store.bulk_append(conn, space.key, to_arrow(staged))
    return counts, events.filter(pl.col("user_id").is_in(sorted(merged.erased))).height if merged.erased else 0
