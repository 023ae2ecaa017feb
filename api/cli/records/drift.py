"""nearfield drift: do recent records still look like the training records?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.records.import_features import Array, Id, Ignore, Label
from api.cli.records.record_sources import Model, model_codec
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError, NotEnoughData
from engine.importing import Layout
from engine.importing.records import read_for_detection
from engine.latent_analysis import drift as drifting
from engine.store import features, model_reports, models
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.lenient_records import LenientRecords, from_stored

SHOWN_DISTRIBUTIONS = 10


def add_to(app: typer.Typer) -> None:
    app.command()(drift)


def drift(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="File of recent records. Default: the records stored since the model was made.", show_default=False
        ),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Use the records stored after this time, in UTC.", show_default=False)
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Population stability index (psi) from which drift is an alert.")
    ] = drifting.ALERT,
    id_column: Id = None,
    label: Label = None,
    ignore: Ignore = None,
    array: Array = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Compare recent records with the training records.

    Prints the population stability index and the Kolmogorov-Smirnov test of the distributions that moved most, and
    whether that is an alert. Stores the report with the model; /metrics of a server exports it.

    Example: `nearfield drift this-week.csv --space hall --id id`
    """
    if file is not None and since is not None:
        raise InputError("give a FILE or --since, not both")
    layout = Layout(id_column, label_column=label, ignore=ignore or (), array=array)
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
        if file is not None:
            _, recent = read_for_detection(file, layout, codec.columns)
        else:
            recent = _stored_since(database, found, version, codec, since)
        report = drifting.measure(codec, recent, alert=threshold)
        with database.begin() as conn:
            model_reports.add_drift(conn, found.key, version, report)
    emit(json, report | {"model": version}, lambda: print_drift(report))


def print_drift(report: dict[str, Any]) -> None:
    """The distributions that moved most, values not seen in training, and whether there is an alert."""
    worst = sorted(report["distributions"], key=lambda row: -row["psi"])[:SHOWN_DISTRIBUTIONS]
    table(("distribution", "psi", "ks", "p"), [(row["of"], row["psi"], row["ks"], row["p"]) for row in worst])
    for column, counts in report.get("unseen", {}).items():
        values = ", ".join(f"{value!r} {n:,} times" for value, n in counts.items())
        out.print(f"unseen in training, column {column}: {values}", markup=False)
    moved = f"ALERT: {', '.join(report['moved'])} moved" if report["alert"] else "no alert"
    out.print(f"{report['records']:,} recent records, psi {report['psi']:.3f} of {report['threshold']:g}: {moved}")


def _stored_since(
    database: Database, space: Space, version: int, codec: FeatureCodec, since: datetime | None
) -> LenientRecords:
    """The records stored after `since`, or after the model was made."""
    with database.begin() as conn:
        begin = models.get(conn, space.key, version).created_at if since is None else since.replace(tzinfo=UTC)
        stored = features.read(conn, space.key, since=begin)
    if len(stored) == 0:
        raise NotEnoughData(
            f"no record was written since {begin:%Y-%m-%d %H:%M} UTC; import recent ones, or give a FILE or --since"
        )
    return from_stored(codec.columns, stored.columns, stored.values)
