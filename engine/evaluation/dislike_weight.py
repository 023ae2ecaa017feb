"""The weight with which dislikes lower the scores of similar items, learnt on validation data; 0 where none helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.checkpoints import Checkpoints
from engine.evaluation.ranking_metrics import PerUser, SpaceScorer, evaluate_ranking
from engine.evaluation.significance import paired_test, rounded
from engine.evaluation.validation_set import K
from engine.fitting.fit import fit
from engine.latent_space.dislikes import FoldInWithDislikes
from engine.latent_space.space import Embedder, LatentSpace
from engine.progress import Progress, no_progress
from engine.values.interactions import Interactions
from engine.values.splits import Split

WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
MIN_USERS = 20  # with dislikes and test items; below, the choice would be noise
MAX_CELLS = 2_000_000  # of larger data a random sample of the users is used
MAX_P = 0.05  # significance level that the gain must reach


@dataclass(frozen=True)
class DislikeWeight:
    weight: float
    reason: str  # one sentence
    tried: Mapping[float, float]  # the mean of recall@20 and ndcg@20 by weight

    def to_json(self) -> dict[str, Any]:
        tried = {f"{weight:g}": figure for weight, figure in self.tried.items()}
        return {"weight": self.weight, "reason": self.reason, "tried": tried}


NO_DISLIKES = DislikeWeight(0.0, "", {})


def learn_dislike_weight(
    embedder: Embedder,
    everything: Interactions,
    split: Callable[[], Split],
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = no_progress,
    checkpoints: Checkpoints | None = None,
) -> DislikeWeight:
    """The weight that predicts best on a split of the training part. NO_DISLIKES for interactions without dislikes.

    The embedder is fitted once, and only if there are dislikes.
    """
    if everything.dislikes is None or everything.dislikes.nnz == 0:
        return NO_DISLIKES
    validation = _sample_users(split(), seed)
    users = users_with_dislikes(validation)
    if len(users) < MIN_USERS:
        return DislikeWeight(0.0, f"{len(users)} users with dislikes are too few to learn a weight", {})
    progress("fit for dislikes", 0.05)
    space = fit(embedder, validation.train, seed=seed, device=device, checkpoints=checkpoints)
    by_weight = {weight: metrics_at_weight(space, validation, users, weight) for weight in (0.0, *WEIGHTS)}
    tried = {weight: rounded(per_user.mean()) for weight, per_user in by_weight.items()}
    best = max(WEIGHTS, key=lambda weight: tried[weight])
    gain = paired_test(by_weight[0.0], by_weight[best], seed)
    if gain["difference"] <= 0 or gain["p"] >= MAX_P:
        reason = f"no weight improves the metrics of the {len(users)} users with dislikes significantly"
        return DislikeWeight(0.0, reason, tried)
    reason = f"{tried[best]:.4f}, without it {tried[0.0]:.4f}, for the {len(users)} users with dislikes"
    return DislikeWeight(best, reason, tried)


def metrics_at_weight(space: LatentSpace, split: Split, users: npt.NDArray[np.int64], weight: float) -> PerUser:
    """The mean of recall@20 and ndcg@20 of each of `users`, (n,), with the dislikes at `weight`."""
    with_weight = replace(space, fold_in=FoldInWithDislikes(space.fold_in, weight))
    histories, test = (sp.csr_matrix(matrix[users]) for matrix in (split.train.signed, split.test))
    evaluation = evaluate_ranking(SpaceScorer(with_weight), histories, test, K, split.repeats)
    return np.asarray((evaluation.recall + evaluation.ndcg) / 2)


def _sample_users(split: Split, seed: int) -> Split:
    cells, n_users = split.train.matrix.nnz, len(split.train.users)
    if cells <= MAX_CELLS:
        return split
    rows = np.sort(np.random.default_rng(seed).permutation(n_users)[: n_users * MAX_CELLS // cells])
    return replace(split, train=split.train.select_users(rows), test=sp.csr_matrix(split.test[rows]))


def users_with_dislikes(split: Split) -> npt.NDArray[np.int64]:
    """The rows of users with dislikes, likes and test items."""
    if split.train.dislikes is None:
        return np.zeros(0, np.int64)
    counts = [np.diff(matrix.indptr) for matrix in (split.train.dislikes, split.train.matrix, split.test)]
    return np.flatnonzero(np.min(counts, axis=0) > 0)
