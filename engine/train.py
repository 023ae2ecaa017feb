"""train: split by time, evaluate beside what must be beaten, refit on everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from engine import baselines, dataset
from engine.errors import NotEnoughData
from engine.evaluate import Scorer, SpaceScorer, evaluate
from engine.events import EventColumns, Weighting
from engine.interactions import Interactions, from_events
from engine.space import Embedder, LatentSpace

Progress = Callable[[str, float], None]  # what happens now, share done


@dataclass(frozen=True, eq=False)
class Trained:
    space: LatentSpace
    interactions: Interactions
    embedder: str
    params: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    fit_seconds: float
    beats_popularity: bool


def train(
    events: EventColumns,
    embedder: Embedder,
    weighting: Weighting,
    *,
    now_us: int,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda what, share: None,
) -> Trained:
    """Evaluate `embedder` on the last tenth of the events, then fit it on all of them.

    Raises NotEnoughData when no user has taken up an item. Too little data to evaluate is told in the evaluation.
    """
    everything = from_events(events, weighting, now_us)
    if everything.matrix.nnz == 0:
        raise NotEnoughData("no user has an item with positive weight; import events, or look at `nearfield weights`")
    evaluation = evaluate_by_time(events, embedder, weighting, seed=seed, device=device, progress=progress)
    progress("fit on everything", 0.8)
    started = time.perf_counter()
    space = embedder.fit(everything, seed=seed, device=device)
    fit_seconds = time.perf_counter() - started
    progress("done", 1.0)
    params: dict[str, Any] = asdict(embedder) if is_dataclass(embedder) and not isinstance(embedder, type) else {}
    return Trained(
        space, everything, embedder.name, params | {"seed": seed}, evaluation, fit_seconds, _beats(evaluation)
    )


def evaluate_by_time(
    events: EventColumns,
    embedder: Embedder,
    weighting: Weighting,
    *,
    seed: int = 0,
    device: str = "cpu",
    k: int = 20,
    progress: Progress = lambda what, share: None,
) -> dict[str, Any]:
    """The figures of a fit before the split on what came after it, with popularity and item-kNN beside them."""
    progress("split by time", 0.0)
    split = dataset.by_time(events, weighting)
    if split.test.nnz == 0 or split.train.matrix.nnz == 0:
        return {"note": "too little data after the time split to evaluate", "n_users": 0}
    progress("fit before the split", 0.05)
    space = embedder.fit(split.train, seed=seed, device=device)
    scorers: dict[str, Callable[[], Scorer]] = {
        "model": lambda: SpaceScorer(space),
        "popularity": lambda: baselines.popularity(split.train),
        "item_knn": lambda: baselines.item_knn(split.train),
    }
    figures = {}
    for step, (name, scorer) in enumerate(scorers.items()):
        progress(f"evaluate {name.replace('_', '-')}", 0.4 + 0.13 * step)
        figures[name] = evaluate(scorer(), split.train.matrix, split.test, k).to_json()
    return figures.pop("model") | figures


def _beats(evaluation: Mapping[str, Any]) -> bool:
    """Whether it is at least as good as popularity; true when there was nothing to evaluate on."""
    if "popularity" not in evaluation:
        return True
    return bool(evaluation["recall@20"] >= evaluation["popularity"]["recall@20"])
