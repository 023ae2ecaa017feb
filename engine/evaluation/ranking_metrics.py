"""Ranking metrics over the whole catalogue: recall, ndcg, hit rate and mrr at k, and coverage.

Items of the user's history are left out, unless repeats count. recall@k = hits / test items of the user; ndcg@k has the
ideal over min(test items, k); means are over users with test items, as in the tables of LightGCN and its successors.
Metrics on sampled items are not used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.evaluation.significance import bootstrap_interval, rounded
from engine.latent_space.space import LatentSpace
from engine.values.vectors import Matrix, normalise_rows

BATCH_FLOATS = 2**25

PerUser = npt.NDArray[np.float64]


class Scorer(Protocol):
    """Scores every item for a batch of histories."""

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        """(n_users, n_items) scores for (n_users, n_items) histories."""
        ...


@dataclass(frozen=True, eq=False)
class SpaceScorer:
    """A latent space as scorer: the history folds in exactly as it does in serving."""

    space: LatentSpace

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        return np.asarray(self.space.fold_in.vectors(histories) @ self._items.T, dtype=np.float32)

    @cached_property
    def _items(self) -> Matrix:
        items = self.space.items.matrix
        if self.space.metric == "cosine":
            return normalise_rows(items)
        return items


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The list that a model ranked for every user with test items, and its hits. Metrics are per user, (n,)."""

    k: int
    users: npt.NDArray[np.int64]  # (n,) rows of the users with test items
    ranked: npt.NDArray[np.int64]  # (n, at most k) item rows, best first, -1 where no item is left
    hits: npt.NDArray[np.bool_]  # same shape as `ranked`
    relevant: npt.NDArray[np.int64]  # (n,) number of test items
    n_items: int

    def at(self, k: int) -> Evaluation:
        """The same lists, cut after `k`."""
        return replace(self, k=k, ranked=self.ranked[:, :k], hits=self.hits[:, :k])

    @property
    def recall(self) -> PerUser:
        recall: PerUser = self.hits.sum(axis=1) / self.relevant
        return recall

    @property
    def ndcg(self) -> PerUser:
        discount = 1 / np.log2(np.arange(self.ranked.shape[1]) + 2)
        ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(self.relevant, self.ranked.shape[1])]
        return np.asarray(self.hits @ discount / ideal, dtype=np.float64)

    @property
    def hit(self) -> PerUser:
        """1 if the list has any test item."""
        return np.asarray(self.hits.any(axis=1), dtype=np.float64)

    @property
    def mrr(self) -> PerUser:
        """1 / rank of the first hit, 0 without one."""
        if not self.hits.shape[1]:
            return np.zeros(len(self.hits))
        return np.asarray(np.where(self.hits.any(axis=1), 1 / (1 + self.hits.argmax(axis=1)), 0.0), dtype=np.float64)

    @property
    def coverage(self) -> float:
        """Share of the catalogue that is in at least one list."""
        return len(np.unique(self.ranked[self.ranked >= 0])) / max(1, self.n_items)

    def to_json(self) -> dict[str, Any]:
        k, recall, ndcg = self.k, self.recall, self.ndcg
        return {
            f"recall@{k}": rounded_mean(recall),
            f"recall@{k}_interval": bootstrap_interval(recall),
            f"ndcg@{k}": rounded_mean(ndcg),
            f"ndcg@{k}_interval": bootstrap_interval(ndcg),
            f"hit@{k}": rounded_mean(self.hit),
            f"mrr@{k}": rounded_mean(self.mrr),
            f"coverage@{k}": rounded(self.coverage),
            "n_users": len(recall),
        }


def evaluate_ranking(
    scorer: Scorer, histories: sp.csr_matrix, test: sp.csr_matrix, k: int = 20, repeats: bool = False
) -> Evaluation:
    """Rank all items for every user with test items; `histories` and `test` are (n_users, n_items), same rows.

    With `repeats` items of the history are ranked as well. Disliked items (cells below zero) are never ranked.
    """
    users = np.flatnonzero(np.diff(test.indptr))
    batch = max(1, BATCH_FLOATS // max(1, test.shape[1]))
    top = [top_k(scorer, histories[users[i : i + batch]], k, repeats) for i in range(0, len(users), batch)]
    ranked = np.concatenate(top) if top else np.zeros((0, min(k, test.shape[1])), np.int64)
    relevant = np.diff(test.indptr)[users].astype(np.int64)
    return Evaluation(k, users, ranked, _hits(ranked, test[users]), relevant, test.shape[1])


def top_k(scorer: Scorer, histories: sp.csr_matrix, k: int, repeats: bool = False) -> npt.NDArray[np.int64]:
    """Item rows by score, best first, (n_users, min(k, n_items)); -1 where no item is left."""
    scores = scorer.scores(histories)
    excluded = histories.data < 0 if repeats else np.ones(histories.nnz, dtype=bool)
    rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    scores[rows[excluded], histories.indices[excluded]] = -np.inf
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
    answered = np.arange(len(ranked))[:, None] * n_items + ranked
    return np.isin(answered, wanted) & (ranked >= 0)


def rounded_mean(figures: PerUser) -> float:
    """The mean over users, rounded; 0 without users."""
    return rounded(figures.mean()) if len(figures) else 0.0
