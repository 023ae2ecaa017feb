"""nearfield train: learn a model version without publishing it."""

from __future__ import annotations

from typing import Any

import typer

from api.cli.learn.feature_training import feature_embedder, learns_from_features
from api.cli.learn.train_options import (
    KeepConstant,
    Normal,
    check_options_for_events,
    event_embedder,
    print_record,
    print_resumed,
)
from api.cli.terminal.options import Device, Embedder, Force, Json, Seed, Set, SpaceName, opened, pairs
from api.cli.terminal.output import emit, out, progress
from engine.checkpoints import Checkpoints


def add_to(app: typer.Typer) -> None:
    app.command()(train)


def train(
    embedder: Embedder = "auto",
    set_: Set = None,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
    normal: Normal = None,
    keep_constant: KeepConstant = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Learn a model version and evaluate it; nothing is published.

    Learns from all events of the space, or from its feature records if it has no events. Prints the evaluation beside
    popularity and item-kNN, and stores it with the version. Training that was killed continues from its last checkpoint
    when you run the same command again.

    Example: `nearfield train --embedder spectral --set dim=128`
    """
    from indexing.building.reindex import ReindexResult, train_version
    from indexing.building.reindex_features import train_feature_version

    parameters = pairs(set_, "--set")
    with opened(space) as (settings, database, found), progress() as report:
        options: dict[str, Any] = {"seed": seed, "device": device, "progress": report}
        trained: ReindexResult
        if learns_from_features(database, found, embedder):
            options |= {"normal": normal, "keep_constant": keep_constant}
            trained = train_feature_version(database, found, feature_embedder(embedder), parameters, **options)
        else:
            check_options_for_events(normal, keep_constant)
            checkpoints = Checkpoints(settings.checkpoints / space)
            options |= {"force": force, "checkpoints": checkpoints}
            trained = train_version(database, found, event_embedder(embedder, parameters, checkpoints), **options)

    def show() -> None:
        print_resumed(trained)
        print_record(trained.record, trained.fit_seconds)
        publishable = trained.record.publishable
        out.print("next: nearfield index" if publishable else "worse than popularity, so it cannot be published")

    emit(json, trained.to_json(), show)
