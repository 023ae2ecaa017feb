"""Where a command takes its records from: a file, stored ones by id, or one as JSON; and which model it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from engine.codec.feature_codec import FeatureCodec, required
from engine.errors import InputError, NotEnoughData
from engine.importing import Layout
from engine.importing.records import read_for_detection, read_for_model
from engine.store import features, generations, models
from engine.store.database.connections import Connection, Database
from engine.store.spaces import Space
from engine.values import lenient_records
from engine.values.features import Column, Values, align_columns, from_records
from engine.values.ids import check_id
from engine.values.lenient_records import LenientRecords

File = Annotated[
    Path | None, typer.Argument(help=".csv, .tsv, .parquet, .jsonl, .npy or .npz with records", show_default=False)
]
Items = Annotated[list[str] | None, typer.Option("--item", help="A stored record by its id; repeatable.")]
RecordText = Annotated[str | None, typer.Option("--record", help="One record, as a JSON object.")]
Model = Annotated[int | None, typer.Option("--model", help="Model version; what is served, or else the newest.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write every row to this .parquet, .csv or .jsonl file.")]


@dataclass(frozen=True, eq=False)
class Given:
    ids: list[str]
    values: Values  # (n, n_columns) in the columns of the model
    labels: list[str | None]


@dataclass(frozen=True, eq=False)
class Asked:
    """What a detector is asked about."""

    ids: list[str]
    readings: LenientRecords
    labels: list[str | None]


def model_codec(database: Database, space: Space, version: int | None) -> tuple[int, FeatureCodec]:
    """The version asked for, or served, or newest, with its codec; Conflict for a model that has none."""
    with database.connect() as conn:
        version = model_version(conn, space, version)
        codec = models.load_codec(conn, space.key, version)
    return version, required(codec, f"model {version} of space {space.name!r}")


def model_version(conn: Connection, space: Space, version: int | None) -> int:
    """The version asked for, or served, or newest."""
    if version is not None:
        return models.get(conn, space.key, version).version
    active, newest = generations.active(conn, space.key), models.latest(conn, space.key)
    if active is not None:
        return active.model
    if newest is None:
        raise NotEnoughData(f"space {space.name!r} has no model yet; run `nearfield reindex`")
    return newest.version


def given_records(
    database: Database,
    space: Space,
    codec: FeatureCodec,
    *,
    file: Path | None,
    items: Sequence[str] | None,
    record: str | None,
    layout: Layout,
) -> Given:
    """The records of exactly one of file, items and record; InputError as `read_for_model` and `from_records`."""
    _check_one(file, items, record)
    if file is not None:
        found = read_for_model(file, layout, codec.columns)
        return Given(found.ids, found.values, found.labels)
    if record is not None:
        return Given(["record"], from_records(codec.columns, [parsed_record(record)]), [None])
    ids = [check_id(id_, ("item",)) for id_ in items or ()]
    columns, stored = _stored(database, space, ids)
    return Given(ids, align_columns(codec.columns, columns, stored, unseen="error"), [None] * len(stored))


def asked_records(
    database: Database,
    space: Space,
    codec: FeatureCodec,
    *,
    file: Path | None,
    items: Sequence[str] | None,
    record: str | None,
    layout: Layout,
) -> Asked:
    """The same for a detector, which refuses no value."""
    _check_one(file, items, record)
    if file is not None:
        found, given = read_for_detection(file, layout, codec.columns)
        return Asked(found.ids, given, found.labels)
    if record is not None:
        return Asked(["record"], lenient_records.parse_records(codec.columns, [parsed_record(record)]), [None])
    ids = [check_id(id_, ("item",)) for id_ in items or ()]
    given = lenient_records.from_stored(codec.columns, *_stored(database, space, ids))
    return Asked(ids, given, [None] * len(given))


def _check_one(file: Path | None, items: Sequence[str] | None, record: str | None) -> None:
    if sum(bool(each) for each in (file, items, record)) != 1:
        raise InputError("give a FILE of records, or --item, or --record")


def _stored(database: Database, space: Space, items: Sequence[str]) -> tuple[Sequence[Column], Values]:
    """The columns of the stored records and the values of these."""
    with database.connect() as conn:
        schema = features.schema(conn, space.key)
        if schema is None:
            raise NotEnoughData(f"space {space.name!r} has no feature records")
        return schema.columns, features.get(conn, space.key, items)


def parsed_record(text: str) -> dict[str, Any]:
    found = parsed(text, "--record")
    if not isinstance(found, dict):
        raise InputError(f"--record is a JSON object of columns and values, got {text[:60]!r}")
    return found


def parsed(text: str, option: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{option} is not JSON: {error}") from None
