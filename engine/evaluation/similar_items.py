"""Evaluation of similar items: recall of a user's next items from one earlier item, and coherence of categories."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from engine.evaluation import baselines
from engine.evaluation.ranking_metrics import Evaluation, Scorer, evaluate_ranking, rounded_mean, top_k
from engine.evaluation.significance import bootstrap_interval, rounded
from engine.latent_space.item_similarity import learn_item_similarity
from engine.latent_space.space import LatentSpace
from engine.values.splits import Split
from engine.values.vectors import Matrix, normalise_rows

K = 20
MAX_ITEMS_PER_USER = 5  # of one history, as query items
MAX_PAIRS = 50_000
MAX_SCORES = 2**27  # query items times catalogue items
COHERENCE_K, MAX_COHERENCE_ITEMS = 5, 2000  # neighbours per query item, and query items

Categories = Mapping[str, Collection[str]]  # by item id


@dataclass(frozen=True, eq=False)
class ItemSimilarityScorer:
    """Scores every item by its similarity to the items of a history, as similar items are served."""

    queries: Matrix  # of the query items, (n_items, dim), unit length
    scaled: Matrix  # of the searched items, (n_items, dim)

    @staticmethod
    def of(space: LatentSpace) -> ItemSimilarityScorer:
        similarity = learn_item_similarity(space)
        if similarity is None:
            units = normalise_rows(space.items.matrix)
            return ItemSimilarityScorer(units, units)
        projected = similarity.project(space.items.matrix)
        return ItemSimilarityScorer(
            normalise_rows(projected),
            projected * similarity.factors(projected, np.ones(len(projected), dtype=bool))[:, None],
        )

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        return np.asarray((histories @ self.queries) @ self.scaled.T, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class NextItemPairs:
    """Pairs, a row each, of one item that a user had and the items that the same user took up afterwards."""

    had: sp.csr_matrix  # (n, n_items), one cell of 1 in each row
    next: sp.csr_matrix  # (n, n_items)

    def __len__(self) -> int:
        return int(self.had.shape[0])

    def evaluate(self, scorer: Scorer) -> Evaluation:
        return evaluate_ranking(scorer, self.had, self.next, K)


def next_item_pairs(
    histories: sp.csr_matrix, test: sp.csr_matrix, seed: int = 0, max_pairs: int = MAX_PAIRS
) -> NextItemPairs:
    """Pairs of at most MAX_ITEMS_PER_USER random items of every history whose user has test items.

    `histories` and `test` are (n_users, n_items) with the same rows. Of more than `max_pairs` a random sample is taken.
    """
    draw = np.random.default_rng((seed, 2))
    order = np.lexsort((draw.random(histories.nnz), _rows(histories)))
    rank = np.arange(histories.nnz) - np.repeat(histories.indptr[:-1], np.diff(histories.indptr))
    users = _rows(histories)
    chosen = order[(rank < MAX_ITEMS_PER_USER) & (np.diff(test.indptr) > 0)[users[order]]]
    max_pairs = max(1, min(max_pairs, MAX_SCORES // max(1, histories.shape[1])))
    if len(chosen) > max_pairs:
        chosen = draw.permutation(chosen)[:max_pairs]
    chosen = np.sort(chosen)
    n = len(chosen)
    items = histories.indices[chosen]
    had = sp.csr_matrix((np.ones(n, np.float32), items, np.arange(n + 1)), shape=(n, histories.shape[1]))
    next_items = sp.csr_matrix(test[users[chosen]])
    return NextItemPairs(had, next_items)


def _rows(matrix: sp.csr_matrix) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def next_item_recall(space: LatentSpace, pairs: NextItemPairs) -> float:
    """recall@20 of a user's next items among the items most similar to one that the user had; 0 without pairs."""
    return float(pairs.evaluate(ItemSimilarityScorer.of(space)).recall.mean()) if len(pairs) else 0.0


def similar_item_metrics(
    space: LatentSpace, split: Split, categories: Categories | None = None, seed: int = 0
) -> dict[str, Any]:
    """recall@20 of a user's next items, and `coherence@5` if items have categories; the same metrics of item-kNN.

    `coherence@5` is the share of the five most similar items that share a category with the query item.
    """
    pairs = next_item_pairs(split.train.matrix, split.test, seed)
    if not len(pairs):
        return {}
    ids = split.train.items.ids
    scorers: dict[str, Scorer] = {"model": ItemSimilarityScorer.of(space), "item_knn": baselines.item_knn(split.train)}
    by_scorer: dict[str, dict[str, Any]] = {}
    for name, scorer in scorers.items():
        recall = pairs.evaluate(scorer).recall
        by_scorer[name] = {f"recall@{K}": rounded_mean(recall), f"recall@{K}_interval": bootstrap_interval(recall)}
        if categories:
            by_scorer[name] |= category_coherence(scorer, ids, categories, seed)
    return by_scorer["model"] | {"n_pairs": len(pairs), "item_knn": by_scorer["item_knn"]}


def category_coherence(scorer: Scorer, ids: Sequence[str], categories: Categories, seed: int = 0) -> dict[str, float]:
    """`coherence@5` over at most MAX_COHERENCE_ITEMS items with a category; empty if fewer than two items have one."""
    categories_of = [frozenset(categories.get(id_) or ()) for id_ in ids]
    with_category = np.array([row for row, each in enumerate(categories_of) if each], dtype=np.int64)
    if len(with_category) < 2:
        return {}
    with_category = np.sort(np.random.default_rng((seed, 3)).permutation(with_category)[:MAX_COHERENCE_ITEMS])
    n = len(with_category)
    queries = sp.csr_matrix((np.ones(n, np.float32), with_category, np.arange(n + 1)), shape=(n, len(categories_of)))
    shares = [
        np.mean([not categories_of[row].isdisjoint(categories_of[each]) for each in near if each >= 0])
        for row, near in zip(with_category.tolist(), top_k(scorer, queries, COHERENCE_K).tolist(), strict=True)
        if max(near) >= 0
    ]
    return {f"coherence@{COHERENCE_K}": rounded(float(np.mean(shares)))}
