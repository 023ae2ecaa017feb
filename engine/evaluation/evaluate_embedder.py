"""Evaluates an embedder on a split, beside baselines and for users held out of the fit; compares two embedders."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.behaviour.popularity import Sums, rank_by_popularity
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
from engine.values import splits
from engine.values.interactions import Interactions
from engine.values.splits import Split

K = 20
KS = (5, 10, 20, 50)
POPULARITY_OF_ALL_TIMES = "popularity_of_all_times"  # by distinct users; a model must beat it to be served
HELD_OUT_USERS, SCORED_SHARE, MIN_ITEMS = 0.1, 0.2, 5  # see strong_generalisation


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
    """All offline metrics of an embedder, as JSON: fitted on the training part, scored on the test part of `split`.

    Metrics are at k = 20 and, under `at`, at other k; per segment; under `strong`, for users held out of the fit; under
    `similar`, of similar items; and of each baseline. With `dislikes`, user vectors are corrected as in serving.
    """
    if split.test.nnz == 0 or split.train.matrix.nnz == 0:
        return {"note": "too little data after the split to evaluate", "n_users": 0}
    evaluation, fit_seconds, space = _fit_and_rank(
        embedder, split, seed, device, progress, checkpoints, dislikes.weight
    )
    metrics = evaluation.at(K).to_json() | _detailed_metrics(evaluation, split) | {"fit_seconds": round(fit_seconds, 3)}
    progress("fit without a tenth of the users", 0.5)
    if split.repeats:
        metrics["repeats"] = True
    metrics["similar"] = similar_items.similar_item_metrics(space, split, categories, seed)
    if dislikes.reason:
        metrics["dislikes"] = dislikes.to_json()
    metrics["strong"] = strong_generalisation(embedder, split.train, seed=seed, device=device, checkpoints=checkpoints)
    return metrics | _baseline_metrics(split, progress)


def strong_generalisation(
    embedder: Embedder,
    interactions: Interactions,
    *,
    seed: int = 0,
    device: str = "cpu",
    checkpoints: Checkpoints | None = None,
) -> dict[str, Any] | None:
    """Metrics for users held out of the fit (strong generalisation, Liang et al. 2018).

    A tenth of the users is held out; four fifths of each history is folded in, and the last fifth is scored. None if
    too few users have MIN_ITEMS items.
    """
    lengths = np.diff(interactions.matrix.indptr)
    order = np.random.default_rng((seed, 1)).permutation(np.flatnonzero(lengths >= MIN_ITEMS))
    held = np.sort(order[: int(HELD_OUT_USERS * len(lengths))])
    if len(held) == 0 or len(held) == len(lengths):
        return None
    rest = np.setdiff1d(np.arange(len(lengths)), held)
    unseen = splits.at_random(interactions.select_users(held), SCORED_SHARE, seed)
    space = fit(embedder, interactions.select_users(rest), seed=seed, device=device, checkpoints=checkpoints)
    evaluation = evaluate_ranking(SpaceScorer(space), unseen.train.matrix, unseen.test, K)
    return {
        f"recall@{K}": rounded_mean(evaluation.recall),
        f"recall@{K}_interval": bootstrap_interval(evaluation.recall),
        f"ndcg@{K}": rounded_mean(evaluation.ndcg),
        "n_users": len(evaluation.users),
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
    """Two embedders on the same users: metrics of both and of the baselines, and a paired test of second - first."""
    if split.test.nnz == 0 or split.train.matrix.nnz == 0:
        return {"note": "too little data after the split to compare", "n_users": 0}
    evaluations = [
        _fit_and_rank(embedder, split, seed, device, progress)[0].at(K)
        for embedder, seed in zip((first, second), seeds, strict=True)
    ]
    comparison: dict[str, Any] = {
        "first": evaluations[0].to_json(),
        "second": evaluations[1].to_json(),
        f"recall@{K}": paired_test(evaluations[0].recall, evaluations[1].recall),
        f"ndcg@{K}": paired_test(evaluations[0].ndcg, evaluations[1].ndcg),
        "n_users": len(evaluations[0].users),
    }
    if split.repeats:
        comparison["repeats"] = True
    return comparison | _baseline_metrics(split, progress)


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


def _detailed_metrics(evaluation: Evaluation, split: Split) -> dict[str, Any]:
    """Metrics at every k of KS, novelty and popularity bias, and metrics of segments."""
    histories, at_k = split.train.matrix, evaluation.at(K)
    by_k = {
        str(k): {
            "recall": rounded_mean(cut.recall),
            "ndcg": rounded_mean(cut.ndcg),
            "hit": rounded_mean(cut.hit),
            "mrr": rounded_mean(cut.mrr),
        }
        for k, cut in ((k, evaluation.at(k)) for k in KS)
    }
    users = segments.metrics_by_user_segment(at_k, histories)
    items = segments.recall_by_item_segment(at_k, histories, split.test)
    return {"at": by_k} | segments.popularity_bias(at_k, histories) | {"segments": {"users": users, "items": items}}


def _baseline_metrics(split: Split, progress: Progress) -> dict[str, Any]:
    """The metrics of each baseline."""
    sums, choice = popularity_half_life.popularity_of_training_part(split)
    metrics = {}
    for step, (name, scorer) in enumerate(_baseline_scorers(split, sums).items()):
        progress(f"evaluate {name.replace('_', ' ')}", 0.75 + 0.05 * step)
        metrics[name] = evaluate_ranking(scorer(), split.train.matrix, split.test, K, split.repeats).to_json()
    metrics["popularity"] |= choice.to_json()
    return metrics


def _baseline_scorers(split: Split, sums: Sums) -> dict[str, Callable[[], Scorer]]:
    """The baselines by name. `popularity` is as served; `recent_popularity` exists only if times are known."""
    shares = rank_by_popularity(sums).shares
    scorers: dict[str, Callable[[], Scorer]] = {"popularity": lambda: baselines.Popularity(shares)}
    recent = split.train.recent_counts()
    if recent is not None:
        scorers["recent_popularity"] = lambda: baselines.Popularity(recent.astype(np.float32))
    scorers[POPULARITY_OF_ALL_TIMES] = lambda: baselines.popularity(split.train)
    return scorers | {"item_knn": lambda: baselines.item_knn(split.train)}
