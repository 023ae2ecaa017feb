"""nearfield kpis: how good a model of records is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.learn.feature_training import KPI_LABELS
from api.cli.records.drift import print_drift
from api.cli.records.record_sources import Model, model_version
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import emit, out, table
from api.messages.kpi_responses import kpis as kpi_body
from engine.codec.feature_codec import FeatureCodec
from engine.errors import InputError
from engine.latent_analysis.anomaly_value import detect
from engine.store import features, models

DETECTION_FIGURES = ("records", "bad", "flagged", "found", "recall", "precision", "false_alarms", "auc_roc")


def add_to(app: typer.Typer) -> None:
    app.command()(kpis)


def kpis(
    normal: Annotated[
        str | None, typer.Option(help="The label of good records; all others are bad.", show_default=False)
    ] = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Evaluate detection on the stored records at this false-alarm rate.", show_default=False),
    ] = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Show the KPIs of a model of records.

    Prints reconstruction error, explained variance, encode time and more, how many bad records the model finds if
    records have labels, and the newest drift report.

    Example: `nearfield kpis --space hall --false-alarm-rate 0.05`
    """
    with opened(space) as (_, database, found), database.begin() as conn:
        version = model_version(conn, found, model)
        body = kpi_body(conn, found.key, version)
        if normal is not None or false_alarm_rate is not None:
            codec = models.load_codec(conn, found.key, version)
            if not isinstance(codec, FeatureCodec):
                raise InputError(f"model {version} was not learnt from feature records, so it detects no anomalies")
            rate = 0.01 if false_alarm_rate is None else false_alarm_rate
            stored = features.read(conn, found.key)
            detection = detect(codec, stored, normal=normal, false_alarm_rate=rate)
            if detection is None:
                raise InputError("the labels of the records do not say which are bad; give --normal LABEL")
            body["kpis"] = {**body["kpis"], "detection": detection}
    emit(json, body, lambda: _print_kpis(body))


def _print_kpis(body: dict[str, Any]) -> None:
    figures = body["kpis"]
    out.print(f"model {body['model']}: {body['embedder']}, {body['dim']} dimensions")
    labels = {**KPI_LABELS, "silhouette": f"silhouette by {figures.get('silhouette_by', '')}"}
    numbers = {name: each for name, each in figures.items() if isinstance(each, int | float)}
    table(("figure", "value"), [(labels.get(name, name), each) for name, each in numbers.items()])
    if "kl_per_dimension" in figures:
        out.print("KL per dimension: " + ", ".join(f"{each:.3g}" for each in figures["kl_per_dimension"]))
    detection = figures.get("detection")
    if detection is not None:
        rows = [(name.replace("_", " "), detection[name]) for name in DETECTION_FIGURES]
        table(("finding bad records", "value"), rows, f"at a false-alarm rate of {detection['false_alarm_rate']:.2%}")
        reduction = detection["error_reduction"]
        fewer = "" if reduction is None else f", and {reduction:.0%} fewer are missed"
        out.print(f"{detection['reviews_saved']:,} reviews saved against random inspection{fewer}")
    if body["drift"] is not None:
        print_drift(body["drift"])
