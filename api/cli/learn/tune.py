"""nearfield tune: search embedders and hyper-parameters on validation data; the best becomes a model version."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.learn.evaluation_tables import print_evaluation
from api.cli.terminal.options import Device, Force, Json, Seed, SpaceName, opened
from api.cli.terminal.output import emit, out, progress, table
from engine.checkpoints import Checkpoints
from engine.errors import InputError
from engine.learning.trials import State, Trial
from engine.learning.tune import DEFAULT_EMBEDDERS, Tune

SHOWN_TRIALS = 10


def add_to(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    minutes: Annotated[float, typer.Option(help="Minutes to search.")] = 10.0,
    embedder: Annotated[
        list[str] | None,
        typer.Option(
            help="Embedder to search. Repeatable. Default: spectral, blend, ials, mf, elsa.", show_default=False
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the trials of earlier searches.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
    space: SpaceName = "default",
    json: Json = False,
) -> None:
    """Search embedders and parameters on validation data.

    Fits the best on all events and saves it as a model version with all trials. Prints the trials and the evaluation.
    A search that was stopped continues where it stopped. Publish the version with index and publish.

    Example: `nearfield tune --minutes 30 --embedder spectral --embedder elsa`
    """
    from indexing.building.reindex import train_version

    if not 0 < minutes < 100_000:
        raise InputError(f"expected --minutes above 0, got {minutes:g}")
    with opened(space) as (settings, database, found), progress() as report:
        study = settings.home / "studies" / f"{space}.json"
        chooser = Tune(60 * minutes, tuple(embedder or DEFAULT_EMBEDDERS), study, restart)
        checkpoints = Checkpoints(settings.checkpoints / space)  # of the final fits of the best trial
        trained = train_version(
            database, found, chooser, seed=seed, device=device, force=force, progress=report, checkpoints=checkpoints
        )

    def show() -> None:
        record = trained.record
        trials = [Trial.from_json(each) for each in record.evaluation["choice"]["trials"]]
        best_first = sorted(trials, key=lambda trial: -trial.figure)[:SHOWN_TRIALS]
        rows = [
            (trial.embedder, _parameters(trial), trial.state, trial.recall, trial.ndcg, f"{trial.seconds:.1f}")
            for trial in best_first
        ]
        states: dict[State, int] = {}
        for trial in trials:
            states[trial.state] = states.get(trial.state, 0) + 1
        title = "trials: " + ", ".join(f"{n} {state}" for state, n in states.items())
        table(("embedder", "parameters", "state", "recall@20", "ndcg@20", "seconds"), rows, title)
        print_evaluation(record.evaluation, record.embedder)
        out.print(f"model {record.version}: {record.embedder}, {record.dim} dimensions; next: nearfield index")

    emit(json, trained.to_json(), show)


def _parameters(trial: Trial) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in trial.params.items())
