"""tune: search embedders and hyper-parameters on validation data, then keep the best as a model version."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.learn.evaluation_tables import evaluation_table
from api.cli.terminal.options import Device, Force, Json, Seed, SpaceName, opened
from api.cli.terminal.output import emit, out, progress, table
from engine.checkpoints import Checkpoints
from engine.errors import InputError
from engine.learning.trials import State, Trial
from engine.learning.tune import DEFAULT, Tune

SHOWN = 10


def add_to(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    minutes: Annotated[float, typer.Option(help="Time for the search.")] = 10.0,
    embedder: Annotated[
        list[str] | None, typer.Option(help="Search among these only; repeatable.", show_default=False)
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the trials of former searches.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Search embedders and parameters on validation data; the best is fitted on everything and saved with all trials.

    A search that was stopped goes on where it was.
    """
    from indexing.building.reindex import train_version

    if not 0 < minutes < 100_000:
        raise InputError(f"expected --minutes above 0, got {minutes:g}")
    with opened(space) as (settings, database, found), progress() as tell:
        study = settings.home / "studies" / f"{space}.json"
        chooser = Tune(60 * minutes, tuple(embedder or DEFAULT), study, restart)
        kept = Checkpoints(settings.checkpoints / space)  # of the winner's fits
        trained = train_version(
            database, found, chooser, seed=seed, device=device, force=force, progress=tell, checkpoints=kept
        )

    def show() -> None:
        record = trained.record
        trials = [Trial.from_json(each) for each in record.evaluation["choice"]["trials"]]
        best_first = sorted(trials, key=lambda trial: -trial.figure)[:SHOWN]
        rows = [
            (trial.embedder, _text(trial), trial.state, trial.recall, trial.ndcg, f"{trial.seconds:.1f}")
            for trial in best_first
        ]
        states: dict[State, int] = {}
        for trial in trials:
            states[trial.state] = states.get(trial.state, 0) + 1
        title = "trials: " + ", ".join(f"{n} {state}" for state, n in states.items())
        table(("embedder", "parameters", "state", "recall@20", "ndcg@20", "seconds"), rows, title)
        evaluation_table(record.evaluation, record.embedder)
        out.print(f"model {record.version}: {record.embedder}, {record.dim} dimensions; next: nearfield index")

    emit(json, trained.to_json(), show)


def _text(trial: Trial) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in trial.params.items())
