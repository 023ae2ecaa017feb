"""nearfield encode, decode and reconstruct: records to vectors and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from api.cli.records.import_features import Array, Id, Ignore
from api.cli.records.record_sources import (
    File,
    Items,
    Model,
    Out,
    RecordsForModel,
    RecordText,
    model_codec,
    parsed_json,
    records_for_model,
)
from api.cli.records.record_table import write_or_show
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import out
from api.messages.latent import responses as bodies
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError
from engine.importing import Layout
from engine.importing.vectors import read as read_vectors
from engine.values.vectors import check_vectors


def add_to(app: typer.Typer) -> None:
    for command in (encode, decode, reconstruct):
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
    """Encode records as vectors.

    Takes a FILE of records, stored records (--item), or one record (--record). Needs a model of feature records.

    Example: `nearfield encode --space hall --record '{"heat": 61.5, "shift": "day"}'`
    """
    layout = Layout(id_column, ignore=ignore or (), array=array)
    version, codec, records = _read(space, model, layout, file=file, items=item, record=record)
    body = bodies.encode_body(codec, records.values)
    rows = [
        {"item_id": id_, "vector": vector} for id_, vector in zip(records.ids, body["vectors"].tolist(), strict=True)
    ]
    for row, codes in zip(rows, body["codes"].tolist() if "codes" in body else (), strict=False):
        row["codes"] = codes
    write_or_show(body | {"item_ids": records.ids, "model": version}, rows, out_file, json)


def decode(
    file: Annotated[
        Path | None,
        typer.Argument(help="File of vectors: .npy, .npz, .parquet, .csv or .jsonl", show_default=False),
    ] = None,
    vector: Annotated[str | None, typer.Option(help="One vector, as a JSON list.", show_default=False)] = None,
    id_column: Id = None,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Decode vectors to records.

    Takes a FILE of vectors or one vector (--vector). Needs a model of feature records.

    Example: `nearfield decode --space hall --vector '[0.4, -1.2]'`
    """
    if (file is None) == (vector is None):
        raise InputError("give a FILE of vectors, or --vector")
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
    if file is not None:
        read = read_vectors(file, Layout(id_column))
        ids, vectors = read.ids, check_vectors(read.matrix, codec.dim)
    else:
        ids, vectors = ["vector"], check_vectors([parsed_json(vector or "", "--vector")], codec.dim, ("vector",))
    body = bodies.decode_body(codec, vectors)
    rows = [{"item_id": id_, **record} for id_, record in zip(ids, body["records"], strict=True)]
    write_or_show(body | {"item_ids": ids, "model": version}, rows, out_file, json)


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
    """Encode and decode records, and show the error.

    Takes a FILE of records, stored records (--item), or one record (--record). The error is the mean squared difference
    in scaled columns, for each record and on average.

    Example: `nearfield reconstruct readings.csv --space hall --id id`
    """
    layout = Layout(id_column, ignore=ignore or (), array=array)
    version, codec, records = _read(space, model, layout, file=file, items=item, record=record)
    body = bodies.reconstruct_body(codec, records.values)
    rows = [
        {"item_id": id_, "error": error, **decoded}
        for id_, error, decoded in zip(records.ids, body["errors"].tolist(), body["records"], strict=True)
    ]
    write_or_show(body | {"item_ids": records.ids, "model": version}, rows, out_file, json)
    if not json:
        out.print(f"mean error {float(np.mean(body['errors'])):.4f}, in squared scales of the training records")


def _read(
    space: str,
    model: int | None,
    layout: Layout,
    *,
    file: Path | None,
    items: list[str] | None,
    record: str | None,
) -> tuple[int, FeatureCodec, RecordsForModel]:
    """The model version, its codec, and the records of the command."""
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
        records = records_for_model(database, found, codec, file=file, items=items, record=record, layout=layout)
    return version, codec, records
