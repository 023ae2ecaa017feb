"""Ranking metrics over all items a user has not had yet: recall@k, ndcg@k, coverage, with bootstrap intervals.

recall@k = hits / test items of the user; ndcg@k has the ideal over min(test items, k); both are means over users with
test items, as in the tables of LightGCN and its successors. No sampled metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.space import LatentSpace
from engine.vectors import Matrix

BATCH_FLOATS = 2**25
RESAMPLES = 1000


class Scorer(Protocol):
    def scores(self, histories: sp.csr_matrix) -> Matrix:
        """(n_users, n_items) scores for histories of cells."""
        ...


@dataclass(frozen=True, eq=False)
class SpaceScorer:
    """A latent space as one inner product: the history folds in exactly as it does when served."""

    space: LatentSpace

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        users, items = self.space.fold_in.vectors(histories), self.space.items.matrix
        if self.space.metric == "cosine":
            items = items / np.maximum(np.linalg.norm(items, axis=1, keepdims=True), 1e-12)
        return np.asarray(users @ items.T, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Per-user figures of one model on one split."""

    k: int
    recall: npt.NDArray[np.float64]  # (n_users_with_test,)
    ndcg: npt.NDArray[np.float64]
    coverage: float  # share of the catalogue that is recommended to anyone

    def to_json(self) -> dict[str, Any]:
        return {
            f"recall@{self.k}": _round(self.recall.mean()),
            f"recall@{self.k}_interval": interval(self.recall),
            f"ndcg@{self.k}": _round(self.ndcg.mean()),
            f"ndcg@{self.k}_interval": interval(self.ndcg),
            f"coverage@{self.k}": _round(self.coverage),
            "n_users": len(self.recall),
        }


def evaluate(scorer: Scorer, histories: sp.csr_matrix, test: sp.csr_matrix, k: int = 20) -> Evaluation:
    """Rank for every user with test items; `histories` and `test` are (n_users, n_items) with the same rows."""
    users = np.flatnonzero(np.diff(test.indptr))
    batch = max(1, BATCH_FLOATS // max(1, test.shape[1]))
    top = [top_k(scorer, histories[users[i : i + batch]], k) for i in range(0, len(users), batch)]
    ranked = np.concatenate(top) if top else np.zeros((0, k), np.int64)
    hits = _hits(ranked, test[users])
    relevant = np.diff(test.indptr)[users]
    discount = 1 / np.log2(np.arange(ranked.shape[1]) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant, ranked.shape[1])]
    coverage = len(np.unique(ranked[ranked >= 0])) / max(1, test.shape[1])
    return Evaluation(k, hits.sum(axis=1) / relevant, (hits @ discount) / ideal, coverage)


def top_k(scorer: Scorer, histories: sp.csr_matrix, k: int) -> npt.NDArray[np.int64]:
    """Item rows by score, best first, (n_users, min(k, n_items)); -1 where the user has had everything else."""
    scores = scorer.scores(histories)
    rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    scores[rows, histories.indices] = -np.inf
    k = min(k, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(best, order, axis=1)
    ranked[np.isneginf(np.take_along_axis(values, order, axis=1))] = -1
    return ranked.astype(np.int64)


def _hits(ranked: npt.NDArray[np.int64], test: sp.csr_matrix) -> npt.NDArray[np.bool_]:
    n_items = test.shape[1]
    wanted = np.repeat(np.arange(test.shape[0]), np.diff(test.indptr)) * n_items + test.indices
    asked = np.arange(len(ranked))[:, None] * n_items + ranked
    return np.isin(asked, wanted) & (ranked >= 0)


def interval(values: npt.NDArray[np.float64], seed: int = 0) -> list[float]:
    """95% bootstrap interval of the mean over users."""
    if len(values) == 0:
        return [0.0, 0.0]
    draw = np.random.default_rng(seed)
    means = [values[draw.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)]
    return [_round(bound) for bound in np.percentile(means, [2.5, 97.5])]


def _round(value: float) -> float:
    return round(float(value), 5)
