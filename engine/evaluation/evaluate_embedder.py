"""assess: what an embedder is worth on a split, beside what must be beaten and for users it never saw; and compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.checkpoints import Checkpoints
from engine.evaluation import baselines, popularity_half_life, segments, similar_items
from engine.evaluation.dislike_weight import NO_DISLIKES, DislikeWeight
from engine.evaluation.ranking_metrics import Evaluation, Scorer, SpaceScorer, evaluate_ranking, rounded_mean
from engine.evaluation.significance import bootstrap_interval, paired_test
from engine.evaluation.similar_items import Categories
from engine.fitting.fit import fit
from engine.fitting.training_passes import report_passes
from engine.latent_space.dislikes import with_dislikes
from engine.latent_space.space import Embedder, LatentSpace
from engine.progress import Progress, no_progress
from engine.recommending.popularity import Sums, rank_by_popularity
from engine.values import splits
from engine.values.interactions import Interactions
from engine.values.splits import Split

K = 20
KS = (5, 10, 20, 50)
POPULARITY_OF_ALL_TIMES = "popularity_of_all_times"  # distinct users: what a model has to beat to be served
HELD_OUT_USERS, SCORED_SHARE, MIN_ITEMS = 0.1, 0.2, 5  # of strong generalisation


def evaluate_embedder(
    embedder: Embedder,
    split: Split,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = no_progress,
    checkpoints: Checkpoints | None = None,
    dislikes: DislikeWeight = NO_DISLIKES,
    categories: Categories | None = None,
) -> dict[str, Any]:
    """Figures of the embedder at 20 and `at` other k, per segment and for unseen users, of similar items, and of the
    baselines.

    With `dislikes` users are less like what they dislike, as those that are served.
    """
    if split.test.nnz == 0 or split.train.matrix.nnz == 0:
        return {"note": "too little data after the split to evaluate", "n_users": 0}
    made, fit_seconds, space = _fit_and_rank(embedder, split, seed, device, progress, checkpoints, dislikes.weight)
    figures = made.at(K).to_json() | _detailed_metrics(made, split) | {"fit_seconds": round(fit_seconds, 3)}
    progress("fit without a tenth of the users", 0.5)
    if split.repeats:
        figures["repeats"] = True
    figures["similar"] = similar_items.similar_item_metrics(space, split, categories, seed)
    if dislikes.reason:
        figures["dislikes"] = dislikes.to_json()
    figures["strong"] = strong_generalisation(embedder, split.train, seed=seed, device=device, checkpoints=checkpoints)
    return figures | _baseline_metrics(split, progress)


def strong_generalisation(
    embedder: Embedder,
    interactions: Interactions,
    *,
    seed: int = 0,
    device: str = "cpu",
    checkpoints: Checkpoints | None = None,
) -> dict[str, Any] | None:
    """Strong generalisation (Liang et al. 2018): a tenth of the users is held out of the fit, four fifths of each
    one's history is folded in, and the last fifth is scored. None where too few users have a history to divide.
    """
    lengths = np.diff(interactions.matrix.indptr)
    order = np.random.default_rng((seed, 1)).permutation(np.flatnonzero(lengths >= MIN_ITEMS))
    held = np.sort(order[: int(HELD_OUT_USERS * len(lengths))])
    if len(held) == 0 or len(held) == len(lengths):
        return None
    left = np.setdiff1d(np.arange(len(lengths)), held)
    unseen = splits.at_random(interactions.select_users(held), SCORED_SHARE, seed)
    space = fit(embedder, interactions.select_users(left), seed=seed, device=device, checkpoints=checkpoints)
    made = evaluate_ranking(SpaceScorer(space), unseen.train.matrix, unseen.test, K)
    return {
        f"recall@{K}": rounded_mean(made.recall),
        f"recall@{K}_interval": bootstrap_interval(made.recall),
        f"ndcg@{K}": rounded_mean(made.ndcg),
        "n_users": len(made.users),
    }


def compare_embedders(
    first: Embedder,
    second: Embedder,
    split: Split,
    *,
    seeds: tuple[int, int] = (0, 0),
    device: str = "cpu",
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Both on the same users: the figures of each and of the baselines, and second - first with its interval and p."""
    if split.test.nnz == 0 or split.train.matrix.nnz == 0:
        return {"note": "too little data after the split to compare", "n_users": 0}
    made = [
        _fit_and_rank(embedder, split, seed, device, progress)[0].at(K)
        for embedder, seed in zip((first, second), seeds, strict=True)
    ]
    apart = {
        "first": made[0].to_json(),
        "second": made[1].to_json(),
        f"recall@{K}": paired_test(made[0].recall, made[1].recall),
        f"ndcg@{K}": paired_test(made[0].ndcg, made[1].ndcg),
        "n_users": len(made[0].users),
    }
    if split.repeats:
        apart["repeats"] = True
    return apart | _baseline_metrics(split, progress)


def _fit_and_rank(
    embedder: Embedder,
    split: Split,
    seed: int,
    device: str,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    dislikes: float = 0.0,
) -> tuple[Evaluation, float, LatentSpace]:
    progress(f"fit {embedder.name} before the split", 0.05)
    report = report_passes(progress, f"fit {embedder.name}", 0.05, 0.4, embedder)
    started = time.perf_counter()
    space = fit(embedder, split.train, seed=seed, device=device, report=report, checkpoints=checkpoints)
    fit_seconds = time.perf_counter() - started
    progress(f"evaluate {embedder.name}", 0.4)
    histories = split.train.signed if dislikes else split.train.matrix
    space = with_dislikes(space, dislikes, split.train)
    return evaluate_ranking(SpaceScorer(space), histories, split.test, max(KS), split.repeats), fit_seconds, space


def _detailed_metrics(made: Evaluation, split: Split) -> dict[str, Any]:
    """Figures at other k, novelty and popularity bias, and those of segments."""
    histories, at_k = split.train.matrix, made.at(K)
    others = {
        str(k): {
            "recall": rounded_mean(cut.recall),
            "ndcg": rounded_mean(cut.ndcg),
            "hit": rounded_mean(cut.hit),
            "mrr": rounded_mean(cut.mrr),
        }
        for k, cut in ((k, made.at(k)) for k in KS)
    }
    users, items = (
        segments.metrics_by_user_segment(at_k, histories),
        segments.recall_by_item_segment(at_k, histories, split.test),
    )
    return {"at": others} | segments.popularity_bias(at_k, histories) | {"segments": {"users": users, "items": items}}


def _baseline_metrics(split: Split, progress: Progress) -> dict[str, Any]:
    """The figures of each baseline."""
    sums, choice = popularity_half_life.popularity_of_training_part(split)
    figures = {}
    for step, (name, scorer) in enumerate(_baseline_scorers(split, sums).items()):
        progress(f"evaluate {name.replace('_', ' ')}", 0.75 + 0.05 * step)
        figures[name] = evaluate_ranking(scorer(), split.train.matrix, split.test, K, split.repeats).to_json()
    figures["popularity"] |= choice.to_json()
    return figures


def _baseline_scorers(split: Split, sums: Sums) -> dict[str, Callable[[], Scorer]]:
    """By name; popularity as it is served. Recent popularity only where it is known when things happened."""
    shares = rank_by_popularity(sums).shares
    found: dict[str, Callable[[], Scorer]] = {"popularity": lambda: baselines.Popularity(shares)}
    recent = split.train.recent_counts()
    if recent is not None:
        found["recent_popularity"] = lambda: baselines.Popularity(recent.astype(np.float32))
    found[POPULARITY_OF_ALL_TIMES] = lambda: baselines.popularity(split.train)
    return found | {"item_knn": lambda: baselines.item_knn(split.train)}
