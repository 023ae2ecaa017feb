"""encode, decode, reconstruct, anomalies: records through a model, one or a whole file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from api.cli.records.import_features import Array, Id, Ignore, Label
from api.cli.records.record_sources import (
    File,
    Given,
    Items,
    Model,
    Out,
    RecordText,
    asked_records,
    given_records,
    model_codec,
    parsed,
)
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from api.cli.terminal.table_files import write_rows
from api.messages import latent_responses as bodies
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError
from engine.importing import Layout
from engine.importing.vectors import read as read_vectors
from engine.latent_analysis import anomalies as operations
from engine.values.vectors import check_vectors

SHOWN, WIDE = 10, 8  # rows and columns of a table on the screen


def add_to(app: typer.Typer) -> None:
    for command in (encode, decode, reconstruct, anomalies):
        app.command()(command)


def encode(
    file: File = None,
    item: Items = None,
    record: RecordText = None,
    id_column: Id = None,
    ignore: Ignore = None,
    array: Array = None,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Records to vectors."""
    layout = Layout(id_column, ignore=ignore or (), array=array)
    version, codec, given = _given(space, model, layout, file=file, items=item, record=record)
    body = bodies.encoded(codec, given.values)
    rows = [{"item_id": id_, "vector": vector} for id_, vector in zip(given.ids, body["vectors"].tolist(), strict=True)]
    for row, codes in zip(rows, body["codes"].tolist() if "codes" in body else (), strict=False):
        row["codes"] = codes
    _finish(body | {"item_ids": given.ids, "model": version}, rows, out_file, json)


def decode(
    file: Annotated[Path | None, typer.Argument(help="vectors: .npy, .npz, .parquet, .csv or .jsonl")] = None,
    vector: Annotated[str | None, typer.Option(help="One vector, as a JSON list.")] = None,
    id_column: Id = None,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Vectors to records."""
    if (file is None) == (vector is None):
        raise InputError("give a FILE of vectors, or --vector")
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
    if file is not None:
        read = read_vectors(file, Layout(id_column))
        ids, vectors = read.ids, check_vectors(read.matrix, codec.dim)
    else:
        ids, vectors = ["vector"], check_vectors([parsed(vector or "", "--vector")], codec.dim, ("vector",))
    body = bodies.decoded(codec, vectors)
    rows = [{"item_id": id_, **record} for id_, record in zip(ids, body["records"], strict=True)]
    _finish(body | {"item_ids": ids, "model": version}, rows, out_file, json)


def reconstruct(
    file: File = None,
    item: Items = None,
    record: RecordText = None,
    id_column: Id = None,
    ignore: Ignore = None,
    array: Array = None,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Records as the model makes them again, and how far off that is."""
    layout = Layout(id_column, ignore=ignore or (), array=array)
    version, codec, given = _given(space, model, layout, file=file, items=item, record=record)
    body = bodies.reconstructed(codec, given.values)
    rows = [
        {"item_id": id_, "error": error, **made}
        for id_, error, made in zip(given.ids, body["errors"].tolist(), body["records"], strict=True)
    ]
    _finish(body | {"item_ids": given.ids, "model": version}, rows, out_file, json)
    if not json:
        out.print(f"mean error {float(np.mean(body['errors'])):.4f}, in squared scales of the training records")


def anomalies(
    file: File = None,
    item: Items = None,
    record: RecordText = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Share of the training records above the threshold; 0.01 if left away.")
    ] = None,
    quantile: Annotated[float | None, typer.Option(help="The same the other way: 0.99 is a rate of 0.01.")] = None,
    columns: Annotated[int, typer.Option(min=0, help="Columns to name for each record, worst first.")] = 3,
    id_column: Id = None,
    label: Label = None,
    ignore: Ignore = None,
    array: Array = None,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """How odd records are, which are above the threshold, and through which columns; worst first."""
    if false_alarm_rate is not None and quantile is not None:
        raise InputError("give --false-alarm-rate or --quantile, not both")
    rate = operations.FALSE_ALARM_RATE if false_alarm_rate is None else false_alarm_rate
    layout = Layout(id_column, label_column=label, ignore=ignore or (), array=array)
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
        given = asked_records(database, found, codec, file=file, items=item, record=record, layout=layout)
    judged = operations.anomalies(codec, given.readings.values, false_alarm_rate=rate, quantile=quantile)
    body = bodies.judged(codec, given.readings, judged, columns)
    rows = [
        {"item_id": id_, "score": each["score"], "anomaly": each["anomaly"], "because": _because(each["columns"])}
        for id_, each in zip(given.ids, body["anomalies"], strict=True)
    ]
    if label is not None:
        rows = [row | {"label": each} for row, each in zip(rows, given.labels, strict=True)]
    shown = rows if out_file is not None else sorted(rows, key=lambda row: -row["score"])
    _finish(body | {"item_ids": given.ids, "model": version}, shown, out_file, json)
    if not json:
        flagged = int(judged.flags.sum())
        out.print(
            f"{flagged:,} of {len(rows):,} records above {judged.threshold:.4f}, the score that "
            f"{judged.false_alarm_rate:.2%} of the training records exceed"
        )


def _given(
    space: str,
    model: int | None,
    layout: Layout,
    *,
    file: Path | None,
    items: list[str] | None,
    record: str | None,
) -> tuple[int, FeatureCodec, Given]:
    """The model version, its codec, and the records that the command was given."""
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
        given = given_records(database, found, codec, file=file, items=items, record=record, layout=layout)
    return version, codec, given


def _because(columns: list[dict[str, Any]]) -> str:
    """`pressure 62%: 560, expected 600`, for each column."""
    return "; ".join(
        f"{each['column']} {each['share']:.0%}: {_brief(each['value'])}, expected {_brief(each['expected'])}"
        for each in columns
    )


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "missing" if value is None else str(value)


def _finish(body: dict[str, Any], rows: list[dict[str, Any]], file: Path | None, json: bool) -> None:
    """Rows into the file and a count, or the first of them on the screen; with `json` the body."""
    if file is not None:
        write_rows(file, rows)
        emit(
            json,
            {"rows": len(rows), "out": str(file), "model": body["model"]},
            lambda: out.print(f"{len(rows):,} rows in {file}"),
        )
        return
    emit(json, body, lambda: show_rows(rows))


def show_rows(rows: list[dict[str, Any]]) -> None:
    """The first rows and columns; what is left out is counted."""
    names = list(rows[0])[: WIDE + 1]
    table(names, [[_cell(row[name]) for name in names] for row in rows[:SHOWN]])
    if len(rows) > SHOWN or len(rows[0]) > len(names):
        rest = f"{len(rows) - SHOWN:,} more rows" if len(rows) > SHOWN else ""
        wide = f"{len(rows[0]) - len(names):,} more columns" if len(rows[0]) > len(names) else ""
        out.print(f"and {' and '.join(part for part in (rest, wide) if part)}; --out FILE writes everything")


def _cell(value: object) -> object:
    if isinstance(value, list):
        short = ", ".join(f"{each:.3g}" for each in value[:WIDE])
        return short + (", ..." if len(value) > WIDE else "")
    return value
