"""kpis, drift, compress: how good a model of records is, whether it still fits, what its vectors cost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.learn.feature_training import SHOWN
from api.cli.records.import_features import Array, Id, Ignore, Label
from api.cli.records.record_sources import Model, model_codec, model_version
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, progress, table
from api.messages.kpi_responses import kpis as kpi_body
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError, NotEnoughData
from engine.importing import Layout
from engine.importing.records import read_for_detection
from engine.latent_analysis import drift as drifting
from engine.latent_analysis.anomaly_value import detect
from engine.store import features, model_reports, models
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.lenient_records import LenientRecords, from_stored

WORTH = ("records", "bad", "flagged", "found", "recall", "precision", "false_alarms", "auc_roc")


def add_to(app: typer.Typer) -> None:
    for command in (kpis, drift, compress):
        app.command()(command)


def kpis(
    normal: Annotated[str | None, typer.Option(help="The label of good records; others are bad.")] = None,
    false_alarm_rate: Annotated[
        float | None, typer.Option(help="Judge the stored records anew at this share of false alarms.")
    ] = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """The figures stored with a model version, what finding bad records is worth, and the newest drift report."""
    with opened(space) as (_, database, found), database.begin() as conn:
        version = model_version(conn, found, model)
        body = kpi_body(conn, found.key, version)
        if normal is not None or false_alarm_rate is not None:
            codec = models.load_codec(conn, found.key, version)
            if not isinstance(codec, FeatureCodec):
                raise InputError(f"model {version} was not learnt from feature records: nothing to judge anew")
            rate = 0.01 if false_alarm_rate is None else false_alarm_rate
            stored = features.read(conn, found.key)
            worth = detect(codec, stored, normal=normal, false_alarm_rate=rate)
            if worth is None:
                raise InputError("the labels of the records do not say which are bad; give --normal LABEL")
            body["kpis"] = {**body["kpis"], "detection": worth}
    emit(json, body, lambda: _show(body))


def _show(body: dict[str, Any]) -> None:
    figures = body["kpis"]
    out.print(f"model {body['model']}: {body['embedder']}, {body['dim']} dimensions")
    names = {**SHOWN, "silhouette": f"silhouette by {figures.get('silhouette_by', '')}"}
    numbers = {name: each for name, each in figures.items() if isinstance(each, int | float)}
    table(("figure", "value"), [(names.get(name, name), each) for name, each in numbers.items()])
    if "kl_per_dimension" in figures:
        out.print("KL per dimension: " + ", ".join(f"{each:.3g}" for each in figures["kl_per_dimension"]))
    worth = figures.get("detection")
    if worth is not None:
        rows = [(name.replace("_", " "), worth[name]) for name in WORTH]
        table(("finding bad records", "value"), rows, f"at a false-alarm rate of {worth['false_alarm_rate']:.2%}")
        less = "" if worth["error_reduction"] is None else f", and {worth['error_reduction']:.0%} fewer are missed"
        out.print(f"{worth['reviews_saved']:,} reviews saved against looking at random{less}")
    if body["drift"] is not None:
        _show_drift(body["drift"])


def drift(
    file: Annotated[Path | None, typer.Argument(help="Recent records; without, stored ones since the model.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Stored records written after this moment, in UTC.")] = None,
    threshold: Annotated[float, typer.Option(help="Population stability index that is an alert.")] = drifting.ALERT,
    id_column: Id = None,
    label: Label = None,
    ignore: Ignore = None,
    array: Array = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Whether recent records still look like those of training. Kept with the model, and in /metrics of a server."""
    if file is not None and since is not None:
        raise InputError("give a FILE or --since, not both")
    layout = Layout(id_column, label_column=label, ignore=ignore or (), array=array)
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
        if file is not None:
            _, given = read_for_detection(file, layout, codec.columns)
        else:
            given = _recent(database, found, version, codec, since)
        report = drifting.measure(codec, given, alert=threshold)
        with database.begin() as conn:
            model_reports.add_drift(conn, found.key, version, report)
    emit(json, report | {"model": version}, lambda: _show_drift(report))


def _recent(
    database: Database, space: Space, version: int, codec: FeatureCodec, since: datetime | None
) -> LenientRecords:
    """Stored records written after the model was made, or after `since`."""
    with database.begin() as conn:
        begin = models.get(conn, space.key, version).created_at if since is None else since.replace(tzinfo=UTC)
        recent = features.read(conn, space.key, since=begin)
    if len(recent) == 0:
        raise NotEnoughData(
            f"no record was written since {begin:%Y-%m-%d %H:%M} UTC; import recent ones, or give a FILE or --since"
        )
    return from_stored(codec.columns, recent.columns, recent.values)


def _show_drift(report: dict[str, Any]) -> None:
    worst = sorted(report["distributions"], key=lambda row: -row["psi"])[:10]
    table(("distribution", "psi", "ks", "p"), [(row["of"], row["psi"], row["ks"], row["p"]) for row in worst])
    for column, counts in report.get("unseen", {}).items():
        named = ", ".join(f"{value!r} {n:,} times" for value, n in counts.items())
        out.print(f"unseen in training, column {column}: {named}", markup=False)
    moved = f"ALERT: {', '.join(report['moved'])} moved" if report["alert"] else "no alert"
    out.print(f"{report['records']:,} recent records, psi {report['psi']:.3f} of {report['threshold']:g}: {moved}")


def compress(model: Model = None, space: SpaceName = "default", json: Json = False) -> None:
    """What the vectors of a model cost as float32, float16, int8 and PQ, and what each loses."""
    from indexing.building.compression import of_model

    with opened(space) as (_, database, found), progress() as tell, database.begin() as conn:
        version = model_version(conn, found, model)
        tell("compress", 0.1)
        body = of_model(conn, found.key, version)
    rows = body["kinds"]
    names = list(rows[0])
    emit(
        json,
        body,
        lambda: table([name.replace("_", " ") for name in names], [[row[name] for name in names] for row in rows]),
    )
