"""Train on events: split by time, evaluate beside the baselines, refit on all events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from engine.checkpoints import Checkpoints
from engine.errors import NotEnoughData
from engine.evaluation import dislike_weight
from engine.evaluation.evaluate_embedder import evaluate_embedder
from engine.evaluation.similar_items import Categories
from engine.fitting.fit import fit
from engine.fitting.training_passes import report_passes
from engine.latent_space.dislikes import with_dislikes
from engine.latent_space.space import Embedder, LatentSpace
from engine.learning.publish_gate import beats_popularity
from engine.learning.trials import Choice, Chooser
from engine.progress import Progress, no_progress
from engine.values import splits
from engine.values.events import EventColumns, Weighting
from engine.values.interactions import Interactions, from_events
from engine.values.splits import Split


@dataclass(frozen=True, eq=False)
class TrainedModel:
    space: LatentSpace
    interactions: Interactions
    embedder: str
    params: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    fit_seconds: float
    beats_popularity: bool


def train(
    events: EventColumns,
    embedder: Embedder | Chooser,
    weighting: Weighting,
    *,
    now_us: int,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = no_progress,
    checkpoints: Checkpoints | None = None,
    categories: Categories | None = None,
) -> TrainedModel:
    """Evaluate `embedder` on the last tenth of the events, then fit it on all of them.

    The tenth is random if no times are known. A chooser chooses on the other nine tenths. Raises NotEnoughData if no
    interaction has positive weight. If there is too little data to evaluate, the evaluation has a note.
    """
    everything = from_events(events, weighting, now_us)
    if everything.matrix.nnz == 0:
        raise NotEnoughData("no user has an item with positive weight; import events, or look at `nearfield weights`")
    choice = choose_embedder(
        embedder,
        lambda: splits.validation_split(events, weighting, seed=seed),
        seed=seed,
        device=device,
        progress=progress,
    )
    best = choice.embedder
    dislikes = dislike_weight.learn_dislike_weight(
        best,
        everything,
        lambda: splits.validation_split(events, weighting, seed=seed),
        seed=seed,
        device=device,
        progress=progress,
        checkpoints=checkpoints,
    )
    split = splits.by_time_or_random(events, weighting, seed=seed)
    evaluation = evaluate_embedder(
        best, split, seed=seed, device=device, progress=progress, checkpoints=checkpoints, dislikes=dislikes,
        categories=categories,
    )  # fmt: skip
    if not splits.has_times(events):
        evaluation["split"] = "random"
    if choice.reason:
        evaluation["choice"] = choice.to_json()
    progress("fit on everything", 0.9)
    started = time.perf_counter()
    report = report_passes(progress, "fit on everything", 0.9, 1.0, best)
    space = fit(best, everything, seed=seed, device=device, report=report, checkpoints=checkpoints)
    space = with_dislikes(space, dislikes.weight, everything)
    fit_seconds = time.perf_counter() - started
    progress("done", 1.0)
    params: dict[str, Any] = asdict(best) if is_dataclass(best) and not isinstance(best, type) else {}
    return TrainedModel(
        space, everything, best.name, params | {"seed": seed}, evaluation, fit_seconds, beats_popularity(evaluation)
    )


def choose_embedder(
    embedder: Embedder | Chooser,
    split: Callable[[], Split],
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = no_progress,
) -> Choice:
    """The embedder itself, or the choice of a chooser on `split()`, which must not contain the test part."""
    if not hasattr(embedder, "choose"):
        return Choice(embedder, "", ())
    from engine.embedders.training import data_parallel

    with data_parallel.rank_0_only():
        choice: Choice = embedder.choose(
            split(), seed=seed, device=device, progress=lambda what, share: progress(what, 0.05 * share)
        )
    return choice
