"""The records that a command works on (a file, stored records by id, or one as JSON) and the model that it uses."""

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
    Path | None,
    typer.Argument(help="File of records: .csv, .tsv, .parquet, .jsonl, .npy or .npz", show_default=False),
]
Items = Annotated[
    list[str] | None, typer.Option("--item", help="Id of a stored record. Repeatable.", show_default=False)
]
RecordText = Annotated[str | None, typer.Option("--record", help="One record, as a JSON object.", show_default=False)]
Model = Annotated[
    int | None,
    typer.Option("--model", help="Model version. Default: the published one, or else the newest.", show_default=False),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Write all rows to this .parquet, .csv or .jsonl file.", show_default=False),
]


@dataclass(frozen=True, eq=False)
class RecordsForModel:
    ids: list[str]
    values: Values  # (n, n_columns) in the columns of the model
    labels: list[str | None]


@dataclass(frozen=True, eq=False)
class RecordsForDetector:
    """Records to be judged; a value that the model does not know is kept."""

    ids: list[str]
    readings: LenientRecords
    labels: list[str | None]


def model_codec(database: Database, space: Space, version: int | None) -> tuple[int, FeatureCodec]:
    """The version and codec of `version`, or of the published model, or of the newest; Conflict if it has no codec."""
    with database.connect() as conn:
        version = model_version(conn, space, version)
        codec = models.load_codec(conn, space.key, version)
    return version, required(codec, f"model {version} of space {space.name!r}")


def model_version(conn: Connection, space: Space, version: int | None) -> int:
    """`version` if there is such a model, or the published one, or the newest."""
    if version is not None:
        return models.get(conn, space.key, version).version
    active, newest = generations.active(conn, space.key), models.latest(conn, space.key)
    if active is not None:
        return active.model
    if newest is None:
        raise NotEnoughData(f"space {space.name!r} has no model yet; run `nearfield reindex`")
    return newest.version


def records_for_model(
    database: Database,
    space: Space,
    codec: FeatureCodec,
    *,
    file: Path | None,
    items: Sequence[str] | None,
    record: str | None,
    layout: Layout,
) -> RecordsForModel:
    """The records of exactly one of file, items and record; InputError as in `read_for_model` and `from_records`."""
    _check_one(file, items, record)
    if file is not None:
        read = read_for_model(file, layout, codec.columns)
        return RecordsForModel(read.ids, read.values, read.labels)
    if record is not None:
        return RecordsForModel(["record"], from_records(codec.columns, [parsed_record(record)]), [None])
    ids = [check_id(id_, ("item",)) for id_ in items or ()]
    columns, stored = _stored(database, space, ids)
    return RecordsForModel(ids, align_columns(codec.columns, columns, stored, unseen="error"), [None] * len(stored))


def records_for_detector(
    database: Database,
    space: Space,
    codec: FeatureCodec,
    *,
    file: Path | None,
    items: Sequence[str] | None,
    record: str | None,
    layout: Layout,
) -> RecordsForDetector:
    """The same for a detector, which accepts any value."""
    _check_one(file, items, record)
    if file is not None:
        read, values = read_for_detection(file, layout, codec.columns)
        return RecordsForDetector(read.ids, values, read.labels)
    if record is not None:
        return RecordsForDetector(
            ["record"], lenient_records.parse_records(codec.columns, [parsed_record(record)]), [None]
        )
    ids = [check_id(id_, ("item",)) for id_ in items or ()]
    stored = lenient_records.from_stored(codec.columns, *_stored(database, space, ids))
    return RecordsForDetector(ids, stored, [None] * len(stored))


def _check_one(file: Path | None, items: Sequence[str] | None, record: str | None) -> None:
    if sum(bool(each) for each in (file, items, record)) != 1:
        raise InputError("give a FILE of records, or --item, or --record")


def _stored(database: Database, space: Space, items: Sequence[str]) -> tuple[Sequence[Column], Values]:
    """The columns of all stored records, and the values of `items`."""
    with database.connect() as conn:
        schema = features.schema(conn, space.key)
        if schema is None:
            raise NotEnoughData(f"space {space.name!r} has no feature records")
        return schema.columns, features.get(conn, space.key, items)


def parsed_record(text: str) -> dict[str, Any]:
    record = parsed_json(text, "--record")
    if not isinstance(record, dict):
        raise InputError(f"--record is a JSON object of columns and values, got {text[:60]!r}")
    return record


def parsed_json(text: str, option: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{option} is not JSON: {error}") from None
