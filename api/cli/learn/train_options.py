"""Shared by train and reindex: options for feature records, the embedder of events, and the tables they print."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.learn import feature_training
from api.cli.learn.evaluation_tables import print_evaluation
from api.cli.terminal.output import out
from engine.checkpoints import Checkpoints
from engine.errors import InputError
from engine.latent_space.space import Embedder
from engine.learning.auto_select import AutoSelect
from engine.store.models import ModelRecord

Normal = Annotated[
    str | None,
    typer.Option(
        "--normal", help="Feature records: learn only from records with this label. Default: all.", show_default=False
    ),
]
KeepConstant = Annotated[
    bool, typer.Option("--keep-constant", help="Feature records: also learn from columns that have a single value.")
]


def event_embedder(name: str, parameters: dict[str, str], checkpoints: Checkpoints) -> Embedder | AutoSelect:
    """The embedder of events called `name`, or the automatic selection."""
    from engine.learning.auto_select import embedder_or_chooser

    return embedder_or_chooser(name, parameters, checkpoints)


def check_options_for_events(normal: str | None, keep_constant: bool) -> None:
    if normal is not None or keep_constant:
        raise InputError("--normal and --keep-constant go with embedders of feature records, not of events")


def print_resumed(trained: object) -> None:
    for sentence in getattr(trained, "resumed", ()):
        out.print(f"resumed an earlier training: {sentence}", markup=False)


def print_record(record: ModelRecord, fit_seconds: float) -> None:
    """The evaluation of a model version and one line about it."""
    if "kpis" in record.evaluation:
        feature_training.print_evaluation(record.evaluation)
    else:
        print_evaluation(record.evaluation, record.embedder)
    out.print(f"model {record.version}: {record.embedder}, {record.dim} dimensions, fitted in {fit_seconds:.2f} s")
