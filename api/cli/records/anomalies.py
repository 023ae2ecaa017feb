"""nearfield anomalies: records that differ from the training records, and the columns that make them differ."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.records.import_features import Array, Id, Ignore, Label
from api.cli.records.record_sources import (
    File,
    Items,
    Model,
    Out,
    RecordText,
    model_codec,
    records_for_detector,
)
from api.cli.records.record_table import write_or_show
from api.cli.terminal.options import Json, SpaceName, opened
from api.cli.terminal.output import out
from api.messages.latent import responses as bodies
from engine.errors import InputError
from engine.importing import Layout
from engine.latent_analysis import anomalies as detector


def add_to(app: typer.Typer) -> None:
    app.command()(anomalies)


def anomalies(
    file: File = None,
    item: Items = None,
    record: RecordText = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            help="Share of the training records above the threshold. Default: 0.01.",
            show_default=False,
        ),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(help="The threshold as a quantile: 0.99 is a false-alarm rate of 0.01.", show_default=False),
    ] = None,
    columns: Annotated[int, typer.Option(min=0, help="Number of columns to name for each record, worst first.")] = 3,
    id_column: Id = None,
    label: Label = None,
    ignore: Ignore = None,
    array: Array = None,
    out_file: Out = None,
    model: Model = None,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Find anomalies, with the columns that cause them.

    Takes a FILE of records, stored records (--item), or one record (--record). Prints a score for each record, highest
    first, whether it is above the threshold, and the values that the model expected. Needs a model of feature records.

    Example: `nearfield anomalies readings.csv --space hall --id id --false-alarm-rate 0.02`
    """
    if false_alarm_rate is not None and quantile is not None:
        raise InputError("give --false-alarm-rate or --quantile, not both")
    rate = detector.FALSE_ALARM_RATE if false_alarm_rate is None else false_alarm_rate
    layout = Layout(id_column, label_column=label, ignore=ignore or (), array=array)
    with opened(space) as (_, database, found):
        version, codec = model_codec(database, found, model)
        records = records_for_detector(database, found, codec, file=file, items=item, record=record, layout=layout)
    judged = detector.anomalies(codec, records.readings.values, false_alarm_rate=rate, quantile=quantile)
    body = bodies.anomalies_body(codec, records.readings, judged, columns)
    rows = [
        {"item_id": id_, "score": each["score"], "anomaly": each["anomaly"], "because": _because(each["columns"])}
        for id_, each in zip(records.ids, body["anomalies"], strict=True)
    ]
    if label is not None:
        rows = [row | {"label": each} for row, each in zip(rows, records.labels, strict=True)]
    ordered = rows if out_file is not None else sorted(rows, key=lambda row: -row["score"])
    write_or_show(body | {"item_ids": records.ids, "model": version}, ordered, out_file, json)
    if not json:
        out.print(
            f"{int(judged.flags.sum()):,} of {len(rows):,} records above {judged.threshold:.4f}, the score that "
            f"{judged.false_alarm_rate:.2%} of the training records exceed"
        )


def _because(columns: list[dict[str, Any]]) -> str:
    """`pressure 62%: 560, expected 600`, for each column."""
    return "; ".join(
        f"{each['column']} {each['share']:.0%}: {_brief(each['value'])}, expected {_brief(each['expected'])}"
        for each in columns
    )


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "missing" if value is None else str(value)
