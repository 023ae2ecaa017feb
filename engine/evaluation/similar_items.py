"""Similar items, measured: whether what a user takes up next is like one item that the user had, and like in kind."""

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
from engine.latent_space.item_similarity import likeness
from engine.latent_space.space import LatentSpace
from engine.values.splits import Split
from engine.values.vectors import Matrix, normalise_rows

K = 20
MAX_ITEMS_PER_USER = 5  # items of a history that are looked from
MAX_PAIRS = 50_000
MAX_SCORES = 2**27  # queries times items, at most
COHERENCE_K, MAX_COHERENCE_ITEMS = 5, 2000  # neighbours whose categories are looked at, of so many items

Categories = Mapping[str, Collection[str]]  # by item id


@dataclass(frozen=True, eq=False)
class ItemSimilarityScorer:
    """A score for every item by how like it is to those of a history, as a search by item has it."""

    places: Matrix  # of unit length
    scaled: Matrix  # what is searched

    @staticmethod
    def of(space: LatentSpace) -> ItemSimilarityScorer:
        found = likeness(space)
        if found is None:
            units = normalise_rows(space.items.matrix)
            return ItemSimilarityScorer(units, units)
        places = found.places(space.items.matrix)
        return ItemSimilarityScorer(
            normalise_rows(places), places * found.factors(places, np.ones(len(places), dtype=bool))[:, None]
        )

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        return np.asarray((histories @ self.places) @ self.scaled.T, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class NextItemPairs:
    """One item that a user had, a row each, and what the same user took up afterwards."""

    had: sp.csr_matrix  # (n, n_items), one cell of 1 in each row
    next: sp.csr_matrix  # (n, n_items)

    def __len__(self) -> int:
        return int(self.had.shape[0])

    def judged(self, scorer: Scorer) -> Evaluation:
        return evaluate_ranking(scorer, self.had, self.next, K)


def next_item_pairs(
    histories: sp.csr_matrix, test: sp.csr_matrix, seed: int = 0, most: int = MAX_PAIRS
) -> NextItemPairs:
    """At most PER_USER items of every history whose user has test items; a random part, `most`, where they are many.

    `histories` and `test` are (n_users, n_items), row for row.
    """
    draw = np.random.default_rng((seed, 2))
    order = np.lexsort((draw.random(histories.nnz), _rows(histories)))
    rank = np.arange(histories.nnz) - np.repeat(histories.indptr[:-1], np.diff(histories.indptr))
    users = _rows(histories)
    chosen = order[(rank < MAX_ITEMS_PER_USER) & (np.diff(test.indptr) > 0)[users[order]]]
    most = max(1, min(most, MAX_SCORES // max(1, histories.shape[1])))
    if len(chosen) > most:
        chosen = draw.permutation(chosen)[:most]
    chosen = np.sort(chosen)
    n = len(chosen)
    items = histories.indices[chosen]
    had = sp.csr_matrix((np.ones(n, np.float32), items, np.arange(n + 1)), shape=(n, histories.shape[1]))
    follows = sp.csr_matrix(test[users[chosen]])
    return NextItemPairs(had, follows)


def _rows(matrix: sp.csr_matrix) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def next_item_recall(space: LatentSpace, on: NextItemPairs) -> float:
    """recall@20 of what a user takes up next among the items most like one the user had, 0 where nothing is to be."""
    return float(on.judged(ItemSimilarityScorer.of(space)).recall.mean()) if len(on) else 0.0


def similar_item_metrics(
    space: LatentSpace, split: Split, categories: Categories | None = None, seed: int = 0
) -> dict[str, Any]:
    """recall@20 of the next item given one of the same user, and `coherence@5`, the share of the five items most like
    one that have a category of it, where items have any; those of item-kNN beside them."""
    on = next_item_pairs(split.train.matrix, split.test, seed)
    if not len(on):
        return {}
    ids = split.train.items.ids
    scorers: dict[str, Scorer] = {"model": ItemSimilarityScorer.of(space), "item_knn": baselines.item_knn(split.train)}
    told = {}
    for name, scorer in scorers.items():
        found = on.judged(scorer).recall
        told[name] = {f"recall@{K}": rounded_mean(found), f"recall@{K}_interval": bootstrap_interval(found)}
        if categories:
            told[name] |= category_coherence(scorer, ids, categories, seed)
    return told["model"] | {"n_pairs": len(on), "item_knn": told["item_knn"]}


def category_coherence(scorer: Scorer, ids: Sequence[str], categories: Categories, seed: int = 0) -> dict[str, float]:
    """`coherence@5` over items that have a category, at most LOOKED; nothing where fewer than two have."""
    kinds = [frozenset(categories.get(id_) or ()) for id_ in ids]
    having = np.array([row for row, each in enumerate(kinds) if each], dtype=np.int64)
    if len(having) < 2:
        return {}
    having = np.sort(np.random.default_rng((seed, 3)).permutation(having)[:MAX_COHERENCE_ITEMS])
    n = len(having)
    one = sp.csr_matrix((np.ones(n, np.float32), having, np.arange(n + 1)), shape=(n, len(kinds)))
    shares = [
        np.mean([not kinds[row].isdisjoint(kinds[each]) for each in near if each >= 0])
        for row, near in zip(having.tolist(), top_k(scorer, one, COHERENCE_K).tolist(), strict=True)
        if max(near) >= 0
    ]
    return {f"coherence@{COHERENCE_K}": rounded(float(np.mean(shares)))}
