"""import_events: a file of events, with item fields that come along."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from engine.importing.attributes import Attributes, read_attributes
from engine.importing.cells import cells
from engine.importing.cells.reading_options import AS_IT_IS, Reading
from engine.importing.cells.times import NO_TIME, UNREADABLE, Times, times
from engine.importing.cells.typed_cells import numbers
from engine.importing.reports.erasure_checks import REASON, erased_checks
from engine.importing.reports.event_kinds import purchases, rest, vocabulary_of, words_of
from engine.importing.reports.rejects import Check, check, check_target, id_checks, nobody, text_checks, with_more
from engine.importing.reports.summary import ImportSummary
from engine.importing.sheets.column_mapping import NONE, Fields, resolve
from engine.importing.sheets.sheet import Column, read
from engine.importing.transaction import arrow, transaction
from engine.progress import Progress, no_progress
from engine.store import events as event_store
from engine.store import items as item_store
from engine.store import users as user_store
from engine.store.database.connections import Database
from engine.values.events import derive_event_id

FIELDS = Fields(
    names=("event_id", "user_id", "item_id", "kind", "value", "occurred_at", "title", "categories"),
    needed=("user_id", "item_id", "occurred_at"),
)
KIND = "view"  # of a file that says nothing about kinds
AHEAD = timedelta(days=1)  # clocks and zones are off by hours, not by days


def import_events(
    database: Database,
    space_name: str,
    path: Path,
    *,
    columns: Mapping[str, str] = NONE,
    constants: Mapping[str, str] = NONE,
    rejects: Path | None = None,
    reading: Reading = AS_IT_IS,
    progress: Progress = no_progress,
    now: datetime | None = None,
) -> ImportSummary:
    """Write the events of a file, with their users and items, in one transaction: all of them or none.

    `columns` maps our fields to the file's columns, `constants` to one value for every row. An event without an id
    gets `derive_event_id` of its fields; the second of two equal rows gets extra="2" and so on, so both are kept and a
    second import of the file writes nothing. A purchase of negative value is a return of the positive one. Kinds
    are stored as the file calls them, and the summary tells what each is taken for. Of the item
    fields that come along, the last by time that is not empty wins. Events of a user who was erased are rejected, also
    when that was while the file was read. `now` is what "in the future" is measured from.

    Raises InputError, with nothing written, for a file that cannot be read or lacks a needed column.
    """
    started = time.perf_counter()
    check_target(rejects, path)
    progress("read", 0.0)
    sheet = read(path)
    source = resolve(sheet, FIELDS, columns, constants)
    progress("check", 0.15)
    attributes = read_attributes(database, space_name, source, reading)
    moments = times(source["occurred_at"], now := now or datetime.now(UTC), reading.date_format)
    frame = _frame(source, attributes, moments, sheet.frame.height)
    vocabulary = vocabulary_of(database, space_name)
    kept_out = erased_checks(database, space_name, frame["user_id"])
    checks = _checks(now, purchases(frame["kind"], vocabulary))
    checks += [*kept_out, *attributes.checks()]
    rejected = check(sheet, frame, checks, rejects)
    progress("identify", 0.3)
    events = _identified(_with_returns(frame.filter(~rejected.mask)))
    distinct = events.unique("event_id", keep="first", maintain_order=True)
    items = _items(distinct, attributes)
    progress("write", 0.45)
    counts, erased = _write(database, space_name, distinct, items, attributes, progress)
    progress("done", 1.0)
    notes = *moments.notes(rejected.counts, now), *attributes.called_like_fields()
    return ImportSummary(
        read=frame.height,
        written=counts.written,
        duplicates=counts.duplicates + events.height - distinct.height - erased,
        rejected=with_more(rejected.counts, REASON, erased),
        samples=rejected.samples,
        seconds=time.perf_counter() - started,
        attributes=attributes.notes,
        notes=(*notes, *nobody(events["user_id"]), *rest(events["kind"], vocabulary)),
        words=words_of(events["kind"], vocabulary, space_name),
    )


def _frame(source: Mapping[str, Column], attributes: Attributes, moments: Times, height: int) -> pl.DataFrame:
    """The cells of each field, checked for type only; `given_*` tells an empty cell from an unreadable one."""
    text = pl.repeat(None, height, dtype=pl.String, eager=True)
    categories = text.cast(pl.List(pl.String))
    if "categories" in source:
        categories = cells.lists(source["categories"], attributes.reading.separators)
    columns = {
        "event_id": cells.ids(source["event_id"]) if "event_id" in source else text,
        "user_id": cells.ids(source["user_id"], attributes.reading.missing_ids),
        "item_id": cells.ids(source["item_id"], attributes.reading.missing_ids),
        "kind": cells.words(source["kind"]) if "kind" in source else text.fill_null(KIND),
        "occurred_at": moments.at,
        "no_time": moments.misfit,
        "given_time": source["occurred_at"].series.is_not_null(),
        "title": cells.words(source["title"]) if "title" in source else text,
        "categories": categories,
    }
    if "value" in source:
        columns |= {
            "value": numbers(source["value"], attributes.reading.decimal),
            "given_value": source["value"].series.is_not_null(),
        }
    else:
        columns |= {"value": pl.repeat(1.0, height, eager=True), "given_value": pl.repeat(True, height, eager=True)}
    frame = pl.DataFrame(columns | attributes.frame_columns())
    return frame.with_columns(pl.when("given_value").then(pl.col("value")).otherwise(1.0).alias("value"))


def _checks(now: datetime, bought: list[str]) -> list[Check]:
    at, value = pl.col("occurred_at"), pl.col("value")
    stored = value.cast(pl.Float32)  # what is left of a number that float32 cannot hold is 0 or infinite
    return [
        *id_checks("user_id"),
        *id_checks("item_id"),
        *id_checks("event_id", needed=False),
        *id_checks("kind"),
        ("missing occurred_at", ~pl.col("given_time")),
        (NO_TIME, pl.col("no_time")),
        (UNREADABLE, at.is_null()),
        ("occurred_at in the future", at > now + AHEAD),
        ("occurred_at before 1970", at < datetime(1970, 1, 1, tzinfo=UTC)),
        ("value is not a number", value.is_null()),
        ("value is not finite", ~stored.is_finite()),
        ("value is zero", stored == 0),
        ("negative value, and not a purchase", (value < 0) & ~pl.col("kind").is_in(bought)),
        *text_checks(),
    ]


def _with_returns(frame: pl.DataFrame) -> pl.DataFrame:
    """A purchase of -2 is a return of 2."""
    back = pl.col("value") < 0
    return frame.with_columns(
        pl.when(back).then(pl.lit("return")).otherwise(pl.col("kind")).alias("kind"), pl.col("value").abs()
    )


def _identified(frame: pl.DataFrame) -> pl.DataFrame:
    """Every event with an id; those without get the one that `POST /events` would give them."""
    if frame["event_id"].null_count() == 0:
        return frame
    fields = ["user_id", "item_id", "kind", "value", "occurred_at"]
    copy = pl.int_range(pl.len()).over([*fields, pl.col("event_id").is_null()])
    rows = frame.select("event_id", *fields[:-1], pl.col("occurred_at").cast(pl.Int64), copy.alias("copy")).iter_rows()
    made = [
        event_id or derive_event_id(user_id, item_id, kind, value, at, str(copy + 1) if copy else "")
        for event_id, user_id, item_id, kind, value, at, copy in rows
    ]
    return frame.with_columns(pl.Series("event_id", made, pl.String))


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
    """What became of the events, and how many are of users who were erased since they were checked."""
    users = events.select(pl.col("user_id").unique(maintain_order=True), attributes=pl.lit(None, pl.String))
    staged = events.select(
        "event_id", "user_id", "item_id", "kind", pl.col("value").cast(pl.Float32), "occurred_at"
    ).sort("event_id")  # in the order of the index
    with transaction(database, space_name) as (conn, space):
        attributes.store_types(conn, space.key)
        made = user_store.bulk_merge(conn, space.key, arrow(users))
        item_store.bulk_merge(conn, space.key, arrow(items))
        progress("write events", 0.5)
        counts = event_store.bulk_append(conn, space.key, arrow(staged))
    return counts, events.filter(pl.col("user_id").is_in(sorted(made.erased))).height if made.erased else 0
