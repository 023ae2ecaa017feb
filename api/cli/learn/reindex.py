"""nearfield reindex: train, index, verify and publish."""

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
from api.cli.terminal.options import Device, Embedder, Force, Json, Recipe, Seed, Set, SpaceName, opened, pairs
from api.cli.terminal.output import emit, out, progress
from engine.checkpoints import Checkpoints


def add_to(app: typer.Typer) -> None:
    app.command()(reindex)


def reindex(
    embedder: Embedder = "auto",
    set_: Set = None,
    recipe: Recipe = "auto",
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
    normal: Normal = None,
    keep_constant: KeepConstant = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Train, index, verify and publish: the nightly job.

    Does the work of train, index and publish. Running servers swap to the new index without a pause. A model that is
    worse than popularity is stored but not published, and the exit code is 1.

    Example: `nearfield reindex --space default --json`
    """
    from indexing.building.reindex import ReindexResult, check_publishable
    from indexing.building.reindex import reindex as run
    from indexing.building.reindex_features import reindex_features

    parameters = pairs(set_, "--set")
    with opened(space) as (settings, database, found), progress() as report:
        options: dict[str, Any] = {"recipe": recipe, "seed": seed, "device": device, "progress": report}
        done: ReindexResult
        if learns_from_features(database, found, embedder):
            options |= {"normal": normal, "keep_constant": keep_constant}
            name = feature_embedder(embedder)
            done = reindex_features(database, found, name, settings.generations, parameters, **options)
        else:
            check_options_for_events(normal, keep_constant)
            checkpoints = Checkpoints(settings.checkpoints / space)
            options |= {"force": force, "checkpoints": checkpoints}
            chosen = event_embedder(embedder, parameters, checkpoints)
            done = run(database, found, chosen, settings.generations, **options)

    def show() -> None:
        print_resumed(done)
        print_record(done.record, done.fit_seconds)
        if done.generation is not None:
            out.print(f"generation {done.generation} built and published in {done.index_seconds:.2f} s")

    emit(json, done.to_json(), show)
    check_publishable(done.record)
