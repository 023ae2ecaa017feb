"""How much dislikes take away from what is like them: learnt on validation data, nothing where that does not help."""

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
from engine.latent_space.dislikes import LessDislikedFoldIn
from engine.latent_space.space import Embedder, LatentSpace
from engine.progress import Progress, no_progress
from engine.values.interactions import Interactions
from engine.values.splits import Split

WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
MIN_USERS = 20  # with dislikes and something to predict; below, it is noise
MAX_CELLS = 2_000_000  # learnt from; of more, a random part of the users
MAX_P = 0.05  # that the gain may be of


@dataclass(frozen=True)
class DislikeWeight:
    weight: float
    reason: str  # one sentence
    tried: Mapping[float, float]  # the figure of each weight: the mean of recall@20 and ndcg@20

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
    """The weight that predicts best on a split that no test has; the embedder is fitted once, where there are dislikes.

    NONE for interactions without any.
    """
    if everything.dislikes is None or everything.dislikes.nnz == 0:
        return NO_DISLIKES
    on = _sample_users(split(), seed)
    users = users_with_dislikes(on)
    if len(users) < MIN_USERS:
        return DislikeWeight(0.0, f"{len(users)} users who dislike something are too few to learn it from", {})
    progress("fit for dislikes", 0.05)
    space = fit(embedder, on.train, seed=seed, device=device, checkpoints=checkpoints)
    without, each = (
        metrics_at_weight(space, on, users, 0.0),
        {weight: metrics_at_weight(space, on, users, weight) for weight in WEIGHTS},
    )
    tried = {weight: rounded(found.mean()) for weight, found in ({0.0: without} | each).items()}
    best = max(WEIGHTS, key=lambda weight: tried[weight])
    gain = paired_test(without, each[best], seed)
    if gain["difference"] <= 0 or gain["p"] >= MAX_P:
        return DislikeWeight(0.0, f"none helps the {len(users)} users who dislike something beyond chance", tried)
    reason = f"{tried[best]:.4f} after {tried[0.0]:.4f} for the {len(users)} users who dislike something"
    return DislikeWeight(best, reason, tried)


def metrics_at_weight(space: LatentSpace, on: Split, users: npt.NDArray[np.int64], weight: float) -> PerUser:
    """The mean of recall@20 and ndcg@20 of each of these users, (n,), at this weight."""
    less = replace(space, fold_in=LessDislikedFoldIn(space.fold_in, weight))
    histories, test = (sp.csr_matrix(matrix[users]) for matrix in (on.train.signed, on.test))
    made = evaluate_ranking(SpaceScorer(less), histories, test, K, on.repeats)
    return np.asarray((made.recall + made.ndcg) / 2)


def _sample_users(split: Split, seed: int) -> Split:
    cells, n_users = split.train.matrix.nnz, len(split.train.users)
    if cells <= MAX_CELLS:
        return split
    rows = np.sort(np.random.default_rng(seed).permutation(n_users)[: n_users * MAX_CELLS // cells])
    return replace(split, train=split.train.select_users(rows), test=sp.csr_matrix(split.test[rows]))


def users_with_dislikes(on: Split) -> npt.NDArray[np.int64]:
    """The rows of those with dislikes, likes and something to predict."""
    if on.train.dislikes is None:
        return np.zeros(0, np.int64)
    counts = [np.diff(matrix.indptr) for matrix in (on.train.dislikes, on.train.matrix, on.test)]
    return np.flatnonzero(np.min(counts, axis=0) > 0)
