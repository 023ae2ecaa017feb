"""Baselines that a model must beat: popularity and item-kNN. Each is a `ranking_metrics.Scorer`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from engine.values.interactions import Interactions
from engine.values.vectors import Matrix

NEIGHBOURS = 100
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Popularity:
    """Scores every item by its popularity, equal for all users."""

    counts: Matrix  # (n_items,)

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        return np.broadcast_to(self.counts, histories.shape).copy()


@dataclass(frozen=True, eq=False)
class ItemKNN:
    """score = history @ cosine similarity of the items, cut to each item's nearest neighbours (Sarwar et al. 2001)."""

    similarity: sp.csr_matrix  # (n_items, n_items)

    def scores(self, histories: sp.csr_matrix) -> Matrix:
        return np.asarray((histories @ self.similarity).toarray(), dtype=np.float32)


def popularity(interactions: Interactions) -> Popularity:
    """Popularity by the number of distinct users of each item."""
    return Popularity(interactions.item_counts().astype(np.float32))


def item_knn(interactions: Interactions, neighbours: int = NEIGHBOURS) -> ItemKNN:
    matrix = interactions.matrix
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel())
    unit = sp.csr_matrix(matrix @ sp.diags(1 / np.maximum(norms, 1e-12)), dtype=np.float32)
    by_item = unit.T.tocsr()
    n_items, n_kept = by_item.shape[0], min(neighbours, by_item.shape[0] - 1)
    if n_kept < 1:
        return ItemKNN(sp.csr_matrix(np.zeros((n_items, n_items), np.float32)))
    parts = [_nearest(by_item, unit, start, n_kept) for start in range(0, n_items, CHUNK)]
    return ItemKNN(sp.csr_matrix(sp.vstack(parts).T))  # column j holds the neighbours of item j


def _nearest(by_item: sp.csr_matrix, unit: sp.csr_matrix, start: int, n_kept: int) -> sp.csr_matrix:
    block = (by_item[start : start + CHUNK] @ unit).toarray()
    block[np.arange(len(block)), start + np.arange(len(block))] = 0
    columns = np.argpartition(-block, n_kept - 1, axis=1)[:, :n_kept]
    values = np.take_along_axis(block, columns, axis=1)
    indptr = np.arange(0, n_kept * len(block) + 1, n_kept)
    return sp.csr_matrix((values.ravel(), columns.ravel(), indptr), shape=block.shape)
